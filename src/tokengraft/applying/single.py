"""Write one file that the user asked for, whole or not at all."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tokengraft.applying.locking import LOCK_TRIES, is_same
from tokengraft.applying.staged import FOLDER, NEW_FILE, StagedFile, doing
from tokengraft.applying.syscalls import SYSTEM, Syscalls
from tokengraft.errors import TargetLocked

_LOOK = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def write_document(path: Path, data: bytes, system: Syscalls = SYSTEM) -> None:
    """Write a plan or another file that is at hand; see `write_blocks`."""
    write_blocks(path, (data,), system)


def write_blocks(path: Path, blocks: Iterable[bytes], system: Syscalls = SYSTEM) -> None:
    """Write a file block by block: beside its place, synced, then renamed over it.

    An earlier file of the name is replaced, as `-o FILE` of any compiler does. What a killed run
    left of this file is removed.

    Raises:
        DiskFull, WriteFailed: the operating system refuses; an earlier file is still whole.
        TargetLocked: other runs that write the same file take each draft for a dead one.
    """
    with doing(str(path)):
        parent = system.open(str(path.parent.resolve()), FOLDER, 0, None)
        try:
            _remove_dead_drafts(parent, path.name, system)
            draft, file = _new_draft(parent, path, system)
            try:
                try:
                    staged = StagedFile(str(path), file, system)
                    for block in blocks:
                        staged.write(block)
                    system.fsync(file)
                    system.rename(parent, draft, path.name)
                finally:
                    system.close(file)
            except BaseException:
                with suppress(OSError):
                    os.unlink(draft, dir_fd=parent)
                raise
            system.fsync(parent)
        finally:
            system.close(parent)


def _new_draft(parent: int, path: Path, system: Syscalls) -> tuple[str, int]:
    """Create a draft and hold its lock, by which others see that its writer lives."""
    for _ in range(LOCK_TRIES):
        name = f".{path.name}.draft-{secrets.token_hex(8)}"
        file = system.open(name, NEW_FILE, 0o666, parent)
        try:
            with suppress(BlockingIOError):
                system.lock(file)
                if is_same(file, parent, name):
                    return name, file
        except BaseException:
            system.close(file)
            with suppress(OSError):
                os.unlink(name, dir_fd=parent)
            raise
        system.close(file)  # another run took it for dead before it was locked
    raise TargetLocked(f"other runs keep removing drafts of {path}", subject=str(path))


def _remove_dead_drafts(parent: int, name: str, system: Syscalls) -> None:
    """Remove what killed runs left of one file; drafts whose lock is held are being written."""
    pattern = re.compile(rf"\.{re.escape(name)}\.draft-[0-9a-f]{{16}}")
    for found in filter(pattern.fullmatch, os.listdir(parent)):
        with suppress(OSError):  # it is only litter: that it stays stops nobody
            file = os.open(found, _LOOK, dir_fd=parent)
            try:
                system.lock(file)
                if is_same(file, parent, found):
                    os.unlink(found, dir_fd=parent)
            finally:
                os.close(file)
