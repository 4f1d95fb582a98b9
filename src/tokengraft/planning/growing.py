"""New pieces of the model's own vocabulary, in every file that holds it.

The library counts added tokens on from the end of the vocabulary, whatever ids their file gives
them, so an entry of the vocabulary would shift every one of them. A text that is in the vocabulary
keeps its id: all added tokens are entered there too, each under its own.
Source: tokenizers 0.22.2 and 0.23.3, `AddedVocabulary::add_tokens`; transformers 4.57.6 and 5.23.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.formats.json_text import parse_json
from tokengraft.planning.draft import Draft
from tokengraft.plans import AppendMerges, InsertTokens, JsonChange
from tokengraft.vocabulary import AddedToken, TokenId

TOKENIZER, VOCAB, MERGES = "tokenizer.json", "vocab.json", "merges.txt"


@dataclass(frozen=True, slots=True)
class Growth:
    """What changes where the vocabulary lies.

    Attributes:
        entered: added tokens that are written into the vocabulary under their own ids.
        vocab: the vocabulary of tokenizer.json as it will be.
    """

    vocab: Mapping[str, TokenId]
    changes: tuple[tuple[str, JsonChange], ...] = ()
    appended: tuple[AppendMerges, ...] = ()
    entered: Mapping[TokenId, AddedToken] = field(default_factory=dict)
    problems: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def growth(draft: Draft) -> Growth:
    """State the entries and merges that tokenizer.json, vocab.json and merges.txt gain."""
    vocab: Mapping[str, TokenId] = draft.tokenizer.vocab
    if any(was in vocab for was in draft.renamed):
        vocab = {draft.renamed.get(text, text): i for text, i in vocab.items()}
    if not draft.vocab:
        return Growth(vocab)
    entered = {i: t for i, t in sorted(draft.added.items()) if t.content not in vocab}
    new = {**{t.content: i for i, t in entered.items()}, **draft.vocab}
    merged = [int(i) for i in draft.vocab.values() if draft.planned[i].merge is not None]
    older = _vocab_json(draft)
    changes = [*_entries(TOKENIZER, "/model/vocab", new.values()), *_merges(draft, merged)]
    if older:
        lacking = [token_id for text, token_id in new.items() if text not in older]
        changes += _entries(VOCAB, "", lacking)
    return Growth(
        vocab={**vocab, **new},
        changes=tuple(changes),
        appended=tuple(
            AppendMerges(path=MERGES, first_id=first, count=count)
            for first, count in runs(merged)
            if MERGES in draft.checkpoint.small_files
        ),
        entered=entered,
        problems=tuple(_odd(older, new)),
        notes=_notes(entered),
    )


def _vocab_json(draft: Draft) -> Mapping[str, JsonValue]:
    """vocab.json repeats the vocabulary for older programs, and may hold added tokens already."""
    data = draft.checkpoint.small_files.get(VOCAB)
    there = None if data is None else parse_json(data, file=VOCAB).value
    held = there if isinstance(there, dict) else {}
    return {draft.renamed.get(text, text): token_id for text, token_id in held.items()}


def _odd(older: Mapping[str, JsonValue], new: Mapping[str, TokenId]) -> Iterator[tuple[str, str]]:
    for text, token_id in new.items():
        if older.get(text, token_id) != token_id:
            yield VOCAB, f"{text!r} has another id there than in tokenizer.json"


def _entries(file: str, pointer: str, ids: Iterable[int]) -> Iterator[tuple[str, JsonChange]]:
    for first, count in runs(ids):
        change = InsertTokens(pointer=pointer, form="token_to_id", first_id=first, count=count)
        yield file, change


def _merges(draft: Draft, merged: list[int]) -> Iterator[tuple[str, JsonChange]]:
    """Merges behind the last one, written as the file writes them."""
    pointer = "/model/merges"
    there = draft.checkpoint.value(TOKENIZER, pointer)
    lines = isinstance(there, list) and bool(there) and isinstance(there[0], str)
    form: Literal["merge_line", "merge_pair"] = "merge_line" if lines else "merge_pair"
    for first, count in runs(merged):
        yield TOKENIZER, InsertTokens(pointer=pointer, form=form, first_id=first, count=count)


def merges_of(checkpoint: Checkpoint) -> list[tuple[str, str]]:
    """The merges of tokenizer.json, whichever way they are written."""
    there = checkpoint.value(TOKENIZER, "/model/merges")
    found = []
    for entry in there if isinstance(there, list) else []:
        parts = entry.split(" ") if isinstance(entry, str) else entry
        if isinstance(parts, list) and len(parts) == 2:  # noqa: PLR2004 - a pair
            found.append((str(parts[0]), str(parts[1])))
    return found


def _notes(entered: Mapping[TokenId, AddedToken]) -> tuple[str, ...]:
    if not entered:
        return ()
    text = (
        f"added tokens ({len(entered):,}) are written into the model's vocabulary too, each under "
        "its own id: libraries count them on from its end, so its new pieces would shift them"
    )
    return (text,)


def runs(ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Runs of consecutive ids, as first and count."""
    first, count = -1, 0
    for token_id in sorted(ids):
        if count and token_id == first + count:
            count += 1
            continue
        if count:
            yield first, count
        first, count = token_id, 1
    if count:
        yield first, count
