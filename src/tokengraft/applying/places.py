"""Where an output folder may lie, and what may be replaced: checks that read and never write."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from tokengraft.checkpoint import MANIFEST, RECORD_FOLDER
from tokengraft.errors import DiskFull, TargetExists, UnsafePath, UsageError, WriteFailed
from tokengraft.formats.folders import MAX_FOLDER_DEPTH, MAX_SMALL_BYTES
from tokengraft.formats.manifest import parse_manifest
from tokengraft.formats.safetensors_file import unsafe_name
from tokengraft.formats.whole_files import digest_of, read_whole


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to, and what must stay untouched.

    Attributes:
        target: the folder to make.
        replace: whether an earlier output in its place may go.
        source: the folder that is read.
        cache: the Hugging Face cache, if the caller knows it.
    """

    target: Path
    source: Path
    replace: bool = False
    cache: Path | None = None

    @property
    def place(self) -> Path:
        """The target with its parents resolved; the last name may be anything, or nothing."""
        return self.target.parent.resolve() / self.target.name


@dataclass(frozen=True, slots=True)
class Place:
    """Where the stage and OUT lie: two names in one open folder."""

    parent: int
    name: str
    stage: str


def split_path(path: str) -> list[str]:
    """Split a path of a file in an output folder.

    Raises:
        UnsafePath: it could mean something outside the folder, on some system.
    """
    parts = path.split("/")
    if any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
        raise UnsafePath("a path leaves its folder", detail=repr(path[:200]), subject=path[:200])
    if len(parts) > MAX_FOLDER_DEPTH:
        raise UnsafePath("a path has too many folders", subject=path[:200])
    return parts


def require_safe_name(path: str) -> None:
    """Refuse a name that a file asks for and that means something else on another system.

    Raises:
        UnsafePath: it does; see `unsafe_name`.
    """
    for part in split_path(path):
        problem = unsafe_name(part)
        if problem:
            raise UnsafePath(
                "a file's name is not safe", detail=f"{part[:120]!r}: {problem}", subject=path[:200]
            )


def refuse_place(destination: Destination) -> None:
    """Refuse an output in, around or in the place of what is only read.

    Raises:
        UsageError: it is such a place.
        WriteFailed: the folder that is to hold it does not exist.
    """
    place, source = destination.place, destination.source.resolve()
    if destination.target.name in ("", ".."):
        raise UsageError(
            f"{destination.target} cannot be the output folder",
            detail="it is a folder that is there already, and OUT is made anew",
            subject=str(place),
            hint="name a new folder: -o NEW",
        )
    if not place.parent.is_dir():
        raise WriteFailed(
            f"the folder that is to hold {destination.target.name or place} does not exist",
            subject=str(place.parent),
            hint=f"mkdir -p {place.parent}",
        )
    if place == source or source in place.parents:
        raise _misplaced(place, f"it lies inside the source, {source}, which is only read")
    if place in source.parents:
        raise _misplaced(place, f"it contains the source, {source}")
    for folder in (place, *place.parents):
        if folder.name.startswith("models--") and (folder / "snapshots").is_dir():
            raise _misplaced(place, f"it lies inside a Hugging Face cache, {folder.parent}")
    cache = destination.cache.resolve() if destination.cache else None
    if cache and (place == cache or cache in place.parents or place in cache.parents):
        raise _misplaced(place, f"it lies inside or around the Hugging Face cache, {cache}")


def _misplaced(place: Path, why: str) -> UsageError:
    return UsageError(
        f"{place} cannot be the output folder",
        detail=why,
        subject=str(place),
        hint="name a new folder elsewhere",
    )


def exists_already(target: Path) -> TargetExists:
    """An output folder that is there and was not to be replaced."""
    return TargetExists(
        f"{target} exists",
        subject=str(target),
        hint="name a new folder, or give --replace if it is an earlier output",
    )


def refuse_existing(destination: Destination) -> None:
    """Refuse a destination that exists, unless it may be replaced.

    Raises:
        TargetExists: it is there, be it as a link that leads nowhere.
    """
    target = destination.target
    if os.path.lexists(target):
        if not destination.replace:
            raise exists_already(target)
        refuse_replacing(target)


def require_room(destination: Destination, size_bytes: int, free_bytes: int) -> None:
    """Refuse before anything is written if the disk cannot hold it and 5 % more.

    Raises:
        DiskFull: it cannot.
    """
    needed = size_bytes + size_bytes // 20
    if free_bytes < needed:
        raise DiskFull(
            "not enough room for the result",
            detail=f"{needed} bytes are needed (5 % of them spare), {free_bytes} are free",
            subject=str(destination.target),
            hint="free some space, write to another disk, or share files with --copy link",
        )


def refuse_replacing(target: Path) -> None:
    """Replace only what an earlier run made, or an empty folder: never somebody's other files.

    Raises:
        TargetExists: it is something else.
    """
    try:
        status = os.lstat(target)
        inside = {path.name for path in target.iterdir()} if stat.S_ISDIR(status.st_mode) else {""}
    except FileNotFoundError:
        return
    ours = {MANIFEST, RECORD_FOLDER}
    if not stat.S_ISDIR(status.st_mode) or (inside and not ours <= inside):
        raise TargetExists(
            f"{target} is not an output of tokengraft, so it is not replaced",
            detail=f"a folder with {MANIFEST} and {RECORD_FOLDER}/ would be",
            subject=str(target),
            hint="move it away yourself, or name a new folder",
        )
    if inside:
        _refuse_losing(target)


def _refuse_losing(target: Path) -> None:
    """Refuse to replace an output in which somebody has worked since: it may hold a fine-tune."""
    made = target / MANIFEST
    listed = parse_manifest(read_whole(made, limit=MAX_SMALL_BYTES, follow=False))
    since = made.stat().st_mtime_ns
    found = {
        path.relative_to(target).as_posix(): path
        for path in target.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    foreign = sorted(set(found) - set(listed) - {MANIFEST})
    edited = sorted(
        name
        for name, digest in listed.items()
        if name in found
        and found[name].lstat().st_mtime_ns > since
        and digest_of(found[name]) != digest
    )
    if foreign or edited:
        names = ", ".join((*foreign, *edited)[:5])
        raise TargetExists(
            f"{target} holds work that would be lost, so it is not replaced",
            detail=f"{len(foreign)} files were put there and {len(edited)} were changed since it "
            f"was made: {names}",
            subject=str(target),
            hint="move the folder away yourself, or name a new one",
        )
