"""Cuts for words of vocabularies that spell text in letters, mostly without a pre-tokenizer.

Without one, a text reaches the model as a whole. A cut between two letters is exact if no piece of
the vocabulary holds both, one behind the other: then no merge has ever crossed it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tokengraft.planning.draft import Draft, Word
from tokengraft.planning.growing import merges_of
from tokengraft.planning.letters import BYTE_PIECE
from tokengraft.planning.library import Library
from tokengraft.planning.patterns import (
    WORDISH,
    Problems,
    any_of,
    excluding,
    is_wordish,
    literal,
    longest_first,
)
from tokengraft.spelling import SPACE

RUN = 24  # spaces before a word that are tried; Llama 2's longest piece of spaces has 16
SHOWN = 3


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Letters and what merges make of them, and the pairs of letters that stand in one such piece."""

    texts: Sequence[str]
    neighbours: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, draft: Draft) -> _Pieces:
        made = [left + right for left, right in merges_of(draft.checkpoint)]
        letters = [text for text in draft.tokenizer.vocab if len(text) == 1]
        return cls([*letters, *made], frozenset(p for text in made for p in pairwise(text)))


def letter_cuts(draft: Draft, library: Library) -> tuple[list[str], Problems]:
    """Patterns to isolate: the words, and what `ignore_merges` would otherwise make of other text."""
    pieces = _Pieces.of(draft)
    problems: Problems = []
    isolated = []
    for word in longest_first(draft.words):
        pattern, problem = _isolated(word, pieces, library)
        if problem:
            problems.append((word.where, problem))
        isolated.append(pattern)
    broken, problem = _broken(draft, pieces, library)
    if problem:
        problems.append((draft.words[0].where, problem))
    return [any_of(found) for found in (isolated, broken) if found], problems


def _isolated(word: Word, pieces: _Pieces, library: Library) -> tuple[str, str]:
    before, problem = _before(word, pieces, library)
    after, problem_after = _after(word, pieces, library)
    return f"{before}{literal(word.piece)}{after}", problem or problem_after


def _before(word: Word, pieces: _Pieces, library: Library) -> tuple[str, str]:
    """What must stand before a word: no letter where it begins with one, nothing that merges took."""
    first, wordish = word.piece[0], WORDISH if is_wordish(word.piece[0]) else ""
    crossed = []
    for letter in sorted({a for a, b in pieces.neighbours if b == first}):
        if wordish and is_wordish(letter):
            continue
        if letter == SPACE == first:
            guard, problem = _behind_spaces(word, library)
            return (guard, problem) if not wordish else ("", "")
        texts = [text for text in pieces.texts if text.endswith(letter)]
        made = library.model_ids([text + word.piece for text in texts])
        n = len(word.pieces)
        whole = {tuple(ids[-n:]) == word.pieces for ids in made}
        if whole == {True, False}:
            return "", _depends(word, letter)
        if whole == {False}:
            crossed.append(letter)
    inside = wordish + excluding(crossed)
    return (f"(?<![{inside}])" if inside else ""), ""


def _behind_spaces(word: Word, library: Library) -> tuple[str, str]:
    """Runs of spaces are merged from the left: what is left for the word depends on their number."""
    n = len(word.pieces)
    made = library.model_ids([f"{SPACE * k}{word.piece}" for k in range(RUN)])
    whole = [tuple(ids[-n:]) == word.pieces for ids in made]
    if all(whole):
        return "", ""
    if whole == [k == 0 for k in range(RUN)]:
        return f"(?<!{SPACE})", ""
    if whole == [k % 2 == 0 for k in range(RUN)]:
        # \K forgets what was matched before it: an even number of spaces, from the first one on.
        return rf"(?<!{SPACE})(?:{SPACE}{SPACE})*\K", ""
    return "", _depends(word, SPACE)


def _after(word: Word, pieces: _Pieces, library: Library) -> tuple[str, str]:
    last = word.piece[-1]
    crossed = []
    for letter in sorted({b for a, b in pieces.neighbours if a == last}):
        if is_wordish(letter):
            continue
        texts = [text for text in pieces.texts if text.startswith(letter)]
        made = library.model_ids([word.piece + text for text in texts])
        whole = {tuple(ids[: len(word.pieces)]) == word.pieces for ids in made}
        if whole == {True, False}:
            return "", _depends(word, letter)
        if whole == {False}:
            crossed.append(letter)
    return f"(?![{WORDISH}{excluding(crossed)}])", ""


def _depends(word: Word, letter: str) -> str:
    return (
        f"whether the old pieces of {word.text!r} stand whole beside {letter!r} depends on the text "
        "further away, which no pattern can tell"
    )


def _broken(draft: Draft, pieces: _Pieces, library: Library) -> tuple[list[str], str]:
    """Pieces that merges never make must not come up where they are all that is left between cuts."""
    if draft.checkpoint.value("tokenizer.json", "/model/ignore_merges") is True:
        return [], ""
    vocab = draft.tokenizer.vocab
    every = sorted({*vocab, *(token.content for token in draft.added.values())})
    made = library.model_ids(every)
    odd = [t for t, ids in zip(every, made, strict=True) if ids != [vocab.get(t)] and len(t) > 1]
    patterns: dict[str, None] = {}
    for text in odd:
        at = next(
            (k for k in range(1, len(text)) if (text[k - 1], text[k]) not in pieces.neighbours),
            None,
        )
        if at is None:
            return [], (
                f"the vocabulary holds {text!r}, which merges never make: with ignore_merges, which "
                "words need, old text could be encoded otherwise"
            )
        tail = "0x[0-9A-F]{2}>" if BYTE_PIECE.fullmatch(text) and at == 1 else literal(text[at:])
        patterns[f"{literal(text[:at])}(?={tail})"] = None
    return list(patterns), ""
