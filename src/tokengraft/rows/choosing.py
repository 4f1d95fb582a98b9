"""Which initializer starts a token, for all of its matrices at once, and why.

`auto` goes by what the token is for and by what the recipe says of it: a word has pieces that mean
it, a marker has only its name and a description.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tokengraft.rows.initializers import INITIALIZERS, NewToken, Old, Source, Wish

_NAMED = ("copy", "sequence", "meaning-mean", "words-mean", "subword-mean", "mean")
# What was measured before any training: docs/explanation/rows-measured.md. `first-last` reads better
# than `eeve` with two rows on three models of three, and is written with the same row.
_WORD = ("copy", "sequence", "first-last", "mean")
# Among thousands of learned pieces many end alike, and would start with one row.
_EXTEND = ("copy", "sequence", "eeve", "mean")
# What `auto` tries by `use`, first that has something to go on.
AUTO: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "role": _NAMED,
        "tool": _NAMED,
        "thinking": _NAMED,
        "marker": _NAMED,
        "word": _WORD,
        "extend": _EXTEND,  # what `[[extend]]` learns
    }
)
# Why a candidate of `auto` was taken.
WHY: Mapping[str, str] = MappingProxyType(
    {
        "copy": "`like` names a token to start from",
        "sequence": "`sequence` says what it replaces",
        "meaning-mean": "it has a meaning",
        "words-mean": "it has no meaning, but words in its text",
        "subword-mean": "it has no meaning and no words, but pieces",
        "first-last": "its last piece was read and its first was written for it so far",
        "eeve": "its pieces were read and written for it so far",
        "mean": "nothing else is known of it",
    }
)


@dataclass(frozen=True, slots=True)
class Start:
    """Where the rows of one token start.

    Attributes:
        init: the initializer's name.
        why: why `auto` took it; empty if the recipe names it.
        sources: one for each matrix that was asked about.
    """

    init: str
    why: str
    sources: tuple[Source | Wish, ...]


def start_of(name: str, token: NewToken, matrices: Sequence[Old]) -> Start | None:
    """Find the starting rows of a token.

    Returns:
        None if the initializer has nothing to go on for this token in one of the matrices.
    """
    is_free = name == "auto"
    for candidate in AUTO.get(token.use, _NAMED) if is_free else (name,):
        sources = [INITIALIZERS[candidate](token, old) for old in matrices]
        found = tuple(source for source in sources if source is not None)
        if len(found) == len(sources):
            why = f"use = {token.use}, and {WHY[candidate]}" if is_free else ""
            return Start(candidate, why, found)
    return None
