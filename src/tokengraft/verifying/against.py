"""The result beside its base: every byte that the plan does not name, compared directly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from tokengraft.checkpoint import Checkpoint, names_weights
from tokengraft.events import Listen, Progress
from tokengraft.formats.folders import is_graft_record
from tokengraft.low_rank import AddLowRank
from tokengraft.plans import Plan, RemapRows
from tokengraft.results import Check
from tokengraft.tensors import TensorIndex, TensorRef
from tokengraft.verifying.records import NO_WEIGHTS, Graft, failed, passed, several, skipped
from tokengraft.verifying.rows import check_bounds, kept_runs
from tokengraft.verifying.streams import Span, blocks, digest, first_difference, is_one_file

NAMES = ("base-is-the-planned-one", "files-against-base", "tensors-against-base")


def check_against(graft: Graft, base: Checkpoint, listen: Listen) -> Iterator[Check]:
    """All three comparisons with the base."""
    if graft.plan is None or graft.checkpoint is None:
        for name in NAMES:
            yield skipped(name, "the plan or the checkpoint cannot be read")
        return
    yield _fingerprint(graft.plan, base)
    yield _files(graft, graft.plan, base, listen)
    yield _tensors(graft.plan, graft.checkpoint, base, listen)


def _fingerprint(plan: Plan, base: Checkpoint) -> Check:
    name = NAMES[0]
    if not base.is_planned_base(plan.base.layout, plan.base.files):
        return failed(
            name,
            f"small files and headers give {base.layout_digest[:12]}, the plan was made for "
            f"{plan.base.layout[:12]}",
        )
    tensors = base.tensors.tensors if base.tensors is not None else {}
    wrong = [
        tensor
        for tensor, sha256 in plan.base.rows.items()
        if tensor not in tensors or digest(blocks(_span(base, tensors[tensor]))) != sha256
    ]
    if wrong:
        return failed(name, f"the rows of {several(wrong)} are not those of the plan's base")
    return passed(
        name,
        f"layout {plan.base.layout[:12]} and the rows of {len(plan.base.rows)} tensors are those "
        "that the plan names",
    )


def _files(graft: Graft, plan: Plan, base: Checkpoint, listen: Listen) -> Check:
    """Compare whole files; one inode is one file, and is not read."""
    name = NAMES[1]
    copied = [file.path for file in plan.files if file.action == "copy"]
    weights = _weights_for_later(plan, base)
    copied += [path for path, is_copied in weights.items() if is_copied]
    planned = {file.path for file in plan.files} | plan.dropped() | set(weights)
    # What the base holds and the plan does not know comes along as it is.
    copied += sorted(path for path in set(base.files) - planned if not is_graft_record(path))
    total = sum(graft.files[path].size_bytes for path in copied if path in graft.files)
    wrong, linked, done = [], 0, 0
    for path in copied:
        ours, theirs = graft.files.get(path), base.files.get(path)
        if ours is None or theirs is None or ours.size_bytes != theirs.size_bytes:
            wrong.append(path)
            continue
        if is_one_file(ours.real, theirs.real):
            linked += 1
        else:
            whole = Span(theirs.real, 0, theirs.size_bytes)
            at = first_difference(Span(ours.real, 0, ours.size_bytes), whole)
            if at is not None:
                wrong.append(f"{path} (byte {at})")
        done += ours.size_bytes
        listen(Progress("verify", path, done, total))
    if wrong:
        return failed(name, f"{len(wrong)} differ: {several(wrong)}")
    return passed(
        name,
        f"{len(copied)} files that the plan copies are identical: {len(copied) - linked} compared "
        f"byte by byte, {linked} are hard links to the same bytes",
    )


def _weights_for_later(plan: Plan, base: Checkpoint) -> dict[str, bool]:
    """Weights that a plan made without them cannot name, and whether each of them is copied."""
    if base.tensors is None or names_weights(plan.base.files):
        return {}
    named = (edit.base_tensor for edit in plan.row_edits().values())
    edited = {base.tensors.tensors[t].file for t in named if t in base.tensors.tensors}
    return {path: path not in edited for path in base.tensors.files}


@dataclass(slots=True)
class _Tally:
    """What comparing tensors has found so far."""

    identical: int = 0
    linked: int = 0
    kept: int = 0
    rewritten: list[str] = field(default_factory=list)
    low_rank: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def _tensors(plan: Plan, out: Checkpoint, base: Checkpoint, listen: Listen) -> Check:
    name = NAMES[2]
    if base.tensors is None or out.tensors is None:
        if (base.tensors is None) != (out.tensors is None):
            return failed(name, "one of the two has weights, the other has none")
        return skipped(name, NO_WEIGHTS)
    tally = _Tally()
    edits = plan.row_edits()
    new = {name for name, edit in edits.items() if edit.of is not None}
    names = sorted((set(base.tensors.tensors) | new) ^ set(out.tensors.tensors))
    if names:
        tally.wrong.append(f"{len(names)} tensors are in one of the two only: {several(names)}")
    linked = _linked_files(out, base, out.tensors)
    low_rank = {edit.tensor for edit in plan.edits if isinstance(edit, AddLowRank)}
    total, done = out.tensors.size_bytes, 0
    for ref in out.tensors.tensors.values():
        edit = edits.get(ref.name)
        theirs = base.tensors.tensors.get(ref.name if edit is None else edit.base_tensor)
        if theirs is None:
            continue
        if ref.name in low_rank:
            tally.low_rank.append(ref.name)
        elif ref.file in linked and theirs.file == ref.file:
            tally.linked += 1
        else:
            _compare(edit, (out, ref), (base, theirs), tally)
        done += ref.size_bytes
        listen(Progress("verify", ref.file, done, total))
    return _told(name, tally)


def _linked_files(out: Checkpoint, base: Checkpoint, tensors: TensorIndex) -> frozenset[str]:
    return frozenset(
        path
        for path in tensors.files
        if path in base.files and is_one_file(out.files[path].real, base.files[path].real)
    )


def _compare(
    edit: RemapRows | None,
    ours: tuple[Checkpoint, TensorRef],
    theirs: tuple[Checkpoint, TensorRef],
    tally: _Tally,
) -> None:
    one, other = _span(*ours), _span(*theirs)
    ref, base_ref = ours[1], theirs[1]
    if edit is None:
        if (ref.dtype, ref.shape) != (base_ref.dtype, base_ref.shape):
            tally.wrong.append(f"{ref.name} has another dtype or shape")
            return
        at = first_difference(one, other)
        if at is None:
            tally.identical += 1
        else:
            tally.wrong.append(f"{ref.name} differs from byte {at} on")
        return
    check_bounds(edit, base_ref, ref)
    tally.rewritten.append(ref.name)
    size = ref.row_bytes
    for run in kept_runs(edit):
        at = first_difference(
            _rows(one, run.out_first, run.count, size),
            _rows(other, run.base_first, run.count, size),
        )
        if at is not None:
            tally.wrong.append(f"{ref.name}[{run.out_first + at // size}] was to be kept")
            return
        tally.kept += run.count


def _told(name: str, tally: _Tally) -> Check:
    if tally.wrong:
        return failed(name, f"{len(tally.wrong)} differ: {several(tally.wrong)}")
    parts = chain(
        [f"{tally.identical:,} tensors are bit-identical"],
        [f"{tally.linked:,} lie in files that are hard links to the base's"]
        if tally.linked
        else [],
        [f"{tally.kept:,} kept rows of {several(tally.rewritten)} are bit-identical"]
        if tally.rewritten
        else [],
        [f"{len(tally.low_rank)} carry low-rank updates, which are computed again below"]
        if tally.low_rank
        else [],
    )
    return passed(name, "; ".join(parts))


def _span(checkpoint: Checkpoint, ref: TensorRef) -> Span:
    return Span(checkpoint.files[ref.file].real, ref.begin, ref.end)


def _rows(span: Span, first: int, count: int, size: int) -> Span:
    return Span(span.path, span.begin + first * size, span.begin + (first + count) * size)
