"""What planning asks of the tokenizers library, and of a corpus: ports, which `flow` fills.

Nothing here does anything. The library runs in a child with limits, and only the flow starts one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Unit = tuple[tuple[int, ...], int]
Beside = Literal["cut", "kept", "mixed"]


class Library(Protocol):
    """The tokenizers library with the base's tokenizer.json, step by step."""

    def normalize(self, texts: Sequence[str]) -> list[str]:
        """What the normalizer makes of each text."""

    def cut(self, texts: Sequence[str]) -> list[list[str]]:
        """The parts into which the pre-tokenizer cuts each (normalised) text."""

    def model_ids(self, parts: Sequence[str]) -> list[list[int]]:
        """What the model alone makes of each part."""

    def neighbours(self, text: str) -> Mapping[str, Mapping[str, str]]:
        """For `before` and `after`: by category, whether the pre-tokenizer cuts beside a text."""

    def spans(self, texts: Sequence[str]) -> list[list[tuple[int, int, int]]]:
        """Ids of each text, each with the characters that it stands for."""

    def encode_with(self, tokenizer: bytes, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text with another tokenizer.json."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A corpus as the base's tokenizer reads it.

    Attributes:
        units: runs of ids within which merges can be learned, with their counts; runs of one id
            are left out.
        n_ids: all ids of the corpus.
        problem: why there is nothing here; then the rest is empty.
    """

    units: tuple[Unit, ...] = ()
    n_ids: int = 0
    size_bytes: int = 0
    sha256: str = ""
    problem: str = ""


# Reads the corpus that a recipe names, and counts it; `True` asks for runs cut at spaces (see
# `sandbox.tokenizers_parts.count`).
CountCorpus = Callable[[str, bool], Counted]


def no_corpus(corpus: str, spaces: bool) -> Counted:  # noqa: FBT001 - a port is called by position
    """Stands where nobody can read corpora."""
    del spaces
    return Counted(problem=f"{corpus} cannot be read here")


@dataclass(frozen=True, slots=True)
class Used:
    """How often a corpus uses each id, as the base's tokenizer reads it.

    Attributes:
        counts: by id; ids that never come up are left out.
        problem: why there is nothing here; then the rest is empty.
    """

    counts: Mapping[int, int] = field(default_factory=dict)
    size_bytes: int = 0
    sha256: str = ""
    problem: str = ""

    @property
    def n_ids(self) -> int:
        return sum(self.counts.values())


# Reads the corpus that a recipe names, and counts its ids.
CountUses = Callable[[str], Used]


def no_uses(corpus: str) -> Used:
    """Stands where nobody can read corpora."""
    return Used(problem=f"{corpus} cannot be read here")
