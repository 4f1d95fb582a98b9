"""The way back: the base of an output, rebuilt bit for bit from the output alone."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from tokengraft.applying.copying import Copier, CopyMode
from tokengraft.applying.hashing import Hashing, Tally
from tokengraft.applying.places import Destination
from tokengraft.applying.reading import Meter
from tokengraft.applying.records import PLAN, RECEIPT, TOOL, UNDO_RECORD, restored_history
from tokengraft.applying.store import Stage, staging
from tokengraft.applying.syscalls import SYSTEM, Syscalls
from tokengraft.checkpoint import MANIFEST, FileEntry
from tokengraft.documents import complaint
from tokengraft.errors import MalformedFile, PreconditionError, SourceChanged
from tokengraft.events import Done, Listen, Started, ignore
from tokengraft.formats.folders import is_graft_record, read_small, walk
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.manifest import parse_manifest
from tokengraft.formats.plan_files import parse_plan
from tokengraft.formats.undo_file import UndoEntry, base_chunks, read_undo
from tokengraft.low_rank import AddLowRank
from tokengraft.results import Receipt, ReceiptFile

STEP = "undo"


def undo(
    out: Path,
    *,
    target: Path,
    copy: CopyMode = "auto",
    replace: bool = False,
    listen: Listen = ignore,
    syscalls: Syscalls = SYSTEM,
) -> Receipt:
    """Rebuild the base of `out` in `target`, and publish it if every file is what it was.

    Returns:
        The receipt turned around: `before` is the output's file, `after` the base's.
    Raises:
        PreconditionError: `out` has no records of a graft, or cannot be undone without its base.
        SourceChanged: a file does not come back as it was: `out` was edited since.
    """
    files, _ = walk(out)
    receipt = _receipt(out, files)
    entries = read_undo(_record(out, files, UNDO_RECORD).real)
    total = sum(files[file.path].size_bytes for file in receipt.files if file.path in files)
    with (
        Hashing() as hashing,
        staging(Destination(target, out, replace=replace), hashing, syscalls) as stage,
    ):
        listen(Started(STEP, str(target), total))
        back = _Return(out, files, entries, stage)
        copier = Copier(stage, hashing, copy, Meter(STEP, total, listen))
        stage.require_room(total + files[UNDO_RECORD].size_bytes)
        tallies = {file.path: back.bring(file, copier) for file in receipt.files if file.before}
        for entry in restored_history(files):
            tallies[entry.path] = copier.copy(entry, {})
        for path, tally in tallies.items():
            if tally is not None:
                stage.digests[path] = tally.digest()
        _require_as_before(stage, receipt)
        _require_own_manifest(stage, files)
        stage.publish(manifest=False)
    listen(Done(STEP, str(target)))
    turned = (ReceiptFile(path=f.path, before=f.after, after=f.before) for f in receipt.files)
    return Receipt(plan=receipt.plan, tool=TOOL, files=tuple(turned))


class _Return:
    """Where the old files come from."""

    def __init__(
        self, out: Path, files: dict[str, FileEntry], entries: dict[str, UndoEntry], stage: Stage
    ) -> None:
        self._out = out
        self._files = files
        self._entries = entries
        self._stage = stage

    def bring(self, file: ReceiptFile, copier: Copier) -> Tally | None:
        """Bring one file back; a digest is returned if it is still under way."""
        entry, here = self._entries.get(file.path), self._files.get(file.path)
        if is_graft_record(file.path):
            raise MalformedFile(
                "the receipt names a record as a file of the model", subject=RECEIPT
            )
        if entry is not None and (entry.spans is None or here is not None):
            undo_record = self._files[UNDO_RECORD].real
            chunks = base_chunks(here.real if here else None, entry, undo_record)
            self._stage.write(file.path, chunks)
            return None
        if here is None:
            raise _gone(self._out, file.path)
        return copier.copy(here, {})


def _require_as_before(stage: Stage, receipt: Receipt) -> None:
    for file in receipt.files:
        if file.before is not None and stage.digests.get(file.path) != file.before:
            raise SourceChanged(
                f"{file.path} does not come back as it was",
                detail="the output was edited after it was made; nothing was published",
                subject=file.path,
                hint="tokengraft verify OUT names what differs",
            )


def _require_own_manifest(stage: Stage, files: dict[str, FileEntry]) -> None:
    """A base that is an output itself brings a manifest, which every file must agree with."""
    entry = next((e for e in restored_history(files) if e.path == MANIFEST), None)
    if entry is None:
        return
    listed = parse_manifest(read_small(entry))
    found = {path: digest for path, digest in stage.digests.items() if path != MANIFEST}
    for path in sorted(listed.keys() | found.keys()):
        if listed.get(path) != found.get(path):
            raise SourceChanged(f"{path} does not come back as it was", subject=path)


def _receipt(out: Path, files: dict[str, FileEntry]) -> Receipt:
    plan = parse_plan(read_small(_record(out, files, PLAN)), file=PLAN)
    if any(isinstance(edit, AddLowRank) for edit in plan.edits):
        raise PreconditionError(
            "this output cannot be undone without its base",
            detail="low-rank updates were baked into whole tensors",
            subject=str(out),
        )
    value = parse_json(read_small(_record(out, files, RECEIPT)), file=RECEIPT).value
    try:
        return Receipt.from_dict(value)
    except ValidationError as error:
        raise MalformedFile(
            "the file is no receipt", detail=complaint(error), subject=RECEIPT
        ) from error


def _record(out: Path, files: dict[str, FileEntry], path: str) -> FileEntry:
    if path not in files:
        raise _gone(out, path)
    return files[path]


def _gone(out: Path, path: str) -> PreconditionError:
    return PreconditionError(
        f"{out} has no {path}",
        detail="only a complete output can be undone",
        subject=str(out / path),
        hint="tokengraft verify OUT names what is missing",
    )
