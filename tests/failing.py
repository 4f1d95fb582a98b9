"""The system under `applying`, made to keep a log, to fail, or to die at a chosen call."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tokengraft.applying.syscalls import SYSTEM, Syscalls

Call = Callable[..., Any]
# Calls that change the disk or claim something of it; advice and questions are left out.
MUTATING = (
    *("open", "close", "write", "fsync", "fchmod", "mkdir", "unlink", "rmdir", "link", "clone"),
    *("copy_range", "rename_new", "exchange", "rename", "lock"),
)
CREATES = os.O_CREAT


def system_with(wrap: Callable[[str, Call], Call], base: Syscalls = SYSTEM) -> Syscalls:
    """Wrap every call of the system."""
    calls = {f.name: wrap(f.name, getattr(base, f.name)) for f in fields(Syscalls)}
    return replace(base, **calls)


def path_of(file: int) -> str:
    return str(Path(f"/proc/self/fd/{file}").readlink())


@dataclass(frozen=True)
class Op:
    """One call: what it was asked to change, and whether that was a new file."""

    name: str
    path: str
    creates: bool = False


@dataclass
class Recorder:
    """Keeps the calls in order, with paths instead of descriptors."""

    ops: list[Op] = field(default_factory=list)

    def system(self, base: Syscalls = SYSTEM) -> Syscalls:
        return system_with(self._wrap, base)

    def _wrap(self, name: str, call: Call) -> Call:
        def recorded(*args: Any) -> Any:
            op = _op(name, args)
            result = call(*args)
            if op is not None:
                self.ops.append(op)
            return result

        return recorded


def _op(name: str, args: tuple[Any, ...]) -> Op | None:
    match name:
        case "open":
            path, flags, _, folder = args
            where = path if folder is None else f"{path_of(folder)}/{path}"
            return Op(name, where, creates=bool(flags & CREATES))
        case "write" | "fsync" | "fchmod" | "lock":
            return Op(name, path_of(args[0]))
        case "copy_range" | "clone":
            return Op(name, path_of(args[1]))
        case "mkdir":
            return Op(name, f"{path_of(args[2])}/{args[0]}")
        case "unlink" | "rmdir":
            return Op(name, f"{path_of(args[1])}/{args[0]}")
        case "link":
            return Op(name, f"{path_of(args[2])}/{args[1]}")
        case "rename_new" | "exchange" | "rename":
            return Op(name, f"{path_of(args[0])}/{args[1]}")
        case _:
            return None


@dataclass
class Failing:
    """Fails at the n-th call that changes something, once or from there on.

    Attributes:
        at: the number of the call, from 1; 0 never fails.
        act: what happens there instead of the call.
    """

    at: int
    act: Callable[[], None]
    forever: bool = False
    only: tuple[str, ...] = MUTATING
    failed: str = ""
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def system(self) -> Syscalls:
        return system_with(self._wrap)

    def _wrap(self, name: str, call: Call) -> Call:
        if name not in self.only:
            return call

        def counted(*args: Any) -> Any:
            number = next(self._numbers)
            if number == self.at or (self.forever and number > self.at > 0):
                self.failed = self.failed or name
                if name == "close":
                    call(*args)  # a close that fails has closed all the same
                self.act()
            return call(*args)

        return counted


def refuse(code: int) -> Callable[[], None]:
    """Make a call fail with this errno."""

    def act() -> None:
        raise OSError(code, os.strerror(code))

    return act


def die() -> None:
    os._exit(77)


def hidden(folder: Path) -> list[str]:
    """Names that a run leaves only if it could not clean up."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@contextmanager
def quick_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one, since hundreds of runs sync thousands of times."""
    memory = Path("/dev/shm")  # noqa: S108 - used for speed, never for secrets
    if os.access(memory, os.W_OK):
        with TemporaryDirectory(dir=memory) as name:
            yield Path(name)
    else:
        yield tmp_path


ERRORS = (errno.ENOSPC, errno.EIO)
