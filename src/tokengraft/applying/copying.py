"""Files that stay as they are: shared, copied or linked, each read once for its digest."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Literal

from tokengraft.applying.hashing import Hashing, Tally
from tokengraft.applying.reading import Meter, Source, reading
from tokengraft.applying.staged import StagedFile
from tokengraft.applying.store import Stage
from tokengraft.checkpoint import FileEntry
from tokengraft.errors import WriteFailed

CopyMode = Literal["auto", "reflink", "copy", "link"]

# What FICLONE says where blocks cannot be shared: file system, other disk, other kind of file.
NO_CLONE = (
    errno.EOPNOTSUPP,
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EPERM,
    errno.EBADF,
)
NO_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


class Copier:
    """Brings files of the source into a stage, all in the same way.

    `auto` shares blocks where the file system can, and copies otherwise. `link` names the very
    bytes of the source again, so whoever edits one edits both.
    """

    def __init__(self, stage: Stage, hashing: Hashing, mode: CopyMode, meter: Meter) -> None:
        self._stage = stage
        self._hashing = hashing
        self._mode = mode
        self._meter = meter
        self._shares_blocks = mode == "reflink"

    def writes_bytes(self, example: FileEntry | None) -> bool:
        """Find out whether copying needs room, by sharing one file's blocks with a nameless one.

        Raises:
            WriteFailed: blocks were to be shared and cannot be.
        """
        if self._mode in ("link", "copy") or example is None:
            return self._mode != "link"
        with reading(example, self._hashing) as source, self._stage.nameless() as file:
            self._shares_blocks = file is not None and self._clone(file, source)
        if self._mode == "reflink" and not self._shares_blocks:
            raise _no_sharing(example)
        return not self._shares_blocks

    def copy(self, entry: FileEntry, parts: Mapping[str, tuple[int, int]]) -> Tally:
        """Bring one file in, and return its digest, which may still be under way.

        Args:
            parts: ranges of it that get digests of their own.
        """
        with reading(entry, self._hashing, parts) as source:
            if self._mode == "link":
                self._link(entry)
                self._digest(source)
            else:
                self._copy(entry, source)
        return source.tally

    def _link(self, entry: FileEntry) -> None:
        try:
            self._stage.link(entry.path, entry)
        except WriteFailed as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in NO_LINK:
                raise
            raise WriteFailed(
                f"{entry.path} cannot be linked",
                detail=os.strerror(cause.errno or 0),
                subject=str(entry.real),
                hint="use --copy copy, or an output folder on the disk of the source",
            ) from cause

    def _copy(self, entry: FileEntry, source: Source) -> None:
        with self._stage.create(entry.path) as file:
            if self._shares_blocks and entry.size_bytes and self._clone(file, source):
                self._digest(source)
                return
            for begin, end in source.chunks():
                file.copy_range(source.file, begin, end - begin)
                source.tally.add_range(source.file, begin, end)
                self._meter.add(entry.path, end - begin)

    def _clone(self, file: StagedFile, source: Source) -> bool:
        try:
            file.clone(source.file)
        except OSError as error:
            if error.errno not in NO_CLONE:
                raise
            if self._mode == "reflink":
                raise _no_sharing(source.entry) from error
            return False
        return True

    def _digest(self, source: Source) -> None:
        for begin, end in source.chunks():
            source.tally.add_range(source.file, begin, end)
            self._meter.add(source.entry.path, end - begin)


def _no_sharing(entry: FileEntry) -> WriteFailed:
    return WriteFailed(
        f"{entry.path} cannot share its blocks with a copy",
        detail="source and output must lie on one file system that can (btrfs, XFS, bcachefs)",
        subject=str(entry.real),
        hint="use --copy copy, or --copy auto, which copies where sharing is impossible",
    )
