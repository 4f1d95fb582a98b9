"""A disk that loses power: what may be found after a crash at any point of a recorded run.

The model is harsher than any file system. What a file was not synced for may be there, be missing,
be zeros of the right length or be torn at a block; what a folder was not synced for may be there or
not, each name for itself, in any combination. Only what fsync promised is certain, and a rename or
an exchange is one step: both of its names or neither.

Source: the fault model of ALICE (Pillai et al. 2014, "All File Systems Are Not Created Equal"),
taken to its worst case.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import failing
from tokengraft.applying.syscalls import SYSTEM, Syscalls

BLOCK_BYTES = 4096
Fate = str  # of a write: kept, dropped, zeros, torn
FATES: tuple[Fate, ...] = ("kept", "dropped", "zeros", "torn")


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes that a file got, and where."""

    inode: int
    begin: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Names:
    """Names that a folder got or lost (None) in one step."""

    inode: int
    changes: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class Sync:
    inode: int


Op = Write | Names | Sync


@dataclass
class Recording:
    """The operations of a run, and the disk before it.

    Attributes:
        root: the model's number of the folder in which everything happens.
        folders: names on disk before the run, folder by folder; they are certain.
        files: bytes on disk before the run; certain, but for those in `unsynced`.
    """

    root: int = 0
    folders: dict[int, dict[str, int]] = field(default_factory=dict)
    files: dict[int, bytes] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    _known: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, *, unsynced: Sequence[Path] = ()) -> Recording:
        """Begin with a folder as it is; files in `unsynced` folders were written and not synced."""
        self = cls()
        self.root = self._scan(root)
        for folder in unsynced:
            self._scan(folder)
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    inode = self._number(path.stat())
                    self.ops.append(Write(inode, 0, self.files.pop(inode)))
        return self

    def system(self, base: Syscalls = SYSTEM) -> Syscalls:
        """The system, which keeps what it is asked to change."""
        return failing.system_with(self._wrap, base)

    # ── recording ────────────────────────────────────────────────────────────────────────────

    def _scan(self, folder: Path) -> int:
        own = self._number(folder.stat())
        names = self.folders.setdefault(own, {})
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                names[path.name] = self._scan(path)
            else:
                names[path.name] = inode = self._number(path.stat())
                self.files[inode] = path.read_bytes()
        return own

    def _number(self, status: os.stat_result, *, new: bool = False) -> int:
        key = (status.st_dev, status.st_ino)
        if new or key not in self._known:
            self._known[key] = len(self._known) + 1 + (1 << 32) * new * len(self.ops)
        return self._known[key]

    def _open(self, file: int, *, new: bool = False) -> int:
        return self._number(os.fstat(file), new=new)

    def _below(self, folder: int, name: str, *, new: bool = False) -> int:
        return self._number(os.stat(name, dir_fd=folder, follow_symlinks=False), new=new)

    def _wrap(self, name: str, call: failing.Call) -> failing.Call:
        record: Callable[..., Any] | None = getattr(self, f"_on_{name}", None)
        return call if record is None else lambda *args: record(call, *args)

    def _on_open(
        self, call: failing.Call, path: str, flags: int, mode: int, folder: int | None
    ) -> int:
        creates = bool(flags & os.O_CREAT) and folder is not None
        is_new = creates and path not in os.listdir(folder)  # noqa: PTH208 - an open folder
        file = int(call(path, flags, mode, folder))
        if is_new:
            assert folder is not None
            inode = self._open(file, new=True)
            self.ops.append(Names(self._open(folder), ((path, inode),)))
        return file

    def _on_write(self, call: failing.Call, file: int, data: memoryview) -> int:
        begin = os.lseek(file, 0, os.SEEK_CUR)
        count = int(call(file, data))
        self.ops.append(Write(self._open(file), begin, bytes(data[:count])))
        return count

    def _on_copy_range(
        self, call: failing.Call, source: int, file: int, count: int, begin: int
    ) -> int:
        at = os.lseek(file, 0, os.SEEK_CUR)
        copied = int(call(source, file, count, begin))
        self.ops.append(Write(self._open(file), at, os.pread(source, copied, begin)))
        return copied

    def _on_clone(self, call: failing.Call, source: int, file: int) -> None:
        call(source, file)
        self.ops.append(Write(self._open(file), 0, os.pread(source, 1 << 30, 0)))

    def _on_fsync(self, call: failing.Call, file: int) -> None:
        call(file)
        self.ops.append(Sync(self._open(file)))

    def _on_mkdir(self, call: failing.Call, name: str, mode: int, folder: int) -> None:
        call(name, mode, folder)
        inode = self._below(folder, name, new=True)
        self.ops.append(Names(self._open(folder), ((name, inode),)))

    def _on_unlink(self, call: failing.Call, name: str, folder: int) -> None:
        call(name, folder)
        self.ops.append(Names(self._open(folder), ((name, None),)))

    _on_rmdir = _on_unlink

    def _on_link(self, call: failing.Call, existing: str, name: str, folder: int) -> None:
        call(existing, name, folder)
        self.ops.append(Names(self._open(folder), ((name, self._below(folder, name)),)))

    def _on_rename_new(self, call: failing.Call, folder: int, old: str, new: str) -> None:
        inode = self._below(folder, old)
        call(folder, old, new)
        self.ops.append(Names(self._open(folder), ((old, None), (new, inode))))

    _on_rename = _on_rename_new

    def _on_exchange(self, call: failing.Call, folder: int, old: str, new: str) -> None:
        first, second = self._below(folder, old), self._below(folder, new)
        call(folder, old, new)
        self.ops.append(Names(self._open(folder), ((old, second), (new, first))))

    # ── losing power ─────────────────────────────────────────────────────────────────────────

    def unsynced(self, n_ops: int) -> list[int]:
        """Which of the first operations no later one of them made certain."""
        synced: set[int] = set()
        left = []
        for at in range(n_ops - 1, -1, -1):
            op = self.ops[at]
            if isinstance(op, Sync):
                synced.add(op.inode)
            elif op.inode not in synced:
                left.append(at)
        return left[::-1]

    def after(self, n_ops: int, fates: Mapping[int, Fate]) -> Disk:
        """The disk after the first operations, of which the unsynced ones had these fates."""
        folders = {inode: dict(names) for inode, names in self.folders.items()}
        files: dict[int, bytearray | bytes] = dict(self.files)
        for at in range(n_ops):
            fate = fates.get(at, "kept")
            match self.ops[at]:
                case Names(inode, changes) if fate == "kept":
                    names = folders.setdefault(inode, {})
                    for name, target in changes:
                        if target is None:
                            names.pop(name, None)
                        else:
                            names[name] = target
                case Write() as write if fate != "dropped":
                    files[write.inode] = _written(files.get(write.inode, b""), write, fate)
                case _:
                    pass
        return Disk(self.root, folders, files)


def _written(before: bytes | bytearray, write: Write, fate: Fate) -> bytes:
    data = write.data
    if fate == "zeros":
        data = bytes(len(data))
    elif fate == "torn":
        half = len(data) // 2
        data = data[: half - half % BLOCK_BYTES or half]
    whole = bytearray(before)
    whole.extend(bytes(max(0, write.begin - len(whole))))
    whole[write.begin : write.begin + len(data)] = data
    return bytes(whole)


@dataclass(frozen=True)
class Disk:
    """A disk as it is found after a crash."""

    root: int
    folders: Mapping[int, Mapping[str, int]]
    files: Mapping[int, bytes | bytearray]

    def tree(self, name: str) -> dict[str, bytes] | None:
        """Every file below a name of the root, by path; None if there is no such folder."""
        inode = self.folders.get(self.root, {}).get(name)
        return None if inode is None else dict(self._below(inode, ""))

    def _below(self, inode: int, path: str) -> Iterator[tuple[str, bytes]]:
        for name, target in self.folders.get(inode, {}).items():
            if target in self.folders:
                yield from self._below(target, f"{path}{name}/")
            else:
                yield f"{path}{name}", bytes(self.files.get(target, b""))

    def restore(self, folder: Path) -> None:
        """Write it down as real files, for a rerun."""
        self._restore(self.root, folder)

    def _restore(self, inode: int, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for name, target in self.folders.get(inode, {}).items():
            if target in self.folders:
                self._restore(target, folder / name)
            else:
                (folder / name).write_bytes(self.files.get(target, b""))


def crashes(recording: Recording, n_ops: int, chance: random.Random) -> Iterator[dict[int, Fate]]:
    """Fates of the unsynced operations at one point: the corners, each one alone, and random ones."""
    pending = recording.unsynced(n_ops)
    names = [at for at in pending if isinstance(recording.ops[at], Names)]
    writes = [at for at in pending if isinstance(recording.ops[at], Write)]
    seen: set[tuple[tuple[int, Fate], ...]] = set()
    for kept_names in _choices(names, chance):
        for fates in _write_fates(writes, chance):
            found = {at: "kept" if at in kept_names else "dropped" for at in names} | fates
            key = tuple(sorted(found.items()))
            if key not in seen:
                seen.add(key)
                yield found


def _choices(names: Sequence[int], chance: random.Random) -> Iterator[set[int]]:
    yield set(names)
    yield set()
    for at in names[-3:]:
        yield {at}
        yield set(names) - {at}
    for _ in range(2):
        yield {at for at in names if chance.random() < 0.5}


def _write_fates(writes: Sequence[int], chance: random.Random) -> Iterator[dict[int, Fate]]:
    for fate in FATES:
        yield dict.fromkeys(writes, fate)
    yield {at: chance.choice(FATES) for at in writes}
