"""The `tokenizers` library in a limited child: it panics and hangs on files that it should refuse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from tokengraft.errors import MalformedFile
from tokengraft.sandbox.process import Child, Limits
from tokengraft.sandbox.tokenizers_child import (
    digest_of_ids,
    digest_of_table,
    packed,
    unpacked,
)

__all__ = ["TOKENIZER_LIMITS", "TokenizerChild", "digest_of_ids", "digest_of_table"]

# A tokenizer of 151,000 tokens takes 0.2 GiB and less than a second; a large one ten times that.
TOKENIZER_LIMITS = Limits(memory_bytes=4 * 2**30, cpu_seconds=60, clock_seconds=120.0)
CHUNK_CHARACTERS = 2**20
CHUNK_ITEMS = 20_000
RUNS_AT_ONCE = 200_000  # some megabytes of JSON

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
        return self._rows("encode", texts)

    def encode_digest(self, texts: Sequence[str]) -> list[str]:
        """Hash the ids of each text as `digest_of_ids` does: to compare, without sending them."""
        return self._each("encode_digest", "texts", texts)

    def encode_offsets(self, text: str) -> list[tuple[int, int, int]]:
        """Give the ids of a text, each with the characters that it stands for."""
        spans = cast("list[list[int]]", self._child.ask("encode_offsets", text=text))
        return [(token_id, begin, end) for token_id, begin, end in spans]

    def encode_spans(self, texts: Sequence[str]) -> list[list[tuple[int, int, int]]]:
        """Give the ids of each text, each with the characters that it stands for."""
        rows = self._rows("encode_spans", texts)
        return [list(zip(row[::3], row[1::3], row[2::3], strict=True)) for row in rows]

    def normalize(self, texts: Sequence[str]) -> list[str]:
        """What the normalizer alone makes of each text."""
        return self._each("normalize", "texts", texts)

    def cut(self, texts: Sequence[str]) -> list[list[str]]:
        """The parts into which the pre-tokenizer alone cuts each text."""
        return self._each("cut", "texts", texts)

    def model_ids(self, parts: Sequence[str]) -> list[list[int]]:
        """What the model alone makes of each part."""
        return self._each("model_ids", "parts", parts)

    def neighbours(self, text: str) -> dict[str, dict[str, str]]:
        """Whether the pre-tokenizer cuts before and after a text, by category of what is there."""
        return cast("dict[str, dict[str, str]]", self._child.ask("neighbours", text=text))

    def count(self, texts: Iterable[str], *, spaces: bool) -> tuple[list[list[int]], int]:
        """Count runs of ids in which merges can be learned (see `tokenizers_parts.count`).

        Returns:
            The runs, each with its count behind it, and the number of all ids.
        """
        self._child.ask("count_start")
        total = 0
        for text in texts:
            total = cast("int", self._child.ask("count", texts=[text], spaces=spaces))
        runs: list[list[int]] = []
        while True:
            page = self._child.ask("counted", first=len(runs), number=RUNS_AT_ONCE)
            more = cast("list[list[int]]", page)
            runs += more
            if len(more) < RUNS_AT_ONCE:
                return runs, total

    def uses(self, texts: Iterable[str]) -> dict[int, int]:
        """How often each id comes up in texts; those that do not are left out."""
        self._child.ask("uses_start")
        for text in texts:
            self._child.ask("uses", texts=[text])
        pairs = cast("list[tuple[int, int]]", self._child.ask("used"))
        return dict(pairs)

    def decode(self, ids: Sequence[Sequence[int]], *, skip_special: bool) -> list[str]:
        texts: list[str] = []
        for chunk in chunks(ids):
            asked = self._child.ask("decode", batch=packed(chunk), skip_special=skip_special)
            texts += cast("list[str]", asked)
        return texts

    def token_to_id(self, texts: Sequence[str]) -> list[int | None]:
        return self._each("token_to_id", "texts", texts)

    def id_table(self) -> dict[int, str]:
        """The text of every id that the library knows."""
        pairs = cast("list[tuple[int, str]]", self._child.ask("id_table"))
        return dict(pairs)

    def table_digest(self) -> str:
        """Hash the table as `digest_of_table(id_table().items())` does, without sending it."""
        return cast("str", self._child.ask("table_digest"))

    def _rows(self, op: str, texts: Sequence[str]) -> list[list[int]]:
        rows: list[list[int]] = []
        for chunk in chunks(texts):
            rows += unpacked(cast("dict[str, Any]", self._child.ask(op, texts=[*chunk])))
        return rows

    def _each(self, op: str, name: str, items: Sequence[Any]) -> list[Any]:
        answers: list[Any] = []
        for chunk in chunks(items):
            answers += cast("list[Any]", self._child.ask(op, **{name: chunk}))
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
