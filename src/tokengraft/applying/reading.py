"""Files of a source, opened to be read, digested once beside the work, and found unchanged."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tokengraft.applying.hashing import MIB, Hashing, Tally
from tokengraft.checkpoint import FileEntry
from tokengraft.errors import ReadFailed, SourceChanged
from tokengraft.events import Listen, Progress, ignore
from tokengraft.formats.rows import read_range
from tokengraft.formats.whole_files import let_go

CHUNK_BYTES = 8 * MIB


@dataclass(slots=True)
class Meter:
    """Counts bytes over all files and tells who listens."""

    step: str
    total: int
    listen: Listen = ignore
    done: int = field(default=0, init=False)

    def add(self, subject: str, count: int) -> None:
        self.done += count
        self.listen(Progress(self.step, subject, self.done, max(self.total, self.done)))


@dataclass(frozen=True, slots=True)
class Source:
    """An open file of the source.

    Attributes:
        entry: the file as it was when the checkpoint was loaded.
        file: its descriptor, for reading.
        tally: its digest under way; what is read is fed here, in order.
    """

    entry: FileEntry
    file: int
    tally: Tally

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Cut the file into ranges of at most `CHUNK_BYTES`."""
        for begin in range(0, self.entry.size_bytes, CHUNK_BYTES):
            yield begin, min(begin + CHUNK_BYTES, self.entry.size_bytes)


@contextmanager
def reading(
    entry: FileEntry, hashing: Hashing, parts: Mapping[str, tuple[int, int]] | None = None
) -> Iterator[Source]:
    """Open a file of the source; the other thread closes it when its digest is complete.

    Args:
        parts: ranges of it that get digests of their own.
    Raises:
        ReadFailed: the system refuses.
        SourceChanged: it is not the file that was loaded. If it changes later, the tally says so.
    """
    file = open_unchanged(entry)
    tally = hashing.tally(entry.path, parts, size=entry.size_bytes)
    try:
        yield Source(entry, file, tally)
    finally:
        tally.end(_closing(entry, file))


def open_unchanged(entry: FileEntry) -> int:
    """Open a file of the source for reading; the caller closes it."""
    try:
        # `real` has no link left in it, so one that is there now was put there meanwhile.
        file = os.open(entry.real, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ReadFailed(
            f"cannot open {entry.path}", detail=error.strerror or "", subject=str(entry.real)
        ) from error
    try:
        require_unchanged(entry, file)
    except BaseException:
        let_go(file)
        raise
    return file


def require_unchanged(entry: FileEntry, file: int) -> None:
    """Refuse a file that was edited or replaced since the checkpoint was loaded.

    Raises:
        SourceChanged: its size, time or inode is another.
    """
    status = os.fstat(file)
    found = (status.st_size, status.st_mtime_ns, status.st_ino)
    if found != (entry.size_bytes, entry.mtime_ns, entry.inode) or not stat.S_ISREG(status.st_mode):
        raise SourceChanged(
            f"{entry.path} changed while it was being read",
            detail="its size, time or inode is not what it was; nothing was published",
            subject=str(entry.real),
            hint="let the other program end, then run the same command again",
        )


def _closing(entry: FileEntry, file: int) -> Callable[[], None]:
    def close() -> None:
        try:
            require_unchanged(entry, file)
        finally:
            let_go(file)

    return close


def old_bytes(entry: FileEntry, ranges: Iterable[tuple[int, int]]) -> Callable[[], Iterator[bytes]]:
    """Give ranges of a file of the source, read when they are asked for."""
    chosen = tuple(ranges)

    def read() -> Iterator[bytes]:
        file = open_unchanged(entry)
        try:
            for begin, end in chosen:
                for at in range(begin, end, MIB):
                    yield read_range(file, at, min(at + MIB, end), subject=entry.path)
            require_unchanged(entry, file)
        finally:
            let_go(file)

    return read
