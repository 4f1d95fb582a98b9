"""Find what killed runs left behind, and remove it if no living run holds it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tokengraft.applying.locking import remove_dead_stages
from tokengraft.applying.staged import FOLDER, doing
from tokengraft.applying.syscalls import SYSTEM, Syscalls
from tokengraft.errors import TargetLocked

STAGE = re.compile(r"\.(?P<name>.+)\.stage-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Leftover:
    """A stage that was never published; `size_bytes` counts the files in it."""

    path: Path
    target: Path
    size_bytes: int


def leftovers(folder: Path) -> tuple[Leftover, ...]:
    """List the stages beside which no folder appeared."""
    found = []
    for entry in sorted(folder.iterdir()):
        match = STAGE.fullmatch(entry.name)
        if match is not None and entry.is_dir() and not entry.is_symlink():
            found.append(Leftover(entry, folder / match["name"], _size(entry)))
    return tuple(found)


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total


def clear(leftover: Leftover, system: Syscalls = SYSTEM) -> bool:
    """Remove a stage; False if a living run holds its destination."""
    with doing(str(leftover.path)):
        parent = system.open(str(leftover.target.parent.resolve()), FOLDER, 0, None)
    try:
        remove_dead_stages(parent, leftover.target, system)
    except TargetLocked:
        return False
    finally:
        system.close(parent)
    return True
