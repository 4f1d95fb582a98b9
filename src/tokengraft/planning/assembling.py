"""Put the plan together: edits in order, the base's fingerprint, files and what they cost."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.folders import is_graft_record
from tokengraft.low_rank import updates_by_tensor
from tokengraft.planning.files import FileEdits
from tokengraft.planning.rows import RowPlan
from tokengraft.plans import (
    CopyCost,
    Edit,
    Fingerprint,
    IdTable,
    PatchJson,
    PlannedFile,
    RemapRows,
    SetKey,
    Totals,
    WriteFile,
)
from tokengraft.tensors import WeightsFile
from tokengraft.vocabulary import table_digest


def all_edits(checkpoint: Checkpoint, files: FileEdits, rows: RowPlan) -> tuple[Edit, ...]:
    """File edits first, then what the number of rows entails, then the rows."""
    edits: list[Edit] = []
    extra = _row_count_settings(checkpoint, rows) if rows.edits else {}
    for edit in files.edits:
        if isinstance(edit, PatchJson) and edit.path in extra:
            changes = (*edit.changes, *extra.pop(edit.path))
            edits.append(edit.model_copy(update={"changes": changes}))
        else:
            edits.append(edit)
    edits.extend(PatchJson(path=path, changes=tuple(found)) for path, found in extra.items())
    edits.sort(key=lambda edit: (isinstance(edit, WriteFile), getattr(edit, "path", "")))
    edits.extend(rows.edits)
    return tuple(edits)


def _row_count_settings(checkpoint: Checkpoint, rows: RowPlan) -> dict[str, list[SetKey]]:
    """vocab_size wherever it holds the old number, and the index's sums."""
    assert checkpoint.layout is not None
    assert rows.n_rows is not None
    changes: dict[str, list[SetKey]] = {}
    old = checkpoint.layout.n_rows
    prefixes = () if rows.n_rows == old else ("", checkpoint.text_config)
    for prefix in dict.fromkeys(prefixes):
        for key in checkpoint.family.vocab_keys or ("/vocab_size",):
            if checkpoint.value("config.json", prefix + key) == old:
                change = SetKey(pointer=prefix + key, value=rows.n_rows)
                changes.setdefault("config.json", []).append(change)
    tensors = checkpoint.tensors
    if tensors is not None and tensors.index_file is not None:
        bytes_more, numbers_more = _growth(checkpoint, rows.edits)
        for key, more in (("total_size", bytes_more), ("total_parameters", numbers_more)):
            value = checkpoint.value(tensors.index_file, f"/metadata/{key}")
            if isinstance(value, int) and not isinstance(value, bool) and more:
                change = SetKey(pointer=f"/metadata/{key}", value=value + more)
                changes.setdefault(tensors.index_file, []).append(change)
    return changes


def _growth(checkpoint: Checkpoint, edits: tuple[RemapRows, ...]) -> tuple[int, int]:
    """Bytes and numbers by which the tensors grow; a new one is all of it more."""
    assert checkpoint.tensors is not None
    size, numbers = 0, 0
    for edit in edits:
        ref = checkpoint.tensors.tensors[edit.base_tensor]
        more = edit.n_rows_after - edit.n_rows_there
        size += more * ref.row_bytes
        numbers += more * (ref.n_elements // ref.shape[0])
    return size, numbers


def id_table(checkpoint: Checkpoint) -> IdTable:
    """State the whole id table by its size and digest."""
    assert checkpoint.tokenizer is not None
    return IdTable(
        n_tokens=checkpoint.tokenizer.n_tokens,
        digest=table_digest(checkpoint.tokenizer.table()),
    )


def fingerprint(checkpoint: Checkpoint, digest: Callable[[str], str]) -> Fingerprint:
    """Bind the plan to its base; weight files are not read for it, vocabulary tensors are."""
    rows: dict[str, str] = {}
    if checkpoint.tensors is not None and checkpoint.layout is not None:
        rows = {t.name: digest(t.name) for t in checkpoint.layout.tensors}
    files = {
        path: hashlib.sha256(checkpoint.small_files[path]).hexdigest()
        if path in checkpoint.small_files
        else None
        for path in checkpoint.files
        if not is_graft_record(path)
    }
    return Fingerprint(layout=checkpoint.layout_digest, rows=rows, files=files)


def planned_files(
    checkpoint: Checkpoint, small: Mapping[str, bytes], weights: Mapping[str, WeightsFile]
) -> tuple[PlannedFile, ...]:
    """Say of each file whether it is copied or written anew; records of earlier grafts stay out."""
    sizes = {path: len(data) for path, data in small.items()}
    sizes |= {path: file.size_bytes for path, file in weights.items()}
    files = [
        PlannedFile(path=path, action="copy", size_bytes=entry.size_bytes)
        for path, entry in checkpoint.files.items()
        if path not in sizes and not is_graft_record(path)
    ]
    files += [
        PlannedFile(path=path, action="write", size_bytes=size) for path, size in sizes.items()
    ]
    return tuple(sorted(files, key=lambda file: file.path))


def totals(
    checkpoint: Checkpoint,
    edits: tuple[Edit, ...],
    small: Mapping[str, bytes],
    weights: Mapping[str, WeightsFile],
) -> Totals:
    """Add up what the plan writes and what each way of copying costs."""
    remaps = [edit for edit in edits if isinstance(edit, RemapRows)]
    written = sum(map(len, small.values())) + sum(f.size_bytes for f in weights.values())
    changed = {*small, *weights}
    copied = sum(
        entry.size_bytes
        for path, entry in checkpoint.files.items()
        if path not in changed and not is_graft_record(path)
    )
    n_tensors = 0 if checkpoint.tensors is None else len(checkpoint.tensors.tensors)
    changed_tensors = {e.tensor for e in remaps if e.of is None} | set(updates_by_tensor(edits))
    patched = 0 if checkpoint.tensors is None else len(changed_tensors)
    return Totals(
        rows_written=sum(s.n_rows for e in remaps for s in e.rows if s.kind != "keep"),
        bytes_written=written,
        bytes_copied=CopyCost(copy=copied),
        tensors_patched=patched,
        tensors_untouched=n_tensors - patched,
    )
