"""One run at a time for a destination, and the removal of what killed runs left.

The lock is the kernel's and dies with its process, so there is never one to break by hand.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tokengraft.applying.staged import FOLDER, doing
from tokengraft.applying.syscalls import Syscalls
from tokengraft.errors import TargetLocked

LOCK_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
LOCK_TRIES = 100


@contextmanager
def locked(parent: int, target: Path, system: Syscalls) -> Iterator[None]:
    """Hold the kernel's lock of one destination; it dies with the process."""
    name = f".{target.name}.tokengraft.lock"
    file = _take_lock(parent, name, target, system)
    try:
        yield
    finally:
        with suppress(OSError):  # the lock is the kernel's; its file is only a place to hold it
            system.unlink(name, parent)
        with suppress(OSError):
            system.close(file)


def _take_lock(parent: int, name: str, target: Path, system: Syscalls) -> int:
    for _ in range(LOCK_TRIES):
        with doing(str(target.parent / name)):
            file = system.open(name, LOCK_FILE, 0o666, parent)
            try:
                system.lock(file)
                if is_same(file, parent, name):
                    return file
            except BlockingIOError as error:
                system.close(file)
                raise TargetLocked(
                    f"another run holds {target}",
                    subject=str(target),
                    hint="wait for it to end; there is no lock to remove by hand",
                ) from error
            except BaseException:
                system.close(file)
                raise
            system.close(file)  # its last holder removed the name meanwhile: this lock is nobody's
    raise TargetLocked(f"other runs keep taking {target}", subject=str(target))


def is_same(file: int, parent: int, name: str) -> bool:
    """Whether a name in an open folder is that of an open file or folder."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(name, dir_fd=parent, follow_symlinks=False))
    except FileNotFoundError:
        return False


def exists(parent: int, name: str) -> bool:
    """Whether an open folder has this name, be it a dangling link."""
    try:
        os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def remove_dead_stages(parent: int, target: Path, system: Syscalls) -> None:
    """Remove what killed runs for a destination left, unless a living one holds it.

    Raises:
        TargetLocked: a run is under way.
    """
    with locked(parent, target, system), doing(str(target)):
        remove_stages(parent, target.name, system)


def remove_stages(parent: int, name: str, system: Syscalls) -> None:
    """Remove all stages of one destination; the caller holds its lock, so none is alive."""
    stage = re.compile(rf"\.{re.escape(name)}\.stage-[0-9a-f]{{16}}")
    dead = [found for found in os.listdir(parent) if stage.fullmatch(found)]
    if dead:
        # One may be what a run replaced just before it was killed: as long as the exchange is not
        # on disk, a power cut would bring it back as OUT, with what is removed here missing.
        system.fsync(parent)
    for found in dead:
        remove(parent, found, system)


def remove(parent: int, name: str, system: Syscalls) -> None:
    """Remove a stage, by names below open folders, so that no link leads elsewhere."""
    try:
        folder = system.open(name, FOLDER, 0, parent)
    except FileNotFoundError:
        return
    try:
        system.fchmod(folder, 0o700)  # the umask may have taken our own right to write in it
        for inner in os.listdir(folder):  # noqa: PTH208 - an open folder has no Path
            status = os.stat(inner, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                remove(folder, inner, system)
            else:
                system.unlink(inner, folder)
    finally:
        system.close(folder)
    system.rmdir(name, parent)
