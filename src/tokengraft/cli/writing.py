"""The small files that the command line itself writes: recipes. They are never overwritten."""

from __future__ import annotations

from pathlib import Path

from tokengraft.errors import DiskFull, TargetExists, WriteFailed


def must_be_new(path: Path) -> None:
    """Refuse early what `write_new` would refuse after the work."""
    if path.is_symlink() or path.exists():
        raise TargetExists(
            f"{path} exists", subject=str(path), hint="name another file, or remove this one"
        )


def write_new(path: Path, text: str) -> None:
    """Write a text file that is not there yet."""
    try:
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        must_be_new(path)
        raise
    except OSError as problem:
        import errno

        kind = DiskFull if problem.errno in (errno.ENOSPC, errno.EDQUOT) else WriteFailed
        raise kind(
            f"{path} cannot be written", detail=problem.strerror or "", subject=str(path)
        ) from problem
