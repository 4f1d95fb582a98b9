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
from tokengraft.formats.folders import is_graft_record
from tokengraft.formats.plan_files import parse_plan
from tokengraft.formats.rows import MemoryRows, RowReader, Rows, read_range
from tokengraft.formats.safetensors_file import parse_header, read_header
from tokengraft.formats.undo_file import UNDO
from tokengraft.formats.whole_files import let_go, open_regular
from tokengraft.tensors import TensorRef

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
class Sidecar:
    """The sidecar of a plan.

    Attributes:
        rows: its values, by the tensor that they are for.
        factors: of low-rank updates, by the names that the plan gives them.
        blocks: gives all its bytes, as often as asked.
    """

    size_bytes: int
    rows: Mapping[str, Rows]
    factors: Mapping[str, Rows]
    blocks: Callable[[], Iterator[bytes]]


NO_SIDECAR = Sidecar(0, {}, {}, lambda: iter(()))


@contextmanager
def open_sidecar(place: Path | bytes | None, plan_text: bytes) -> Iterator[Sidecar | None]:
    """Open the sidecar that a plan was written with; None if the plan has none.

    Raises:
        PreconditionError: it is missing.
        StalePlan: it is another one.
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
    elif isinstance(place, bytes):
        yield _require(about.sha256, _in_memory(place))
    else:
        file = open_regular(place)
        try:
            yield _require(about.sha256, _on_disk(place, file))
        finally:
            let_go(file)


def _in_memory(data: bytes) -> Sidecar:
    length = int.from_bytes(data[:8], "little")
    refs = parse_header(data[: 8 + length], file=ROWS, size_bytes=len(data)).tensors
    rows, factors = _sorted(refs, lambda ref: MemoryRows(data, ref))
    return Sidecar(len(data), rows, factors, lambda: iter([data]))


def _on_disk(path: Path, file: int) -> Sidecar:
    size = os.fstat(file).st_size
    refs = read_header(path, file=str(path), size_bytes=size).tensors

    def blocks() -> Iterator[bytes]:
        for begin in range(0, size, MIB):
            yield read_range(file, begin, min(begin + MIB, size), subject=ROWS)

    rows, factors = _sorted(refs, lambda ref: RowReader(file, ref))
    return Sidecar(size, rows, factors, blocks)


def _sorted(
    refs: Iterable[TensorRef], reader: Callable[[TensorRef], Rows]
) -> tuple[dict[str, Rows], dict[str, Rows]]:
    """Values by tensor, and factors by name."""
    rows: dict[str, Rows] = {}
    factors: dict[str, Rows] = {}
    for ref in refs:
        if ref.name.startswith("values."):
            rows[ref.name.removeprefix("values.")] = reader(ref)
        elif ref.name.startswith("lora."):
            factors[ref.name] = reader(ref)
    return rows, factors


def _require(expected: str, sidecar: Sidecar) -> Sidecar:
    digest = sha256()
    for block in sidecar.blocks():
        digest.update(block)
    if digest.hexdigest() != expected:
        raise stale("the sidecar is not the one that the plan was written with", subject=ROWS)
    return sidecar
