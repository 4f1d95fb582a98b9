"""Pointers of Git LFS: what a checkout without it holds in the place of large files."""

from __future__ import annotations

from typing import Final

from tokengraft.errors import MalformedFile

POINTER: Final = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(first: bytes, file: str) -> None:
    """Refuse a file whose first bytes are those of a pointer; eight of them are enough to tell.

    Raises:
        MalformedFile: it is a pointer.
    """
    told = min(len(first), len(POINTER))
    if told >= len(b"version ") and first[:told] == POINTER[:told]:
        raise MalformedFile(
            "the file itself is not here, only a pointer of Git LFS",
            subject=file,
            hint="git lfs pull, then the same command again",
        )
