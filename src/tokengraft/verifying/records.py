"""What a finished folder says of itself, read without believing any of it yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pydantic

from tokengraft.checkpoint import MANIFEST, RECORD_FOLDER, Checkpoint, FileEntry, FolderProblem
from tokengraft.errors import MalformedFile, PreconditionError, RefusedError, UsageError
from tokengraft.formats.folders import read_small, walk
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.loading import load
from tokengraft.formats.manifest import parse_manifest
from tokengraft.formats.plan_files import read_plan
from tokengraft.formats.undo_file import UndoEntry, read_undo
from tokengraft.plans import Plan
from tokengraft.results import Check, Receipt
from tokengraft.verifying.streams import Span

PLAN = f"{RECORD_FOLDER}/plan.json"
RECEIPT = f"{RECORD_FOLDER}/receipt.json"
RECIPE = f"{RECORD_FOLDER}/recipe.toml"
UNDO = f"{RECORD_FOLDER}/undo.safetensors"
SIDECAR = f"{RECORD_FOLDER}/rows.safetensors"
NO_WEIGHTS = "no weights in this folder"
MANY = 20  # names that a line of evidence lists before it counts the rest

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Graft:
    """A finished folder: its files, its records, and the snapshot of the model in it.

    A record that cannot be read is None, and `unreadable` says why, by the record's name.
    """

    out: Path
    files: Mapping[str, FileEntry]
    problems: tuple[FolderProblem, ...]
    manifest: Mapping[str, str] | None
    plan: Plan | None
    receipt: Receipt | None
    undo: Mapping[str, UndoEntry] | None
    checkpoint: Checkpoint | None
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def whole(self, path: str) -> Span | None:
        """All bytes of one file, None if it is not there."""
        entry = self.files.get(path)
        return None if entry is None else Span(entry.real, 0, entry.size_bytes)

    @property
    def undo_path(self) -> Path:
        return self.files[UNDO].real

    @property
    def has_weights(self) -> bool:
        return self.checkpoint is not None and self.checkpoint.tensors is not None


def read_graft(out: Path) -> Graft:
    """Read the records of a folder; what is wrong with one is kept, not raised.

    Raises:
        UnsafePath: there is no such folder.
        UsageError: nothing in it says that a graft was made here.
    """
    files, problems = walk(out)
    if not {MANIFEST, PLAN, RECEIPT} & set(files):
        raise UsageError(
            f"no record of a graft in {out}",
            detail=f"neither {MANIFEST} nor {PLAN} is there, so there is nothing to prove it by",
            subject=str(out),
            hint=f"tokengraft audit {out}, or tokengraft diff SRC {out}",
        )
    unreadable: dict[str, str] = {}

    def attempt(name: str, reading: Callable[[], _T]) -> _T | None:
        try:
            return reading()
        except (RefusedError, PreconditionError) as error:
            unreadable[name] = f"{error.summary}{'; ' if error.detail else ''}{error.detail}"
        except pydantic.ValidationError as error:
            unreadable[name] = f"it is no such document ({error.error_count()} errors)"
        return None

    # Files that were walked lead nowhere else; what lies beside the plan by name might.
    sidecars = [files[SIDECAR].real] if SIDECAR in files else []
    return Graft(
        out=out.resolve(),
        files=files,
        problems=problems,
        manifest=attempt(MANIFEST, lambda: parse_manifest(read_small(_entry(files, MANIFEST)))),
        plan=attempt(PLAN, lambda: read_plan(_entry(files, PLAN).real, sidecars=sidecars).plan),
        receipt=attempt(RECEIPT, lambda: _read_receipt(_entry(files, RECEIPT))),
        undo=attempt(UNDO, lambda: read_undo(_entry(files, UNDO).real)),
        checkpoint=attempt("checkpoint", lambda: load(out)),
        unreadable=unreadable,
    )


def skipped(name: str, why: str) -> Check:
    """A check that was not run."""
    return Check(name=name, status="skipped", evidence=why)


def passed(name: str, evidence: str) -> Check:
    """A claim that was proved."""
    return Check(name=name, status="pass", evidence=evidence)


def failed(name: str, evidence: str) -> Check:
    """A claim that does not hold."""
    return Check(name=name, status="fail", evidence=evidence)


def several(names: list[str]) -> str:
    """Name the first twenty and count the others."""
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return ", ".join(names[:MANY]) + more


def _entry(files: Mapping[str, FileEntry], path: str) -> FileEntry:
    if path not in files:
        raise MalformedFile(f"{path} is missing", subject=path)
    return files[path]


def _read_receipt(entry: FileEntry) -> Receipt:
    data = read_small(entry)
    receipt = Receipt.from_dict(parse_json(data, file=entry.path).value)
    if receipt.to_json().encode() != data:
        raise MalformedFile(f"{entry.path} is not written in its one form", subject=entry.path)
    return receipt
