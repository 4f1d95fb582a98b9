"""What is proved of the embedding rows, told as checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tokengraft.checkpoint import Checkpoint, names_weights
from tokengraft.errors import MalformedFile
from tokengraft.formats.safetensors_file import read_header
from tokengraft.plans import RemapRows, Stored
from tokengraft.results import Check
from tokengraft.tensors import ROW_DTYPES, TensorRef
from tokengraft.verifying.base import Rebuilt, watched
from tokengraft.verifying.records import (
    NO_WEIGHTS,
    SIDECAR,
    Graft,
    failed,
    passed,
    several,
    skipped,
)
from tokengraft.verifying.rows import Seen, numbered, wrong_rows
from tokengraft.verifying.streams import Span, blocks, digest

NAMES = ("kept-rows", "rows-as-planned")


@dataclass(frozen=True, slots=True)
class Subject:
    """One tensor whose rows the plan speaks of, as it was planned, passed by, and is."""

    edit: RemapRows
    out: TensorRef
    seen: Seen


def check_rows(graft: Graft, rebuilt: Rebuilt | None, base: Checkpoint | None) -> Iterator[Check]:
    """Kept rows have their bits, new rows are what the plan's arithmetic gives."""
    why = _why_not(graft, rebuilt)
    if why:
        yield from (skipped(name, why) for name in NAMES)
        return
    assert graft.plan is not None
    assert rebuilt is not None
    seen = _seen(graft, rebuilt, base)
    subjects, missing = [], []
    for name, edit in graft.plan.row_edits().items():
        ref = _tensor(graft, name)
        if name in seen and ref is not None:
            subjects.append(Subject(edit, ref, seen[name]))
        else:
            missing.append(name)
    if missing:
        said = f"nothing of the base is at hand for {several(missing)}"
        yield from (skipped(name, said) for name in NAMES)
        return
    yield _kept(graft, subjects)
    yield _new(graft, subjects)


def _why_not(graft: Graft, rebuilt: Rebuilt | None) -> str:
    if graft.plan is None or graft.checkpoint is None or rebuilt is None:
        return "the plan, the receipt or the checkpoint cannot be read"
    if not graft.has_weights:
        return NO_WEIGHTS
    return "" if graft.plan.row_edits() else "the plan writes no rows"


def _tensor(graft: Graft, name: str) -> TensorRef | None:
    assert graft.checkpoint is not None
    tensors = graft.checkpoint.tensors
    return None if tensors is None else tensors.tensors.get(name)


def _seen(graft: Graft, rebuilt: Rebuilt, base: Checkpoint | None) -> Mapping[str, Seen]:
    """What passed by of the base; with a base at hand, files that did not come back pass by too."""
    seen = dict(rebuilt.seen)
    tensors = base.tensors if base is not None else None
    if base is None or tensors is None:
        return seen
    for path in rebuilt.unproved:
        if path in tensors.files:
            entry = base.files[path]
            whole = blocks(Span(entry.real, 0, entry.size_bytes))
            watched(graft, tensors.files[path], whole, seen)
    return seen


def _kept(graft: Graft, subjects: list[Subject]) -> Check:
    assert graft.plan is not None
    said, kept = [], 0
    for_later = not names_weights(graft.plan.base.files)
    for subject in subjects:
        name, base_tensor = subject.edit.tensor, subject.edit.base_tensor
        planned = graft.plan.base.rows.get(base_tensor)
        if planned is None and not for_later:
            said.append(f"the plan names no digest of {base_tensor}")
        elif planned not in (None, subject.seen.sha256):
            said.append(f"the base's {base_tensor} has not the sha256 that the plan names")
        if subject.seen.changed:
            rows = several([f"{name}[{row}]" for row in subject.seen.changed])
            said.append(f"{len(subject.seen.changed)} rows were to be kept and differ: {rows}")
        kept += subject.seen.n_kept
    said += _rows_without_edit(graft)
    if said:
        return failed(NAMES[0], "; ".join(said))
    known = "a plan made without weights cannot name" if for_later else "the plan names"
    written = sum(subject.edit.n_rows_after for subject in subjects) - kept
    return passed(
        NAMES[0],
        f"{kept:,} rows of {len(subjects)} tensors have the bits of the base, whose digests "
        f"{known}; {written:,} rows are written",
    )


def _rows_without_edit(graft: Graft) -> Iterator[str]:
    """Tensors of the vocabulary axis that the plan leaves alone have the digest it names."""
    assert graft.plan is not None
    for name in sorted(set(graft.plan.base.rows) - set(graft.plan.row_edits())):
        ref = _tensor(graft, name)
        if ref is None:
            yield f"{name} is not there"
            continue
        span = Span(graft.files[ref.file].real, ref.begin, ref.end)
        if digest(blocks(span)) != graft.plan.base.rows[name]:
            yield f"{name} has not the sha256 that the plan names"


def _new(graft: Graft, subjects: list[Subject]) -> Check:
    other = sorted({s.out.dtype for s in subjects} - set(ROW_DTYPES))
    if other:
        return skipped(NAMES[1], f"rows of {several(other)} cannot be computed with")
    values = _values(graft, subjects)
    total, said, stored = 0, [], 0
    for subject in subjects:
        stored += sum(isinstance(source, Stored) for _, source in numbered(subject.edit))
        with graft.files[subject.out.file].real.open("rb") as file:
            name = subject.edit.tensor
            own = values.get(name)
            n_new, wrong = wrong_rows(subject.edit, subject.out, subject.seen, own, file)
        total += n_new
        if wrong:
            rows = several([f"{name}[{row}]" for row in wrong])
            said.append(f"{len(wrong)} rows are not what the plan gives: {rows}")
    if said:
        return failed(NAMES[1], "; ".join(said))
    return passed(
        NAMES[1],
        f"{total:,} new rows of {len(subjects)} tensors were computed again from their sources in "
        f"float64 and have the same bits ({stored:,} of them from {SIDECAR})",
    )


def _values(graft: Graft, subjects: list[Subject]) -> dict[str, Span]:
    """Where the sidecar keeps the values of each tensor."""
    entry = graft.files.get(SIDECAR)
    if entry is None:
        return {}
    refs = read_header(entry.real, file=SIDECAR, size_bytes=entry.size_bytes).tensors
    by_name = {ref.name: ref for ref in refs}
    found = {}
    for subject in subjects:
        ref = by_name.get(f"values.{subject.edit.tensor}")
        if ref is None:
            continue
        if (ref.dtype, ref.row_bytes) != (subject.out.dtype, subject.out.row_bytes):
            raise MalformedFile(f"{ref.name} are not rows of that tensor", subject=SIDECAR)
        found[subject.edit.tensor] = Span(entry.real, ref.begin, ref.end)
    return found
