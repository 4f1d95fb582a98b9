"""Initializers: where a new row comes from. Each returns weights over old rows, never a matrix.

Most good starting points are linear in old rows, so a plan can state them in a line and apply can
compute them while it streams. What an initializer cannot do is make a token mean something: that
takes training, and the plan says so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tokengraft.plans import Mean, Mix

Encode = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True, slots=True)
class NewToken:
    """What an initializer may look at.

    Attributes:
        text: the token's own text.
        meaning: what it stands for, in words, if the recipe says.
        like: the id of a token to copy, if the recipe says.
    """

    text: str
    meaning: str | None
    like: int | None


@dataclass(frozen=True, slots=True)
class Old:
    """The rows there are: `n_tokens` used ones (rows beyond them were never trained)."""

    n_tokens: int
    encode: Encode | None


Source = Mix | Mean
Initializer = Callable[[NewToken, Old], Source | None]


def mean(token: NewToken, old: Old) -> Source:
    """Start at the mean of all used rows.

    Rows beyond the last token are left out: they were never trained, and `transformers` counts them.
    Source: Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models".
    """
    del token
    return Mean(first=0, count=old.n_tokens)


def zero(token: NewToken, old: Old) -> Source:
    """Start at zero: the token is read as nothing, and written with the logit of no evidence."""
    del token, old
    return Mix(parents=())


def copy(token: NewToken, old: Old) -> Source | None:
    """Start as a copy of the token that `like` names."""
    del old
    return None if token.like is None else Mix(parents=((token.like, 1.0),))


def subword_mean(token: NewToken, old: Old) -> Source | None:
    """Start as the mean of the rows that the text used to become.

    Source: Gee et al. 2022, "Fast Vocabulary Transfer for Language Model Compression".
    """
    return _mean_of_text(token.text, old)


def words_mean(token: NewToken, old: Old) -> Source | None:
    """Start as the mean of the rows of the words in the text, its brackets and bars left out.

    `<|my_agi_mode|>` starts as " my agi mode": the markup's pieces would say "punctuation".
    """
    words = " ".join(re.findall(r"[^\W_]+", token.text))
    return _mean_of_text(f" {words}", old) if words else None


def meaning_mean(token: NewToken, old: Old) -> Source | None:
    """Start as the mean of the rows of the description.

    Source: LLaMA-Factory's `init_special_tokens: desc_init`, 2025.
    """
    return None if token.meaning is None else _mean_of_text(f" {token.meaning.strip()}", old)


def _mean_of_text(text: str, old: Old) -> Source | None:
    if old.encode is None:
        return None
    ids = old.encode([text])[0]
    if not ids:
        return None
    counts = Counter(ids)
    return Mix(parents=tuple((i, counts[i] / len(ids)) for i in sorted(counts)))


INITIALIZERS: Mapping[str, Initializer] = MappingProxyType(
    {
        "copy": copy,
        "mean": mean,
        "meaning-mean": meaning_mean,
        "subword-mean": subword_mean,
        "words-mean": words_mean,
        "zero": zero,
    }
)
# What `auto` tries, first that has something to go on.
AUTO = ("copy", "meaning-mean", "words-mean", "subword-mean", "mean")


def initialize(name: str, token: NewToken, old: Old) -> tuple[str, Source] | None:
    """Find the starting row, and the name of the initializer that gave it.

    Returns:
        None if the named initializer has nothing to go on for this token.
    """
    for candidate in AUTO if name == "auto" else (name,):
        source = INITIALIZERS[candidate](token, old)
        if source is not None:
            return candidate, source
    return None
