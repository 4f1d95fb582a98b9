"""What an output says of itself: plan, sidecar, recipe, receipt, undo record, and its history."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from tokengraft import __version__
from tokengraft.applying.documents import stale
from tokengraft.applying.hashing import MIB
from tokengraft.checkpoint import MANIFEST, RECORD_FOLDER, FileEntry
from tokengraft.errors import PreconditionError, ReadFailed
from tokengraft.formats.folders import is_graft_record
from tokengraft.formats.plan_files import parse_plan
from tokengraft.formats.rows import RowReader, read_range
from tokengraft.formats.safetensors_file import read_header
from tokengraft.formats.undo_file import UNDO

TOOL = f"tokengraft {__version__}"
PLAN = f"{RECORD_FOLDER}/plan.json"
ROWS = f"{RECORD_FOLDER}/rows.safetensors"
RECIPE = f"{RECORD_FOLDER}/recipe.toml"
RECEIPT = f"{RECORD_FOLDER}/receipt.json"
UNDO_RECORD = f"{RECORD_FOLDER}/{UNDO}"
HISTORY = f"{RECORD_FOLDER}/base/"


def history_of(files: Mapping[str, FileEntry]) -> list[FileEntry]:
    """The records of a base that is an output itself, at their new places."""
    return [
        replace(entry, path=HISTORY + path.removeprefix(f"{RECORD_FOLDER}/"))
        for path, entry in files.items()
        if is_graft_record(path)
    ]


def restored_history(files: Mapping[str, FileEntry]) -> list[FileEntry]:
    """The way back: the base's own records at their old places."""
    found: list[FileEntry] = []
    for path, entry in files.items():
        if path.startswith(HISTORY):
            name = path.removeprefix(HISTORY)
            found.append(
                replace(entry, path=name if name == MANIFEST else f"{RECORD_FOLDER}/{name}")
            )
    return found


@dataclass(frozen=True, slots=True)
class SidecarFile:
    """The sidecar of a plan, open for reading.

    Attributes:
        rows: readers of its values, by the tensor that they are for.
    """

    file: int
    size_bytes: int
    rows: Mapping[str, RowReader]

    def blocks(self) -> Iterator[bytes]:
        for begin in range(0, self.size_bytes, MIB):
            end = min(begin + MIB, self.size_bytes)
            yield read_range(self.file, begin, end, subject=ROWS)


@contextmanager
def open_sidecar(path: Path | None, plan_text: bytes) -> Iterator[SidecarFile | None]:
    """Open the sidecar that a plan was written with; None if the plan has none.

    Raises:
        PreconditionError: it is missing.
        StalePlan: it is another one.
    """
    about = parse_plan(plan_text, file=PLAN).sidecar
    if about is None:
        yield None
        return
    if path is None:
        raise PreconditionError(
            "the plan's sidecar is missing",
            detail="the plan takes rows or tables from it",
            subject=PLAN,
            hint="a plan with values travels with its sidecar; copy both",
        )
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ReadFailed(
            f"cannot open {path}", detail=error.strerror or "", subject=str(path)
        ) from error
    try:
        size = os.fstat(file).st_size
        refs = read_header(path, file=str(path), size_bytes=size).tensors
        rows = {
            ref.name.removeprefix("values."): RowReader(file, ref)
            for ref in refs
            if ref.name.startswith("values.")
        }
        opened = SidecarFile(file, size, rows)
        digest = sha256()
        for block in opened.blocks():
            digest.update(block)
        if digest.hexdigest() != about.sha256:
            raise stale("the sidecar is not the one that the plan was written with")
        yield opened
    finally:
        os.close(file)
