"""The tokenizers library as planning asks for it: children that start when asked, and end together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Self

from tokengraft.sandbox.tokenizers import TokenizerChild


class AskedLibrary:
    """Answers with the base's tokenizer.json, or with another one; use it as a context manager."""

    def __init__(self, tokenizer: bytes) -> None:
        self._base = tokenizer
        self._children: dict[str, TokenizerChild] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _child(self, tokenizer: bytes) -> TokenizerChild:
        key = hashlib.sha256(tokenizer).hexdigest()
        if key not in self._children:
            child = self._stack.enter_context(TokenizerChild())
            child.load(tokenizer)
            self._children[key] = child
        return self._children[key]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text with the base's tokenizer.json."""
        return self._child(self._base).encode(texts) if texts else []

    def normalize(self, texts: Sequence[str]) -> list[str]:
        return self._child(self._base).normalize(texts)

    def cut(self, texts: Sequence[str]) -> list[list[str]]:
        return self._child(self._base).cut(texts)

    def model_ids(self, parts: Sequence[str]) -> list[list[int]]:
        return self._child(self._base).model_ids(parts)

    def neighbours(self, text: str) -> Mapping[str, Mapping[str, str]]:
        return self._child(self._base).neighbours(text)

    def spans(self, texts: Sequence[str]) -> list[list[tuple[int, int, int]]]:
        return self._child(self._base).encode_spans(texts)

    def encode_with(self, tokenizer: bytes, texts: Sequence[str]) -> list[list[int]]:
        return self._child(tokenizer).encode(texts)
