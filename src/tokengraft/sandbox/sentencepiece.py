"""The `sentencepiece` library in a limited child: it is C++ that is handed a stranger's file."""

from __future__ import annotations

import base64
import importlib.util
from collections.abc import Sequence
from typing import Self, cast

from tokengraft.errors import MissingExtra
from tokengraft.sandbox.process import Child
from tokengraft.sandbox.tokenizers import TOKENIZER_LIMITS, chunks


def has_sentencepiece() -> bool:
    """Whether the library is installed."""
    return importlib.util.find_spec("sentencepiece") is not None


class SentencepieceChild:
    """A SentencePiece model that can fail without taking us along.

    Every method raises `ChildFailed` if the library refuses, dies or runs out of memory or time.
    """

    def __init__(self) -> None:
        self._child = Child(
            "tokengraft.sandbox.sentencepiece_child",
            title="the sentencepiece library",
            limits=TOKENIZER_LIMITS,
        )

    def __enter__(self) -> Self:
        if not has_sentencepiece():
            raise MissingExtra(
                "the sentencepiece library is not installed",
                hint="pip install 'tokengraft[sentencepiece]'",
            )
        self._child.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._child.__exit__()

    def load(self, model: bytes) -> int:
        """Load a model and count its pieces."""
        return cast("int", self._child.ask("load", model=base64.b64encode(model).decode()))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        answers: list[list[int]] = []
        for chunk in chunks(texts):
            told = self._child.ask("encode", texts=[*chunk])
            answers += cast("list[list[int]]", told)
        return answers

    def pieces(self) -> list[str]:
        """The text of every piece, by id."""
        return cast("list[str]", self._child.ask("pieces"))

    def named_ids(self) -> dict[str, int]:
        """The ids of unk, bos, eos and pad; -1 where there is none."""
        return cast("dict[str, int]", self._child.ask("named_ids"))
