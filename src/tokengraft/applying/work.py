"""What a plan comes down to for one base: which files are edited, streamed, copied or moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from tokengraft.applying.documents import Rewritten, rewritten_files, stale
from tokengraft.applying.records import history_of
from tokengraft.applying.weights import Shard, shard_of
from tokengraft.checkpoint import Checkpoint, FileEntry
from tokengraft.errors import MalformedFile
from tokengraft.formats.folders import is_graft_record
from tokengraft.formats.undo_file import Undoing
from tokengraft.low_rank import AddLowRank, updates_by_tensor
from tokengraft.plans import Keep, Mean, Mix, Plan, RemapRows, RowSource
from tokengraft.tensors import TensorIndex, TensorRef

Ranges = dict[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Work:
    """Everything that is to be done, laid out before anything is written.

    Attributes:
        documents: small files with their new bytes, and files that are dropped.
        shards: weight files with edited rows.
        copies: files that stay, those whose rows the plan knows first.
        history: records of a base that is an output itself, at their new places.
    """

    documents: tuple[Rewritten, ...]
    shards: tuple[Shard, ...]
    copies: tuple[FileEntry, ...]
    history: tuple[FileEntry, ...]

    @property
    def written_bytes(self) -> int:
        """What is written whatever the way of copying."""
        small = sum(len(document.data or b"") for document in self.documents)
        return small + sum(shard.size_bytes for shard in self.shards)

    @property
    def copied_bytes(self) -> int:
        return sum(entry.size_bytes for entry in (*self.copies, *self.history))

    def undoings(self) -> list[Undoing]:
        """What brings the base back, file by file."""
        small = [document.undoing for document in self.documents]
        rows = [shard.undoing() for shard in self.shards]
        return [undoing for undoing in (*small, *rows) if undoing]


def lay_out(checkpoint: Checkpoint, plan: Plan) -> Work:
    """Check a plan against its base, and lay out what is to be done.

    Raises:
        StalePlan: the base is not the one that the plan was made for, as far as headers and small
            files tell; rows are compared while they are copied.
        MalformedFile, UnsafePath: the plan contradicts itself, or leaves the folder.
    """
    _require_base(checkpoint, plan)
    documents = tuple(rewritten_files(checkpoint, plan))
    shards = tuple(_shards(checkpoint, plan))
    named = Counter([d.path for d in documents] + [shard.entry.path for shard in shards])
    twice = [path for path, count in named.items() if count > 1]
    if twice:
        raise MalformedFile("the plan edits a file twice", subject=f"plan.json: {twice[0]}")
    copies = [
        entry
        for path, entry in checkpoint.files.items()
        if path not in named and not is_graft_record(path)
    ]
    copies.sort(key=lambda entry: not ranges_in(checkpoint, plan, entry.path))
    return Work(documents, shards, tuple(copies), tuple(history_of(checkpoint.files)))


def ranges_in(checkpoint: Checkpoint, plan: Plan, path: str) -> Ranges:
    """Where a file holds tensors whose digests the plan knows."""
    if checkpoint.tensors is None or path not in checkpoint.tensors.files:
        return {}
    return {
        ref.name: (ref.begin, ref.end)
        for ref in checkpoint.tensors.files[path].tensors
        if ref.name in plan.base.rows
    }


def _require_base(checkpoint: Checkpoint, plan: Plan) -> None:
    if not checkpoint.is_planned_base(plan.base.layout, plan.base.files):
        raise stale(
            "the base is not the one that this plan was made for",
            detail=f"small files and tensor headers: planned for {plan.base.layout[:16]}, "
            f"found {checkpoint.layout_digest[:16]}",
            subject=str(checkpoint.root),
        )
    for path in plan.base.files:
        if path not in checkpoint.files:
            raise stale(f"the base has no {path} any more", subject=path)
    tensors = checkpoint.tensors.tensors if checkpoint.tensors else None
    for name in plan.base.rows:
        if tensors is not None and name not in tensors:
            raise stale(f"the base has no tensor {name} any more", subject=name)


def _require_rows(edit: RemapRows, ref: TensorRef) -> None:
    """Refuse rows that the base does not have before anything is counted or written by them."""
    n_rows = ref.shape[0] if ref.shape else 0
    if edit.n_rows_before != n_rows or any(_last_row(source) >= n_rows for source in edit.rows):
        raise MalformedFile(
            "the plan takes rows that the base does not have",
            detail=f"the tensor has {n_rows} rows",
            subject=edit.tensor,
        )


def _last_row(source: RowSource) -> int:
    """The last row of the base that a source reads; -1 if it reads none."""
    match source:
        case Keep() | Mean():
            return source.first + source.count - 1
        case Mix():
            return max((parent for parent, _ in source.parents), default=-1)
        case _:
            return -1


def _shards(checkpoint: Checkpoint, plan: Plan) -> list[Shard]:
    if checkpoint.tensors is None:
        return []  # small files alone: the rows of this graft are for later
    by_file: dict[str, dict[str, RemapRows]] = {}
    tensors, seen = checkpoint.tensors.tensors, set[str]()
    updated = updates_by_tensor(plan.edits)
    edits = [edit for edit in plan.edits if isinstance(edit, RemapRows)]
    for edit in edits:
        assert edit.in_columns is None, "a plan in memory is whole"
        ref = tensors.get(edit.base_tensor)
        if ref is None:
            raise stale(f"the base has no tensor {edit.base_tensor}", subject=edit.base_tensor)
        if edit.of is not None and edit.tensor in tensors:
            raise MalformedFile("the plan adds a tensor that the base has", subject=edit.tensor)
        _require_rows(edit, ref)
        if edit.tensor in seen or edit.tensor in updated:
            raise MalformedFile("the plan edits a tensor twice", subject=edit.tensor)
        seen.add(edit.tensor)
        by_file.setdefault(ref.file, {})[edit.tensor] = edit
    updates = _updates(checkpoint.tensors, updated)
    return [
        shard_of(
            checkpoint.files[path],
            checkpoint.tensors.files[path],
            by_file.get(path, {}),
            updates.get(path, {}),
        )
        for path in sorted({*by_file, *updates})
    ]


def _updates(
    tensors: TensorIndex, by_tensor: Mapping[str, tuple[AddLowRank, ...]]
) -> dict[str, dict[str, tuple[AddLowRank, ...]]]:
    """The low-rank updates of each weight file, by tensor."""
    found: dict[str, dict[str, tuple[AddLowRank, ...]]] = {}
    for name, updates in by_tensor.items():
        ref = tensors.tensors.get(name)
        if ref is None:
            raise stale(f"the base has no tensor {name}", subject=name)
        found.setdefault(ref.file, {})[name] = updates
    return found
