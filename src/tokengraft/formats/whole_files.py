"""Files that are read whole: opened without waiting, found to be regular, and never beyond a limit.

A pipe, a socket or a device has no size that could be trusted, and reading one may never end; a
path that is checked and then opened by its name may be another file by then. So the descriptor is
what is asked, and what it says bounds what is read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

from tokengraft.errors import LimitExceeded, ReadFailed, UnsafePath

_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def open_regular(path: Path, *, subject: str = "", follow: bool = True) -> int:
    """Open a regular file for reading; the caller closes it.

    Args:
        follow: whether the last part of the path may be a link.
    Raises:
        ReadFailed: the system refuses.
        UnsafePath: it is a pipe, a device, a socket or a folder.
    """
    subject = subject or str(path)
    try:
        file = os.open(path, _FLAGS if follow else _FLAGS | os.O_NOFOLLOW)
    except (OSError, ValueError) as error:  # a NUL in a name is no error of the system
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ReadFailed(f"cannot read {subject}", detail=why or "", subject=subject) from error
    if not stat.S_ISREG(os.fstat(file).st_mode):
        let_go(file)
        raise UnsafePath(f"{subject} is not a regular file", subject=subject)
    return file


def let_go(file: int) -> None:
    """Close a file that was only read; a refusal loses nothing, and the descriptor is gone anyway."""
    with suppress(OSError):
        os.close(file)


def read_whole(path: Path, *, limit: int, subject: str = "", follow: bool = True) -> bytes:
    """Read a regular file whole.

    Args:
        limit: bytes that it may have.
    Raises:
        ReadFailed, UnsafePath: as `open_regular`.
        LimitExceeded: it has more bytes, or becomes longer while it is read.
    """
    subject = subject or str(path)
    file = open_regular(path, subject=subject, follow=follow)
    try:
        size = os.fstat(file).st_size
        if size > limit:
            raise _too_large(subject, size, limit)
        return _read(file, min(size + 1, limit + 1), limit, subject)
    except OSError as error:
        raise ReadFailed(
            f"cannot read {subject}", detail=error.strerror or "", subject=subject
        ) from error
    finally:
        let_go(file)


def read_head(path: Path, size: int) -> bytes:
    """Read the first bytes of a regular file, or all of it where it is shorter.

    Raises:
        ReadFailed, UnsafePath: as `open_regular`.
    """
    file = open_regular(path)
    try:
        return os.pread(file, size, 0)
    except OSError as error:
        raise ReadFailed(
            f"cannot read {path}", detail=error.strerror or "", subject=str(path)
        ) from error
    finally:
        let_go(file)


def digest_of(path: Path) -> str:
    """The sha256 of a regular file, in hexadecimal.

    Raises:
        ReadFailed, UnsafePath: as `open_regular`.
    """
    file = open_regular(path)
    found = hashlib.sha256()
    try:
        while piece := os.read(file, 1 << 20):
            found.update(piece)
    except OSError as error:
        raise ReadFailed(
            f"cannot read {path}", detail=error.strerror or "", subject=str(path)
        ) from error
    finally:
        let_go(file)
    return found.hexdigest()


def _read(file: int, wanted: int, limit: int, subject: str) -> bytes:
    """Read to the end; files of /proc and the like are longer than they say, so go on up to the limit."""
    pieces: list[bytes] = []
    done = 0
    while piece := os.read(file, wanted):
        pieces.append(piece)
        done += len(piece)
        if done > limit:
            raise _too_large(subject, done, limit)
        wanted = max(1, min(limit + 1 - done, 1 << 20))
    return b"".join(pieces)


def _too_large(subject: str, size: int, limit: int) -> LimitExceeded:
    return LimitExceeded(
        f"{subject} has {size} bytes, the limit is {limit}",
        subject=subject,
    )
