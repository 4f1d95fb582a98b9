"""What a child does with the `tokenizers` library; runs behind limits, never in the parent."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tokengraft.sandbox import tokenizers_parts
from tokengraft.sandbox.tokenizers_loaded import ids_of, keep, loaded


def digest_of_table(table: Iterable[tuple[int, str]]) -> str:
    """Hash a table of ids: one line an entry in the order of ids, a tab, the text as ASCII JSON."""
    digest = hashlib.sha256()
    as_json = json.encoder.encode_basestring_ascii  # what json.dumps makes of a text
    for token_id, content in sorted(table):
        digest.update(f"{token_id}\t{as_json(content)}\n".encode())
    return digest.hexdigest()


def digest_of_ids(ids: Sequence[int]) -> str:
    """Hash ids as unsigned numbers of 32 bits, little end first."""
    return hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).hexdigest()


def packed(rows: Iterable[Sequence[int]]) -> dict[str, Any]:
    """Rows of ids as they go through a pipe: as text, each of a million would be parsed alone."""
    counts: list[int] = []
    ids = array("I")
    for row in rows:
        counts.append(len(row))
        ids.extend(row)
    return {"counts": counts, "ids": base64.b64encode(ids.tobytes()).decode()}


def unpacked(sent: Mapping[str, Any]) -> list[list[int]]:
    """What `packed` was given."""
    ids = array("I")
    ids.frombytes(base64.b64decode(sent["ids"]))
    rows = []
    at = 0
    for count in sent["counts"]:
        rows.append(ids[at : at + count].tolist())
        at += count
    return rows


def load(*, text: str | None = None, path: str | None = None) -> int:
    """Load a tokenizer.json, given as its text or by its path; return how many tokens it has."""
    # The import waits for the first question, when the limits stand.
    from tokenizers import Tokenizer

    if path is not None:
        tokenizer = Tokenizer.from_file(path)
    else:
        assert text is not None
        tokenizer = Tokenizer.from_str(text)
    # What the file says about batches of a training is not what the text encodes to.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    keep(tokenizer)
    return tokenizer.get_vocab_size(with_added_tokens=True)


def encode(*, texts: list[str]) -> dict[str, Any]:
    """Encode each text alone, without the special tokens of a post-processor."""
    return packed(ids_of(texts))


def encode_digest(*, texts: list[str]) -> list[str]:
    """Encode, and hash the ids of each text."""
    return [digest_of_ids(ids) for ids in ids_of(texts)]


def encode_offsets(*, text: str) -> list[tuple[int, int, int]]:
    """Encode one text, with the characters that each id stands for."""
    encoding = loaded().encode(text, add_special_tokens=False)
    return [(i, begin, end) for i, (begin, end) in zip(encoding.ids, encoding.offsets, strict=True)]


def encode_spans(*, texts: list[str]) -> dict[str, Any]:
    """Encode each text alone: for each id three numbers, the characters that it stands for behind it."""
    found = loaded().encode_batch(texts, add_special_tokens=False)
    return packed(
        [n for i, span in zip(one.ids, one.offsets, strict=True) for n in (i, *span)]
        for one in found
    )


def decode(*, batch: dict[str, Any], skip_special: bool) -> list[str]:
    """Decode each list of ids alone."""
    return list(loaded().decode_batch(unpacked(batch), skip_special_tokens=skip_special))


def id_table() -> list[tuple[int, str]]:
    """List every id with its text, in order."""
    # Two texts may share an id: what counts is what the library makes of the id.
    tokenizer = loaded()
    ids = sorted(set(tokenizer.get_vocab(with_added_tokens=True).values()))
    named = ((token_id, tokenizer.id_to_token(token_id)) for token_id in ids)
    return [(token_id, content) for token_id, content in named if content is not None]


def table_digest() -> str:
    """Hash the table of ids."""
    return digest_of_table(id_table())


def token_to_id(*, texts: list[str]) -> list[int | None]:
    """Look up the ids of texts that are one token each."""
    tokenizer = loaded()
    return [tokenizer.token_to_id(text) for text in texts]


OPS: Mapping[str, Callable[..., Any]] = {
    "load": load,
    "encode": encode,
    "encode_digest": encode_digest,
    "encode_offsets": encode_offsets,
    "encode_spans": encode_spans,
    "decode": decode,
    "id_table": id_table,
    "table_digest": table_digest,
    "token_to_id": token_to_id,
    **tokenizers_parts.OPS,
}
