"""What the system under a folder can do for us, found out without writing anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from tokengraft.answers import Ability
from tokengraft.applying.syscalls import can_exchange

# File systems that share blocks between files (FICLONE), and those that never do.
SHARES_BLOCKS: Mapping[str, Literal["yes", "unknown"]] = {
    "btrfs": "yes",
    "xfs": "unknown",
    "bcachefs": "yes",
    "zfs": "unknown",
}
NEVER = {"ext2", "ext3", "ext4", "tmpfs", "overlay", "nfs", "nfs4", "vfat", "exfat"}
NETWORK = {"nfs", "nfs4", "cifs", "smb3", "9p", "lustre", "fuse.sshfs"}


def abilities(folder: Path) -> Iterator[Ability]:
    """Say what applying can rely on below a folder."""
    kind = _file_system(folder)
    yield _reflink(kind)
    yield Ability(
        name="atomic replace",
        status="yes" if can_exchange() else "no",
        evidence="renameat2 is there"
        if can_exchange()
        else "no renameat2 here: --replace is refused, new folders are made all the same",
    )
    yield _locks(kind)
    yield Ability(
        name="write here",
        status="yes" if os.access(folder, os.W_OK | os.X_OK) else "no",
        evidence=str(folder),
    )


def _reflink(kind: str | None) -> Ability:
    if kind is not None and kind in SHARES_BLOCKS:
        return Ability(
            name="shared blocks", status=SHARES_BLOCKS[kind], evidence=f"{kind} shares blocks"
        )
    if kind in NEVER:
        return Ability(name="shared blocks", status="no", evidence=f"{kind} cannot share blocks")
    return Ability(name="shared blocks", status="unknown", evidence=kind or "file system not known")


def _locks(kind: str | None) -> Ability:
    if kind in NETWORK:
        text = f"{kind}: locks and syncs are as good as the server's"
        return Ability(name="file locks", status="unknown", evidence=text)
    return Ability(name="file locks", status="yes", evidence=kind or "a local file system")


def _file_system(folder: Path) -> str | None:
    """The type of the file system that holds a folder, as Linux tells it."""
    if sys.platform != "linux":
        return None
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    place = folder.resolve()
    best, kind = -1, None
    for line in lines:
        left, _, right = line.partition(" - ")
        mount = Path(left.split(" ")[4].replace("\\040", " "))
        depth = len(mount.parts)
        if depth >= best and (mount == place or mount in place.parents):
            best, kind = depth, right.split(" ")[0]
    return kind
