"""Read files in blocks: to digest them, to compare two of them, to cut rows out of them.

Nothing here knows where bytes come from: a file, or a file put together from two others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tokengraft.errors import MalformedFile, ReadFailed

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Span:
    """Some bytes of a file."""

    path: Path
    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.begin


def blocks(span: Span) -> Iterator[bytes]:
    """Read a span from its beginning to its end.

    Raises:
        MalformedFile: the file ends before the span does.
        ReadFailed: the system refuses.
    """
    left = span.size_bytes
    try:
        with span.path.open("rb") as file:
            file.seek(span.begin)
            while left > 0:
                block = file.read(min(BLOCK_BYTES, left))
                if not block:
                    raise MalformedFile(
                        f"{span.path.name} ends {left} bytes too early", subject=str(span.path)
                    )
                left -= len(block)
                yield block
    except OSError as error:
        raise ReadFailed(
            f"cannot read {span.path}", detail=error.strerror or "", subject=str(span.path)
        ) from error


def read(span: Span) -> bytes:
    """Read a span that is known to be small."""
    return b"".join(blocks(span))


def digest(chunks: Iterable[bytes], told: Callable[[int], None] = lambda _: None) -> str:
    """Hash chunks in a second thread while the next one is read; `told` hears of each one's size."""
    sha256 = hashlib.sha256()
    waiting: Future[None] | None = None
    with ThreadPoolExecutor(1, "tokengraft-hash") as thread:
        for chunk in chunks:
            if waiting is not None:
                waiting.result()
            waiting = thread.submit(sha256.update, chunk)
            told(len(chunk))
    return sha256.hexdigest()


def first_difference(one: Span, other: Span) -> int | None:
    """Compare two spans of one length; return where they differ first, counted from their begin."""
    assert one.size_bytes == other.size_bytes
    at = 0
    for left, right in zip(blocks(one), blocks(other), strict=True):
        if left != right:
            return at + next(i for i, (a, b) in enumerate(zip(left, right, strict=True)) if a != b)
        at += len(left)
    return None


def is_one_file(one: Path, other: Path) -> bool:
    """Whether two names are hard links to the same bytes."""
    try:
        return one.samefile(other)
    except OSError:
        return False
