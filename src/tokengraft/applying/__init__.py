"""Make an output folder exactly as planned: small files edited, rows written, the rest copied.

Knows nothing of recipes. Reads the base once, writes through the store alone, and says in a
receipt what every file was and is.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from tokengraft.applying.copying import Copier, CopyMode
from tokengraft.applying.documents import stale
from tokengraft.applying.hashing import Hashing, Tally
from tokengraft.applying.places import Destination, refuse_existing, refuse_place, require_room
from tokengraft.applying.reading import Meter
from tokengraft.applying.records import (
    NO_SIDECAR,
    PLAN,
    RECEIPT,
    RECIPE,
    ROWS,
    TOOL,
    UNDO_RECORD,
    Sidecar,
    SidecarSource,
    as_planned,
    sidecar_in,
    sidecar_source,
)
from tokengraft.applying.single import write_blocks, write_document
from tokengraft.applying.store import Stage, staging
from tokengraft.applying.syscalls import SYSTEM, Syscalls
from tokengraft.applying.undo import undo
from tokengraft.applying.weights import write_shard
from tokengraft.applying.work import Work, lay_out, ranges_in
from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import RefusedError
from tokengraft.events import Done, Listen, Started, ignore
from tokengraft.formats.sidecars import PackedSidecar
from tokengraft.formats.undo_file import undo_blocks, undo_size
from tokengraft.formats.whole_files import let_go
from tokengraft.plans import Fingerprint, Plan
from tokengraft.results import Receipt, ReceiptFile

__all__ = ["CopyMode", "apply", "check", "undo", "write_document", "write_sidecar"]

STEP = "apply"


def apply(  # noqa: PLR0913 - the plan's parts lie in as many files
    checkpoint: Checkpoint,
    plan: Plan,
    *,
    target: Path,
    plan_text: bytes,
    sidecar: Path | PackedSidecar | None = None,
    copy: CopyMode = "auto",
    replace: bool = False,
    cache: Path | None = None,
    listen: Listen = ignore,
    syscalls: Syscalls = SYSTEM,
) -> Receipt:
    """Build the planned folder beside `target`, prove what was written, and publish it at once.

    Args:
        plan: whole, as `read_plan` gives it.
        plan_text: the plan as it is written; the receipt names it by its digest.
        sidecar: the plan's sidecar, a file or as it was packed; it is read once.
        copy: how files that stay get there; the bytes are the same in every way.
        replace: whether an earlier output at `target` may go.
        cache: the Hugging Face cache, into which nothing is written.
    Raises:
        StalePlan, SourceChanged, TargetExists, TargetLocked: the world is not as planned.
        DiskFull, WriteFailed, ReadFailed: the operating system refuses.
        RefusedError, UsageError: the plan or the destination makes no sense.
    """
    work = lay_out(checkpoint, plan)
    destination = Destination(target, checkpoint.root, replace=replace, cache=cache)
    total = work.copied_bytes + sum(shard.size_bytes for shard in work.shards)
    with (
        sidecar_source(sidecar, plan_text) as values,
        Hashing() as hashing,
        staging(destination, hashing, syscalls) as stage,
    ):
        listen(Started(STEP, str(target), total))
        run = _Run(checkpoint, plan, work, stage, hashing, Meter(STEP, total, listen))
        receipt = run.carry_out(Copier(stage, hashing, copy, run.meter), plan_text, values)
        stage.publish()
    listen(Done(STEP, str(target)))
    return receipt


def write_sidecar(path: Path, sidecar: PackedSidecar, plan: Plan) -> None:
    """Write the sidecar of a plan as `write_document` writes.

    Raises:
        StalePlan: what it is made of has changed since the plan was made.
        DiskFull, WriteFailed, ReadFailed: the operating system refuses.
    """
    assert plan.sidecar is not None, "a plan says what its sidecar is"
    write_blocks(path, as_planned(sidecar.blocks(), plan.sidecar.sha256))


def check(
    checkpoint: Checkpoint,
    plan: Plan,
    *,
    target: Path,
    copy: CopyMode = "auto",
    replace: bool = False,
    cache: Path | None = None,
) -> None:
    """Refuse what `apply` would refuse, as far as it can be known without writing.

    Rows are not compared here, and other disks or full ones may still refuse.
    """
    work = lay_out(checkpoint, plan)
    destination = Destination(target, checkpoint.root, replace=replace, cache=cache)
    refuse_place(destination)
    refuse_existing(destination)
    size = work.written_bytes + (work.copied_bytes if copy == "copy" else 0)
    require_room(destination, size, shutil.disk_usage(destination.place.parent).free)


class _Run:
    """One apply under way: what has been written, and digests that may still be under way."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        plan: Plan,
        work: Work,
        stage: Stage,
        hashing: Hashing,
        meter: Meter,
    ) -> None:
        self.meter = meter
        self._checkpoint = checkpoint
        self._plan = plan
        self._work = work
        self._stage = stage
        self._hashing = hashing
        self._old_and_new: list[tuple[str, Tally, Tally]] = []
        self._history: list[tuple[str, Tally]] = []

    def carry_out(self, copier: Copier, plan_text: bytes, sidecar: SidecarSource | None) -> Receipt:
        """Fill the stage: files first, then what says of them what they were and are.

        The sidecar comes before the weights, which are then computed from what OUT will hold.
        """
        self.require_room(copier, sidecar, len(plan_text))
        self.write_documents()
        with self.written(sidecar) as values:
            self.write_shards(values)
        self.copy(copier)
        self._stage.settle()
        files = self.compare_with_base()
        receipt = Receipt(plan=sha256(plan_text).hexdigest(), tool=TOOL, files=files)
        self._stage.write(PLAN, [plan_text])
        self._stage.write(RECIPE, [self._plan.recipe.encode()])
        self._stage.write(UNDO_RECORD, undo_blocks(self._work.undoings()))
        self._stage.write(RECEIPT, [receipt.to_json().encode()])
        return receipt

    def require_room(self, copier: Copier, sidecar: SidecarSource | None, n_text: int) -> None:
        entries = (*self._work.copies, *self._work.history)
        largest = max(entries, key=lambda entry: entry.size_bytes, default=None)
        size = self._work.written_bytes + undo_size(self._work.undoings()) + n_text
        size += sidecar.size_bytes if sidecar else 0
        if copier.writes_bytes(largest):
            size += self._work.copied_bytes
        self._stage.require_room(size)

    def write_documents(self) -> None:
        for document in self._work.documents:
            if document.data is not None:
                self._stage.write(document.path, [document.data])

    @contextmanager
    def written(self, sidecar: SidecarSource | None) -> Iterator[Sidecar]:
        """Write the sidecar, and read values and factors from there."""
        if sidecar is None:
            yield NO_SIDECAR
            return
        self._stage.write(ROWS, sidecar.blocks())
        file = self._stage.open(ROWS)
        try:
            yield sidecar_in(file)
        except RefusedError:  # if it was damaged on its way to the disk, that is what is to be said
            self._stage.settle()
            self._stage.compare_rereads(ROWS)
            raise
        finally:
            let_go(file)

    def write_shards(self, sidecar: Sidecar) -> None:
        for shard in self._work.shards:
            path = shard.entry.path
            old, new = write_shard(
                self._stage,
                shard,
                self._hashing,
                parts=ranges_in(self._checkpoint, self._plan, path),
                sidecar=sidecar,
                meter=self.meter,
            )
            self._old_and_new.append((path, old, new))

    def copy(self, copier: Copier) -> None:
        for entry in self._work.copies:
            tally = copier.copy(entry, ranges_in(self._checkpoint, self._plan, entry.path))
            self._old_and_new.append((entry.path, tally, tally))
        self._history += [(entry.path, copier.copy(entry, {})) for entry in self._work.history]

    def compare_with_base(self) -> tuple[ReceiptFile, ...]:
        """Wait for all digests, and refuse a base whose files or rows are not those planned for."""
        found = [
            ReceiptFile(path=d.path, before=d.before, after=self._stage.digests.get(d.path))
            for d in self._work.documents
        ]
        for path, old, new in self._old_and_new:
            _compare(self._plan.base, path, old)
            self._stage.digests[path] = new.digest()
            found.append(ReceiptFile(path=path, before=old.digest(), after=new.digest()))
        for path, tally in self._history:
            self._stage.digests[path] = tally.digest()
        return tuple(sorted(found, key=lambda file: file.path))


def _compare(base: Fingerprint, path: str, old: Tally) -> None:
    if base.files.get(path) not in (None, old.digest()):
        raise stale(f"{path} is not the one that the plan was made for", subject=path)
    for name, digest in old.parts().items():
        if base.rows[name] != digest:
            raise stale(
                f"the rows of {name} are not those that the plan was made for", subject=name
            )
