"""One new file of a stage: written whole or not at all, in whatever way the system offers."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from tokengraft.applying.hashing import MIB
from tokengraft.applying.syscalls import Syscalls
from tokengraft.errors import DiskFull, SourceChanged, WriteFailed

OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
FOLDER = OLD_FILE | os.O_DIRECTORY
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Where copy_file_range cannot do it, reading and writing can.
NO_COPY_RANGE = (errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)


@contextmanager
def doing(subject: str) -> Iterator[None]:
    """Turn what the operating system refuses into an error that names the file."""
    try:
        yield
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in FULL:
            raise DiskFull(
                f"no room to write {subject}",
                detail=cause,
                subject=subject,
                hint="free some space, or write to another disk",
            ) from error
        raise WriteFailed(f"cannot write {subject}", detail=cause, subject=subject) from error


class StagedFile:
    """A new file of the stage, open for writing.

    Attributes:
        size_bytes: how much has been written.
    """

    def __init__(self, path: str, file: int, system: Syscalls) -> None:
        self.path = path
        self.file = file
        self._system = system
        self.size_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Write all of it, however often the system writes a part."""
        rest = memoryview(data)
        while rest:
            count = self._system.write(self.file, rest)
            self._wrote(count)
            rest = rest[count:]

    def copy_range(self, source: int, begin: int, count: int) -> None:
        """Append a range of an open file, inside the kernel where it can."""
        while count > 0:
            try:
                copied = self._system.copy_range(source, self.file, count, begin)
            except OSError as error:
                if error.errno not in NO_COPY_RANGE:
                    raise
                copied = 0
            if copied:
                self._wrote(copied)
            else:
                copied = self._copy_by_hand(source, begin, min(count, MIB))
            begin, count = begin + copied, count - copied

    def clone(self, source: int) -> None:
        """Share the blocks of an open file; the file is still empty."""
        self._system.clone(source, self.file)

    def _copy_by_hand(self, source: int, begin: int, count: int) -> int:
        data = os.pread(source, count, begin)
        if not data:
            raise SourceChanged("a file became shorter while it was being read", subject=self.path)
        self.write(data)
        return len(data)

    def _wrote(self, count: int) -> None:
        self._system.start_writing(self.file, self.size_bytes, count)
        self.size_bytes += count
