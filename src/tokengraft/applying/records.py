"""What an output says of itself: plan, sidecar, recipe, receipt, undo record, and its history."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from tokengraft import __version__
from tokengraft.applying.documents import stale
from tokengraft.applying.hashing import MIB
from tokengraft.checkpoint import MANIFEST, RECORD_FOLDER, FileEntry
from tokengraft.errors import PreconditionError
from tokengraft.formats.byte_ranges import OpenBytes
from tokengraft.formats.folders import is_graft_record
from tokengraft.formats.plan_files import parse_plan
from tokengraft.formats.rows import RowReader, Rows, read_range
from tokengraft.formats.safetensors_file import fetch_header
from tokengraft.formats.sidecars import PackedSidecar
from tokengraft.formats.undo_file import UNDO
from tokengraft.formats.whole_files import let_go, open_regular

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
class SidecarSource:
    """Where the bytes of a plan's sidecar come from.

    Attributes:
        blocks: gives all of them, once, and raises StalePlan behind the last if they are not those
            that the plan was written with.
    """

    size_bytes: int
    blocks: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The sidecar of a plan as the output holds it.

    Attributes:
        rows: its values, by the tensor that they are for.
        factors: of low-rank updates, by the names that the plan gives them.
    """

    rows: Mapping[str, Rows]
    factors: Mapping[str, Rows]


NO_SIDECAR = Sidecar({}, {})


@contextmanager
def sidecar_source(
    place: Path | PackedSidecar | None, plan_text: bytes
) -> Iterator[SidecarSource | None]:
    """Find the sidecar that a plan was written with; None if the plan has none.

    Raises:
        PreconditionError: it is missing.
    """
    about = parse_plan(plan_text, file=PLAN).sidecar
    if about is None:
        yield None
    elif place is None:
        raise PreconditionError(
            "the plan's sidecar is missing",
            detail="the plan takes rows or tables from it",
            subject=PLAN,
            hint="a plan with values travels with its sidecar; copy both",
        )
    elif isinstance(place, PackedSidecar):
        yield SidecarSource(place.size_bytes, lambda: as_planned(place.blocks(), about.sha256))
    else:
        file = open_regular(place)
        try:
            size = os.fstat(file).st_size
            yield SidecarSource(size, lambda: as_planned(_blocks(file, size), about.sha256))
        finally:
            let_go(file)


def _blocks(file: int, size: int) -> Iterator[bytes]:
    for begin in range(0, size, MIB):
        yield read_range(file, begin, min(begin + MIB, size), subject=ROWS)


def as_planned(blocks: Iterable[bytes], sha256_wanted: str) -> Iterator[bytes]:
    """Hand on the blocks of a sidecar.

    Raises:
        StalePlan: when all have passed, they were not those that the plan was written with.
    """
    digest = sha256()
    for block in blocks:
        digest.update(block)
        yield block
    if digest.hexdigest() != sha256_wanted:
        raise stale("the sidecar is not the one that the plan was written with", subject=ROWS)


def sidecar_in(file: int) -> Sidecar:
    """What lies in an open sidecar; values and factors are read when they are asked for.

    Raises:
        RefusedError: it is no such file.
    """
    source = OpenBytes(file, os.fstat(file).st_size, ROWS)
    rows: dict[str, Rows] = {}
    factors: dict[str, Rows] = {}
    for ref in fetch_header(source, file=ROWS).tensors:
        if ref.name.startswith("values."):
            rows[ref.name.removeprefix("values.")] = RowReader(file, ref)
        elif ref.name.startswith("lora."):
            factors[ref.name] = RowReader(file, ref)
    return Sidecar(rows, factors)
