"""The calls that change a disk, as values: the seam at which tests count, fail and reorder them.

Nothing in `applying/` changes the disk but through a `Syscalls`. Every field does what the system
call of its name does and raises `OSError`. A call that a signal interrupted is repeated: by Python
itself where PEP 475 says so, and by `_again` where it does not.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec

# Python's fcntl has no name for it before 3.12: _IOW(0x94, 9, int), linux/fs.h.
FICLONE = 0x40049409
Asked = ParamSpec("Asked")
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


@cache
def _renameat2() -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    found: Any = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if found is None:  # a C library older than glibc 2.28 or musl 1.2.5
        return None
    # The signature is set once; a ctypes function keeps no other state.
    found.argtypes = (
        *(ctypes.c_int, ctypes.c_char_p) * 2,
        ctypes.c_uint,
    )
    call: Callable[..., int] = found
    return call


def can_exchange() -> bool:
    """Whether this system can swap two names at once, as `--replace` needs."""
    return _renameat2() is not None


def _rename_with(flags: int, folder: int, old: str, new: str) -> None:
    call = _renameat2()
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(folder, os.fsencode(old), folder, os.fsencode(new), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), new)


def _again(call: Callable[Asked, None]) -> Callable[Asked, None]:
    """Repeat a call that Python leaves interrupted; if the signal's handler raises, that goes on."""

    def repeated(*args: Asked.args, **named: Asked.kwargs) -> None:
        while True:
            with suppress(InterruptedError):
                return call(*args, **named)

    return repeated


def _close(file: int) -> None:
    """Close, once: Linux has let go of the descriptor even if it says that it was interrupted."""
    with suppress(InterruptedError):
        os.close(file)


def _open(path: str, flags: int, mode: int, folder: int | None) -> int:
    return os.open(path, flags, mode, dir_fd=folder)


def _write(file: int, data: memoryview) -> int:
    return os.write(file, data)


def _fsync(file: int) -> None:
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:  # macOS: fsync alone does not reach the platter
        fcntl.fcntl(file, full)
    else:
        os.fsync(file)


@_again
def _mkdir(name: str, mode: int, folder: int) -> None:
    os.mkdir(name, mode, dir_fd=folder)


@_again
def _unlink(name: str, folder: int) -> None:
    os.unlink(name, dir_fd=folder)


@_again
def _rmdir(name: str, folder: int) -> None:
    os.rmdir(name, dir_fd=folder)


@_again
def _link(existing: str, name: str, folder: int) -> None:
    os.link(existing, name, dst_dir_fd=folder, follow_symlinks=False)


@_again
def _clone(source: int, file: int) -> None:
    if not sys.platform.startswith("linux"):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    fcntl.ioctl(file, FICLONE, source)


def _copy_range(source: int, file: int, count: int, begin: int) -> int:
    if not hasattr(os, "copy_file_range"):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return os.copy_file_range(source, file, count, offset_src=begin)


@_again
def _rename_new(folder: int, old: str, new: str) -> None:
    _rename_with(RENAME_NOREPLACE, folder, old, new)


@_again
def _exchange(folder: int, old: str, new: str) -> None:
    _rename_with(RENAME_EXCHANGE, folder, old, new)


@_again
def _rename(folder: int, old: str, new: str) -> None:
    os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)


def _lock(file: int) -> None:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _free_bytes(folder: int) -> int:
    found = os.fstatvfs(folder)
    return found.f_bavail * found.f_frsize


def _start_writing(file: int, begin: int, count: int) -> None:
    """Ask the system to write what is dirty now and to drop what is clean from memory."""
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # advice that is not taken is no failure; fsync has the last word
            os.posix_fadvise(file, begin, count, os.POSIX_FADV_DONTNEED)


def _umask() -> int:
    """The umask, read without the moment in which other threads would see another one."""
    try:
        status = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
        found = [line.split()[1] for line in status if line.startswith("Umask:")]
        return int(found[0], 8)
    except (OSError, IndexError, ValueError):
        mask = os.umask(0o077)
        os.umask(mask)
        return mask


@dataclass(frozen=True, slots=True)
class Syscalls:
    """What the store asks of the operating system. Folders are open descriptors.

    Attributes:
        open: (path, flags, mode, folder or None) to a descriptor.
        write: how much of the data was written, which may be less than given.
        link: a hard link to an existing path, which is not a link itself.
        clone: share all blocks of one open file with another (reflink).
        start_writing: (file, begin, count): so that fsync finds less to wait for.
        copy_range: (source, file, count, begin in the source), at the file's own position.
        rename_new: refuse if the new name exists; ENOSYS or EINVAL where that cannot be promised.
        exchange: swap two names at once.
    """

    open: Callable[[str, int, int, int | None], int] = _open
    close: Callable[[int], None] = _close
    write: Callable[[int, memoryview], int] = _write
    fsync: Callable[[int], None] = _fsync
    fchmod: Callable[[int, int], None] = os.fchmod
    mkdir: Callable[[str, int, int], None] = _mkdir
    unlink: Callable[[str, int], None] = _unlink
    rmdir: Callable[[str, int], None] = _rmdir
    link: Callable[[str, str, int], None] = _link
    clone: Callable[[int, int], None] = _clone
    copy_range: Callable[[int, int, int, int], int] = _copy_range
    rename_new: Callable[[int, str, str], None] = _rename_new
    exchange: Callable[[int, str, str], None] = _exchange
    rename: Callable[[int, str, str], None] = _rename
    lock: Callable[[int], None] = _lock
    free_bytes: Callable[[int], int] = _free_bytes
    start_writing: Callable[[int, int, int], None] = _start_writing
    umask: Callable[[], int] = _umask


SYSTEM = Syscalls()
