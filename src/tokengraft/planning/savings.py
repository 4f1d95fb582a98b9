"""What new words save in the text that training is to read: known before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from tokengraft.planning.draft import Draft, Word
from tokengraft.planning.library import CountCorpus, Counted
from tokengraft.recipes import PLAIN_TEXT, Train
from tokengraft.spelling import readable

SHOWN = 8


def with_savings(draft: Draft, train: Train | None, count: CountCorpus) -> Draft:
    """Note how often each new word stands in the text, and how many ids that saves."""
    if train is None or not draft.words:
        return draft
    if train.data is None:
        return draft.with_note("what the new words save is unknown: [train] names no text")
    if PurePath(train.data).suffix.lower() not in PLAIN_TEXT:  # what else stands there is no text
        return draft.with_note(
            f"what the new words save is unknown before training: {train.data} is no plain text"
        )
    counted = count(train.data, not draft.tokenizer.byte_level)
    if counted.problem:
        return draft.with_note(f"what the new words save is unknown: {counted.problem}")
    return draft.with_note(_told(draft, train.data, counted))


def _told(draft: Draft, data: str, counted: Counted) -> str:
    # Runs end at spaces, so that texts of several words stand in none of them.
    words = [word for word in draft.words if " " not in word.text.strip()]
    found = list(_uses(draft, words, counted))
    saved = sum(n * (len(word.pieces) - 1) for word, n in found)
    never = [word.text for word, n in found if not n]
    shown = ", ".join(f"{word.text!r} {n}" for word, n in found[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    text = (
        f"{data} has {counted.n_ids:,} ids and would have {saved:,} fewer with the new words, which "
        f"stand in it so often: {shown}{more}"
    )
    if not never:
        return text
    return f"{text}. Never: {', '.join(map(repr, never[:SHOWN]))}, so there is no use in adding them for it"


def _uses(draft: Draft, words: Sequence[Word], counted: Counted) -> Iterator[tuple[Word, int]]:
    """How often each word stands whole: its pieces begin a run, and no letter goes on."""
    texts: dict[int, str] = {i: text for text, i in draft.tokenizer.vocab.items()}
    by_first: dict[int, list[tuple[tuple[int, ...], int]]] = {}
    for run, n in counted.units:
        by_first.setdefault(run[0], []).append((run, n))
    for word in words:
        size = len(word.pieces)
        total = 0
        for run, n in by_first.get(word.pieces[0], ()):
            if run[:size] == word.pieces and not (
                len(run) > size and _goes_on(draft, texts.get(run[size], ""))
            ):
                total += n
        yield word, total


def _goes_on(draft: Draft, piece: str) -> bool:
    text = readable(piece, draft.tokenizer.byte_level)
    return text[:1].isalnum()
