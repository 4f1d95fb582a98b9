"""Which tokens matter, which rows are known to be unused, and which may be taken for trained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tokengraft.auditing.asking import stop_ids_of, text_of
from tokengraft.auditing.rule import counted
from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.template_text import markers, turn_ends
from tokengraft.padding import PAD_NAMES, in_use
from tokengraft.row_statistics import FEWEST_UNUSED
from tokengraft.vocabulary import NAMED_TOKENS, Tokenizer

SAMPLE = 2000
_LOW = 64  # the sample comes from the lowest quarter of ids, at least from this many
# Pieces whose id says nothing of how often they occur: bytes, and whatever is spelled like a marker.
_NO_PIECE = re.compile(r"<.+>|\[.+\]|.")
_RESERVED = PAD_NAMES[1]


@dataclass(frozen=True, slots=True)
class References:
    """Rows to compare with.

    Attributes:
        told: what the unused rows are, in words.
    """

    unused: tuple[int, ...]
    trained: tuple[int, ...]
    told: str


def references_of(tokenizer: Tokenizer, n_rows: int, *, padding: bool = True) -> References:
    """The two references of a matrix with so many rows.

    Unused are rows behind the last token. Where they are too few, tokens that are named as reserves
    and that nothing uses join them, then the bytes that no text has. For trained rows stand the
    lowest ids of the vocabulary: merges and scores are sorted by frequency.

    Args:
        padding: whether the rows behind the last token may be taken.
    """
    unused = tuple(range(tokenizer.n_tokens, n_rows)) if padding else ()
    told = [counted(len(unused), "padding row")] if unused else []
    for more in (_reserved, _impossible):
        found = tuple(row for row in more(tokenizer) if row < n_rows)
        if len(unused) < FEWEST_UNUSED and found:
            unused = (*found, *unused)
            told.append(
                counted(len(found), "reserved token" if more is _reserved else "impossible byte")
            )
    return References(tuple(sorted(unused)), _frequent(tokenizer), " and ".join(told) or "none")


def _reserved(tokenizer: Tokenizer) -> Iterator[int]:
    for token_id, token in tokenizer.added.items():
        free = not in_use(tokenizer, token_id, token.content)
        if _RESERVED.fullmatch(token.content) and free:
            yield int(token_id)


def _impossible(tokenizer: Tokenizer) -> Iterator[int]:
    """Tokens of the 13 bytes that UTF-8 never writes, so that no training met them.

    Source: RFC 3629, section 1; Land and Bartolo 2024 take these tokens as their reference.
    """
    for byte in (0xC0, 0xC1, *range(0xF5, 0x100)):
        # GPT-2's alphabet spells these bytes as the Latin-1 characters of the same number.
        text = chr(byte) if tokenizer.byte_level else f"<0x{byte:02X}>"
        token_id = tokenizer.vocab.get(text)
        if token_id is not None and token_id not in tokenizer.added:
            yield int(token_id)


def _frequent(tokenizer: Tokenizer) -> tuple[int, ...]:
    named = {tokenizer.named_id(name) for name in NAMED_TOKENS}
    pieces = sorted(
        token_id
        for text, token_id in tokenizer.vocab.items()
        if not _NO_PIECE.fullmatch(text)
        and token_id not in tokenizer.added
        and token_id not in named
    )
    low = pieces[: max(_LOW, len(pieces) // 4)]
    step = max(1, len(low) // SAMPLE)
    return tuple(int(token_id) for token_id in low[::step][:SAMPLE])


def structural(checkpoint: Checkpoint) -> dict[int, tuple[str, ...]]:
    """Tokens that a conversation needs, by id, with what each is for. Padding is none of them."""
    tokenizer = checkpoint.tokenizer
    if tokenizer is None:
        return {}
    uses: dict[int, list[str]] = {}
    for token_id, use in _uses(checkpoint, tokenizer):
        if use not in uses.setdefault(token_id, []):
            uses[token_id].append(use)
    return {token_id: tuple(uses[token_id]) for token_id in sorted(uses)}


def _uses(checkpoint: Checkpoint, tokenizer: Tokenizer) -> Iterator[tuple[int, str]]:
    template = tokenizer.template()
    if template is not None:
        for text in markers(tokenizer, template):
            if text in tokenizer.added_ids:
                yield tokenizer.added_ids[text], "template"
        for text in turn_ends(tokenizer, template):
            if (token_id := tokenizer.id_of(text)) is not None:
                yield token_id, "turn end"
    for name in NAMED_TOKENS[:2]:
        if (token_id := tokenizer.named_id(name)) is not None:
            yield token_id, name
    for stop in stop_ids_of(checkpoint)[0]:
        if text_of(tokenizer, stop) is not None:
            yield stop, "stop"
