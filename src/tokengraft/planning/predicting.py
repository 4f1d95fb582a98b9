"""The checkpoint that a plan will make, as far as it can be known without reading a tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.json_text import apply_splices
from tokengraft.formats.loading import Parts, assemble
from tokengraft.formats.patching import patched
from tokengraft.formats.remapped import remapped
from tokengraft.low_rank import AddLowRank
from tokengraft.plans import (
    AppendMerges,
    Edit,
    PatchJson,
    PatchPieces,
    PlannedToken,
    RemapRows,
    WriteFile,
)
from tokengraft.renumbering import RemoveLines
from tokengraft.tensors import WeightsFile


def edited_files(
    checkpoint: Checkpoint, edits: tuple[Edit, ...], tokens: tuple[PlannedToken, ...]
) -> dict[str, bytes]:
    """The bytes of the small files that a plan changes."""
    files: dict[str, bytes] = {}
    for edit in edits:
        if isinstance(edit, PatchJson | PatchPieces | AppendMerges | RemoveLines):
            data = checkpoint.small_files[edit.path]
            files[edit.path] = apply_splices(data, patched(data, edit, tokens))
        elif isinstance(edit, WriteFile):
            files[edit.path] = edit.text.encode()
    return files


def edited_weights(checkpoint: Checkpoint, edits: tuple[Edit, ...]) -> dict[str, WeightsFile]:
    """The weight files that a plan changes, with their new headers."""
    if checkpoint.tensors is None:
        return {}
    by_file: dict[str, list[RemapRows]] = {}
    for edit in edits:
        if isinstance(edit, RemapRows):
            ref = checkpoint.tensors.tensors[edit.base_tensor]
            by_file.setdefault(ref.file, []).append(edit)
        elif isinstance(edit, AddLowRank):
            by_file.setdefault(checkpoint.tensors.tensors[edit.tensor].file, [])
    return {
        path: _rewritten(checkpoint.tensors.files[path], remaps) for path, remaps in by_file.items()
    }


def _rewritten(file: WeightsFile, remaps: Sequence[RemapRows]) -> WeightsFile:
    header, tensors = remapped(file, remaps)
    end = max((ref.end for ref in tensors), default=len(header))
    return replace(file, header=header, data_begin=len(header), tensors=tensors, size_bytes=end)


def predicted(
    checkpoint: Checkpoint, files: Mapping[str, bytes], weights: Mapping[str, WeightsFile]
) -> Checkpoint:
    """Assemble the snapshot that `load` will give of the result."""
    entries = dict(checkpoint.files)
    for path, data in files.items():
        there = entries.get(path)
        entry = there or replace(next(iter(entries.values())), path=path, kind="small")
        entries[path] = replace(entry, size_bytes=len(data))
    for path, file in weights.items():
        entries[path] = replace(entries[path], size_bytes=file.size_bytes)
    all_weights = {} if checkpoint.tensors is None else dict(checkpoint.tensors.files)
    return assemble(
        Parts(
            root=checkpoint.root,
            files=entries,
            small_files={**checkpoint.small_files, **files},
            weights={**all_weights, **weights},
            problems=tuple(p for p in checkpoint.problems if p.kind == "unsafe-path"),
        )
    )
