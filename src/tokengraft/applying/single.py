"""Write one file that the user asked for, whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from tokengraft.applying.staged import FOLDER, NEW_FILE, StagedFile, doing
from tokengraft.applying.syscalls import SYSTEM, Syscalls


def write_document(path: Path, data: bytes, system: Syscalls = SYSTEM) -> None:
    """Write a plan or another file that is at hand; see `write_blocks`."""
    write_blocks(path, (data,), system)


def write_blocks(path: Path, blocks: Iterable[bytes], system: Syscalls = SYSTEM) -> None:
    """Write a file block by block: beside its place, synced, then renamed over it.

    An earlier file of the name is replaced, as `-o FILE` of any compiler does.

    Raises:
        DiskFull, WriteFailed: the operating system refuses; an earlier file is still whole.
    """
    draft = f".{path.name}.{secrets.token_hex(8)}"
    with doing(str(path)):
        parent = system.open(str(path.parent.resolve()), FOLDER, 0, None)
        try:
            file = system.open(draft, NEW_FILE, 0o666, parent)
            try:
                try:
                    staged = StagedFile(str(path), file, system)
                    for block in blocks:
                        staged.write(block)
                    system.fsync(file)
                finally:
                    system.close(file)
                system.rename(parent, draft, path.name)
            except BaseException:
                with suppress(OSError):
                    os.unlink(draft, dir_fd=parent)
                raise
            system.fsync(parent)
        finally:
            system.close(parent)
