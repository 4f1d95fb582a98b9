"""The `tokenizers` library in a limited child: it panics and hangs on files that it should refuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from tokengraft.errors import MalformedFile
from tokengraft.sandbox.process import Child, Limits
from tokengraft.sandbox.tokenizers_child import digest_of_ids, digest_of_table

__all__ = ["TOKENIZER_LIMITS", "TokenizerChild", "digest_of_ids", "digest_of_table"]

# A tokenizer of 151,000 tokens takes 0.2 GiB and less than a second; a large one ten times that.
TOKENIZER_LIMITS = Limits(memory_bytes=4 * 2**30, cpu_seconds=60, clock_seconds=120.0)
CHUNK_CHARACTERS = 2**20
CHUNK_ITEMS = 20_000

Item = TypeVar("Item", bound=Sized)


class TokenizerChild:
    """A tokenizer that can fail without taking us along.

    Texts are encoded without the special tokens that a post-processor would add, and without the
    truncation and padding that a file may demand. Every method raises `ChildFailed` if the library
    refuses, panics, dies or runs out of its memory or time.
    """

    def __init__(self, limits: Limits = TOKENIZER_LIMITS) -> None:
        self._child = Child(
            "tokengraft.sandbox.tokenizers_child", title="the tokenizers library", limits=limits
        )

    def __enter__(self) -> Self:
        self._child.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._child.__exit__()

    def load(self, source: bytes | Path) -> int:
        """Load a tokenizer.json and count its tokens as the library does (without holes)."""
        if isinstance(source, Path):
            return cast("int", self._child.ask("load", path=str(source.resolve())))
        try:
            text = source.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedFile(
                "a tokenizer that is not UTF-8", detail=f"byte {error.start} begins no character"
            ) from None
        return cast("int", self._child.ask("load", text=text))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return self._each("encode", "texts", texts)

    def encode_digest(self, texts: Sequence[str]) -> list[str]:
        """Hash the ids of each text as `digest_of_ids` does: to compare, without sending them."""
        return self._each("encode_digest", "texts", texts)

    def encode_offsets(self, text: str) -> list[tuple[int, int, int]]:
        """Give the ids of a text, each with the characters that it stands for."""
        spans = cast("list[list[int]]", self._child.ask("encode_offsets", text=text))
        return [(token_id, begin, end) for token_id, begin, end in spans]

    def decode(self, ids: Sequence[Sequence[int]], *, skip_special: bool) -> list[str]:
        return self._each("decode", "batch", [list(row) for row in ids], skip_special=skip_special)

    def token_to_id(self, texts: Sequence[str]) -> list[int | None]:
        return self._each("token_to_id", "texts", texts)

    def id_table(self) -> dict[int, str]:
        """The text of every id that the library knows."""
        pairs = cast("list[tuple[int, str]]", self._child.ask("id_table"))
        return dict(pairs)

    def table_digest(self) -> str:
        """Hash the table as `digest_of_table(id_table().items())` does, without sending it."""
        return cast("str", self._child.ask("table_digest"))

    def _each(self, op: str, name: str, items: Sequence[Any], **more: bool) -> list[Any]:
        answers: list[Any] = []
        for chunk in chunks(items):
            answers += cast("list[Any]", self._child.ask(op, **{name: chunk}, **more))
        return answers


def chunks(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Cut a batch into messages that stay small (one long text is one message all the same)."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        if chunk and (size + len(item) > CHUNK_CHARACTERS or len(chunk) == CHUNK_ITEMS):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += len(item)
    if chunk:
        yield chunk
