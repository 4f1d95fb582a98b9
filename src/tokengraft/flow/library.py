"""Children as planning asks them: they start when asked, and end together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from tokengraft.errors import ChildFailed
from tokengraft.sandbox.templates import TemplateChild, TemplateFailed
from tokengraft.sandbox.tokenizers import TokenizerChild

if TYPE_CHECKING:
    from tokengraft.planning.chat import Asked, Said


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


class AskedTemplates:
    """Shows conversations to chat templates, in one limited child; use it as a context manager.

    A template that fails says why. Where the child itself ends, the next question gets a new one.
    """

    def __init__(self) -> None:
        self._child: TemplateChild | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.__exit__()

    def __call__(self, conversations: Sequence[Asked], named: Mapping[str, str]) -> list[Said]:
        if self._child is None and conversations:
            self._child = TemplateChild().__enter__()
        try:
            return [self._said(asked, named) for asked in conversations]
        except ChildFailed:
            self.__exit__()
            raise

    def _said(self, asked: Asked, named: Mapping[str, str]) -> Said:
        from tokengraft.planning.chat import Said

        assert self._child is not None
        try:
            found = self._child.render(
                asked.template,
                messages=asked.messages,
                tools=asked.tools,
                add_generation_prompt=asked.prompt,
                named_tokens=named,
                extra=asked.extra,
            )
        except TemplateFailed as error:
            return Said(None, failure=error.detail)
        return Said(found.text, found.generated)
