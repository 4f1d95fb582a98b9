"""Initializers: where a new row comes from. Each returns weights over old rows, never a matrix; or a
wish that planning meets, where the rows have to be read for it.

Most good starting points are linear in old rows, so a plan can state them in a line and apply can
compute them while it streams. What an initializer cannot do is make a token mean something: that
takes training, and the plan says so.

An initializer is asked once for every matrix. A row that is read and a row that is written have
different jobs, so a rule may answer differently for each; where one row does both (tied
embeddings), it says what is right there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Literal

from tokengraft.plans import Mean, Mix

Encode = Callable[[Sequence[str]], list[list[int]]]
Job = Literal["read", "write", "both"]
Source = Mix | Mean


@dataclass(frozen=True, slots=True)
class Drawn:
    """A wish that planning meets: a row drawn around a centre, spread as the used rows are.

    Attributes:
        center: what the row is drawn around.
        key: whose row it is; with the recipe's seed it decides the numbers.
    """

    center: Source
    key: str


@dataclass(frozen=True, slots=True)
class Rescaled:
    """A wish that planning meets: this sum, as long as the median of the used rows."""

    mix: Mix


@dataclass(frozen=True, slots=True)
class Pursued:
    """A wish that planning meets: the sum that a donor's row of this text is there."""

    text: str


Wish = Drawn | Rescaled | Pursued


@dataclass(frozen=True, slots=True)
class NewToken:
    """What an initializer may look at.

    Attributes:
        text: the token's own text.
        use: what it is for: role, tool, thinking, marker, word or pad.
        meaning: what it stands for, in words, if the recipe says.
        like: the id of a token to copy, if the recipe says.
        sequence: the text that it replaces, if the recipe says.
        pieces: the ids that its text used to become, where planning knows them; else they are asked
            for.
    """

    text: str
    use: str = "marker"
    meaning: str | None = None
    like: int | None = None
    sequence: str | None = None
    pieces: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Old:
    """One matrix of the base.

    Attributes:
        job: what its rows are for: `read` (input embeddings), `write` (output embeddings) or `both`.
        n_tokens: how many of its rows are used; those beyond were never trained.
        encode: the tokenizer as it was before the change, None where there is none to ask.
        untrained: ids whose rows in this matrix were found untrained; they are no parents.
        length: the characters of an id's text, at least one.
    """

    job: Job
    n_tokens: int
    encode: Encode | None
    untrained: frozenset[int] = frozenset()
    length: Callable[[int], int] = lambda _: 1

    def ids(self, text: str) -> tuple[int, ...]:
        """What a text used to become, trained rows alone; nothing where that cannot be asked."""
        return self._trained([] if self.encode is None else self.encode([text])[0])

    def pieces(self, token: NewToken) -> tuple[int, ...]:
        """What the token's own text used to become, trained rows alone."""
        return self.ids(token.text) if token.pieces is None else self._trained(token.pieces)

    def _trained(self, ids: Sequence[int]) -> tuple[int, ...]:
        return tuple(i for i in ids if i < self.n_tokens and i not in self.untrained)

    @property
    def all_used(self) -> Mean:
        """The mean of all used rows but those that were found untrained."""
        return _all_but(self.n_tokens, self.untrained)


@lru_cache(maxsize=16)  # every token asks, in every matrix
def _all_but(n_tokens: int, untrained: frozenset[int]) -> Mean:
    without = tuple(sorted(i for i in untrained if i < n_tokens))
    return Mean(first=0, count=n_tokens, without=without[: n_tokens - 1])


Initializer = Callable[[NewToken, Old], Source | Wish | None]


def zero(token: NewToken, old: Old) -> Source:
    """Start at zero: the token is read as nothing, and written with the logit 0.

    How much that takes from old tokens is unknown: where their logits are negative, it is a lot.
    Of several such tokens, all but the first are drawn around zero, so that they differ.
    """
    del token, old
    return Mix(parents=())


def mean(token: NewToken, old: Old) -> Source:
    """Start at the mean of all used rows, but those that were found untrained.

    Written, it takes at most 1/(V + 1) from V such tokens in any context, which is the least that
    can be promised. Of several such tokens, all but the first are drawn around it, as `gaussian` does,
    so that they differ.

    Rows beyond the last token are left out: they were never trained, and `transformers` counts them.
    Source: Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models".
    """
    del token
    return old.all_used


def gaussian(token: NewToken, old: Old) -> Wish:
    """Start near the mean of all used rows, drawn with a small part of their covariance.

    The part is `spread` of `[rows]` (0.00001 by default), the numbers follow from `seed` there, from the
    matrix and from the token's text. The value is stored with the plan. What it takes from old
    tokens when it is written is close to what `mean` takes, but nothing bounds it.

    Source: Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models".
    """
    return Drawn(mean(token, old), token.text)


def bil(token: NewToken, old: Old) -> Source | Wish | None:
    """Read as the mean of the pieces, as long as the median row; written as their mean by characters.

    The mean of rows that point in different directions is shorter than each of them; here it gets the
    median length of all used rows, for which planning reads the matrix. Written, a piece counts by the
    characters that it has. Tied, the row is the one that is read.
    Source: the asymmetric rule "BIL" of arXiv 2608.03494, 2026, with one median for all scripts.
    """
    pieces = old.pieces(token)
    found = even(pieces)
    if found is None or old.job != "write":
        return None if found is None else Rescaled(found)
    return weighted([(piece, old.length(piece)) for piece in pieces])


def omp(token: NewToken, old: Old) -> Wish:
    """Start as the sum of old rows that a donor's row is of the donor's: the same weights, its tokens.

    `donor` of `[rows]` names a model that has the token. Its row there is taken apart by orthogonal
    matching pursuit, into at most `atoms` rows of pieces that both models have; separately for the
    matrix that writes, where there is one. The models may differ in width. A bias gets the mean.

    Take a donor that you trust: weights that look harmless in it may add up to a row that breaks the
    base (arXiv 2601.00065). The plan shows every weight; measure before you ship.
    Source: arXiv 2506.06607, 2025, "Training-Free Tokenizer Transplantation via Orthogonal Matching
    Pursuit"; here rows are chosen by direction, not by their length.
    """
    del old
    return Pursued(token.text)


def copy(token: NewToken, old: Old) -> Source | None:
    """Start as a copy of the token that `like` names.

    Written, it takes half of what that token had: the two logits are the same.
    """
    del old
    return None if token.like is None else Mix(parents=((token.like, 1.0),))


def subword_mean(token: NewToken, old: Old) -> Source | None:
    """Start as the mean of the rows that the text used to become.

    Source: Gee et al. 2022, "Fast Vocabulary Transfer for Language Model Compression".
    """
    return even(old.pieces(token))


def words_mean(token: NewToken, old: Old) -> Source | None:
    """Start as the mean of the rows of the words in the text, its brackets and bars left out.

    `<|my_agi_mode|>` starts as " my agi mode": the markup's pieces would say "punctuation".
    """
    words = " ".join(re.findall(r"[^\W_]+", token.text))
    return even(old.ids(f" {words}")) if words else None


def meaning_mean(token: NewToken, old: Old) -> Source | None:
    """Start as the mean of the rows of the description, in each matrix of that matrix's own rows.

    Source: LLaMA-Factory's `init_special_tokens: desc_init`, 2025, which takes input rows for the
    output matrix too.
    """
    return None if token.meaning is None else even(old.ids(f" {token.meaning.strip()}"))


def first_last(token: NewToken, old: Old) -> Source | None:
    """Read as the last piece of the text, written as the first; tied, the mean of the two.

    What follows a word was predicted at the place of its last piece; where the word was due, the
    model wrote its first.
    """
    pieces = old.pieces(token)
    if not pieces:
        return None
    match old.job:
        case "read":
            return even(pieces[-1:])
        case "write":
            return even(pieces[:1])
        case "both":
            return even((pieces[0], pieces[-1]))


def eeve(token: NewToken, old: Old) -> Source | None:
    """Read as the mean of the pieces, written as the first piece; tied, the mean.

    Where the word was due, the model wrote its first piece, so that row answers there. It answers
    wherever else that piece was due, too: the token is written too often until it is trained.
    Source: Kim et al. 2024, "Efficient and Effective Vocabulary Expansion Towards Multilingual
    Large Language Models".
    """
    pieces = old.pieces(token)
    return even(pieces[:1] if old.job == "write" else pieces)


def sequence(token: NewToken, old: Old) -> Source | None:
    """Start from the text that `sequence` gives, such as `<|im_start|>user` and a line break.

    Read as the mean of its pieces, written as its first piece: where the sequence is due, the model
    writes that one. Tied, the mean.
    """
    if token.sequence is None:
        return None
    pieces = old.ids(token.sequence)
    return even(pieces[:1] if old.job == "write" else pieces)


def even(ids: Sequence[int]) -> Mix | None:
    """The mean of these rows, one that comes twice counting twice; None if there are none."""
    return _even(tuple(ids)) if ids else None


@lru_cache(maxsize=1 << 14)  # each matrix asks for the same rows
def _even(ids: tuple[int, ...]) -> Mix:
    counts = Counter(ids)
    return Mix(parents=tuple((i, counts[i] / len(ids)) for i in sorted(counts)))


def weighted(weights: Sequence[tuple[int, float]]) -> Mix:
    """The mean of rows with these weights, one that comes twice counting twice."""
    total = sum(weight for _, weight in weights)
    sums: Counter[int] = Counter()
    for i, weight in weights:
        sums[i] += weight  # type: ignore[assignment]  # a counter holds any number
    return Mix(parents=tuple((i, sums[i] / total) for i in sorted(sums)))


INITIALIZERS: Mapping[str, Initializer] = MappingProxyType(
    {
        "bil": bil,
        "copy": copy,
        "eeve": eeve,
        "first-last": first_last,
        "gaussian": gaussian,
        "mean": mean,
        "meaning-mean": meaning_mean,
        "omp": omp,
        "sequence": sequence,
        "subword-mean": subword_mean,
        "words-mean": words_mean,
        "zero": zero,
    }
)
