"""Initializers: where a new row comes from. Each returns weights over old rows, never a matrix.

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
from types import MappingProxyType
from typing import Literal

from tokengraft.plans import Mean, Mix

Encode = Callable[[Sequence[str]], list[list[int]]]
Job = Literal["read", "write", "both"]
Source = Mix | Mean


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
    """

    job: Job
    n_tokens: int
    encode: Encode | None

    def ids(self, text: str) -> tuple[int, ...]:
        """What a text used to become; nothing where that cannot be asked."""
        found = [] if self.encode is None else self.encode([text])[0]
        return tuple(token_id for token_id in found if token_id < self.n_tokens)

    def pieces(self, token: NewToken) -> tuple[int, ...]:
        """What the token's own text used to become."""
        return self.ids(token.text) if token.pieces is None else token.pieces


Initializer = Callable[[NewToken, Old], Source | None]


def zero(token: NewToken, old: Old) -> Source:
    """Start at zero: the token is read as nothing, and written with the logit 0.

    How much that takes from old tokens is unknown: where their logits are negative, it is a lot.
    The rows of several such tokens are equal.
    """
    del token, old
    return Mix(parents=())


def mean(token: NewToken, old: Old) -> Source:
    """Start at the mean of all used rows.

    Written, it takes at most 1/(V + 1) from V old tokens in any context, which is the least that
    can be promised. The rows of several such tokens are equal.

    Rows beyond the last token are left out: they were never trained, and `transformers` counts them.
    Source: Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language Models".
    """
    del token
    return Mean(first=0, count=old.n_tokens)


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
    counts = Counter(ids)
    if not counts:
        return None
    return Mix(parents=tuple((i, counts[i] / len(ids)) for i in sorted(counts)))


INITIALIZERS: Mapping[str, Initializer] = MappingProxyType(
    {
        "copy": copy,
        "eeve": eeve,
        "first-last": first_last,
        "mean": mean,
        "meaning-mean": meaning_mean,
        "sequence": sequence,
        "subword-mean": subword_mean,
        "words-mean": words_mean,
        "zero": zero,
    }
)
