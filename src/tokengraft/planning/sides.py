"""What a pre-tokenizer does beside a word, found out by trying.

Regular expressions of pre-tokenizers are not read: what stands beside the word is tried by category
for letters, digits and marks, and one by one for signs and white space.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from tokengraft.planning.draft import Draft, Word
from tokengraft.planning.library import Library
from tokengraft.spelling import spelled

# Unicode's categories of what makes no word longer, and can stand beside one.
OTHERS = ("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Cf", "Cc")
LAST_SIGN = 0x1FAFF  # of emoji; what is tried is every sign up to here that could matter
# What may have taken a sign before the word comes: another sign, or a space.
TAKERS = {r"[^\s\p{L}\p{N}]": ("(", "!", "—", "\u0301"), " ": (" ",)}
# Ends of English contractions, which many pre-tokenizers cut off whatever follows, by their length.
CONTRACTED = {"(?i:'[stmd])": "x's", "(?i:'(?:re|ve|ll))": "x'll"}


@dataclass(frozen=True, slots=True)
class Sides:
    """What the pre-tokenizer does beside a word, as classes of regular expressions and as signs.

    Attributes:
        cut_after, kept_after: letters, digits and marks before which it cuts right behind the word,
            and before which it does not.
        cut_before, kept_before: the same for what stands before the word.
        whole: signs behind which it does not cut, while merges leave them alone.
        crossed: signs behind which it does not cut, and which merges join to the word.
        parted: white space of which it takes the last character alone before a word: a cut before
            the word must be made before that character first, or the run of them stays in one.
        takers: what makes it cut between a sign and the word after all.
        contracted: ends of contractions behind which it cuts.
    """

    cut_after: str
    kept_after: str
    cut_before: str
    kept_before: str
    whole: Sequence[str] = ()
    crossed: Sequence[str] = ()
    parted: Sequence[str] = ()
    takers: Sequence[str] = ()
    contracted: Sequence[str] = ()


def sides_of(draft: Draft, word: Word, library: Library) -> Sides | None:
    """Try what stands beside a word; None where it is not always the same."""
    beside = library.neighbours(word.normal)
    after, before = beside["after"], beside["before"]
    if "mixed" in {*after.values(), *before.values()}:
        return None
    sides = Sides(
        cut_after=_classes(after, "cut"),
        kept_after=_classes(after, "kept"),
        cut_before=_classes(before, "cut"),
        kept_before=_classes(before, "kept"),
    )
    if word.normal.startswith(" "):
        return sides
    whole, crossed = _signs_before(draft, word, library)
    takers = _takers(word, [c for c in crossed if not c.isspace()], library)
    if takers is None:
        return None
    ends = CONTRACTED.items()
    cut = library.cut([text + word.normal for _, text in ends])
    return replace(
        sides,
        whole=whole,
        crossed=crossed,
        parted=_parted(word, library),
        takers=takers,
        contracted=[p for (p, _), parts in zip(ends, cut, strict=True) if parts[-1] == word.piece],
    )


def _classes(beside: Mapping[str, str], kind: str) -> str:
    return "".join(rf"\p{{{name}}}" for name, found in beside.items() if found == kind)


def _signs_before(draft: Draft, word: Word, library: Library) -> tuple[list[str], list[str]]:
    """Signs behind which the word does not reach the model alone: left alone by merges, and not.

    Most often the sign stays at the word; 'm before "mode" is a contraction and cut elsewhere.
    """
    glued = [(c, parts) for c, parts in _tried(draft, word, library) if parts[-1] != word.piece]
    made = iter(library.model_ids([part for _, parts in glued for part in parts]))
    n = len(word.pieces)
    whole: list[str] = []
    crossed: list[str] = []
    for sign, parts in glued:
        ids = [token_id for _ in parts for token_id in next(made)]
        (whole if tuple(ids[-n:]) == word.pieces else crossed).append(sign)
    return whole, crossed


def _tried(draft: Draft, word: Word, library: Library) -> Iterator[tuple[str, list[str]]]:
    """Signs with what the pre-tokenizer makes of each before the word.

    Merges can join a sign to the word only if some piece holds the sign's last byte before the
    word's first, so besides those only the signs of ASCII are tried, and a few others.
    """
    first = spelled(word.normal)[0]
    joined = {
        piece[at - 1]
        for piece in draft.tokenizer.vocab
        for at in range(1, len(piece))
        if piece[at] == first
    }
    signs = [c for c in _signs() if c.isascii() or spelled(c)[-1] in joined or ord(c) % 64 == 0]
    yield from zip(signs, library.cut([c + word.normal for c in signs]), strict=True)


@cache
def _signs() -> Sequence[str]:
    letters = map(chr, range(LAST_SIGN + 1))
    return [letter for letter in letters if unicodedata.category(letter) in OTHERS]


def _parted(word: Word, library: Library) -> list[str]:
    spaces = [c for c in _signs() if c.isspace()]
    cut = library.cut([f"x{c}{c}{word.normal}" for c in spaces])
    return [
        c for c, parts in zip(spaces, cut, strict=True) if parts[-2:] == [spelled(c), word.piece]
    ]


def _takers(word: Word, crossed: Sequence[str], library: Library) -> list[str] | None:
    """Which neighbours take a sign from the word; None if some of a kind do and some do not."""
    signs = [*crossed, "\u0301"]
    found = []
    for pattern, examples in TAKERS.items():
        texts = [f"x{taker}{sign}{word.normal}" for taker in examples for sign in signs]
        taken = {parts[-1] == word.piece for parts in library.cut(texts)}
        if taken == {True, False}:
            return None
        if taken == {True}:
            found.append(pattern)
    return found
