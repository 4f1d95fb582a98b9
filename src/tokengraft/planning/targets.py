"""Which tensors get new rows, and what the rows of each are for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tokengraft.errors import RefusedError, UnsupportedFormat
from tokengraft.families.naming import named_part
from tokengraft.formats.safetensors_file import read_index
from tokengraft.layout import Part
from tokengraft.planning.draft import Draft
from tokengraft.rows.initializers import Job


@dataclass(frozen=True, slots=True)
class Target:
    """A tensor whose rows shall be written.

    Attributes:
        n_rows: what it has now.
        job: what its rows are for.
        given: which tensor of a file of rows made elsewhere is for it; None for a bias.
        width: elements a row; 0 where there are no weights.
        dtype: its kind of number; None where there are no weights.
    """

    name: str
    n_rows: int
    job: Job
    given: Literal["input", "output"] | None = None
    width: int = 0
    dtype: str | None = None


def targets_of(draft: Draft, *, grows: bool) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """The tensors that get new rows, and notes on those that do not.

    Raises:
        UnsupportedFormat: a tensor that would have to change cannot be edited here.
        RefusedError: rows are missing, and there are no weights to grow.
    """
    checkpoint = draft.checkpoint
    layout = checkpoint.layout
    assert layout is not None
    if checkpoint.tensors is None:
        return _expected(draft, grows=grows)
    targets, notes = [], []
    for tensor in layout.tensors:
        if tensor.editable and tensor.axis == 0 and tensor.n_rows == layout.n_rows:
            job = _job(tensor.part, layout.tied)
            given = _given(tensor.part, job)
            width, dtype = tensor.width, tensor.dtype
            targets.append(Target(tensor.name, tensor.n_rows, job, given, width, dtype))
        elif grows or tensor.part in ("input", "output"):
            raise UnsupportedFormat(
                f"{tensor.name} has a vocabulary axis and cannot be edited",
                detail=tensor.why_not
                or f"axis {tensor.axis} has {tensor.n_rows} entries, the model {layout.n_rows} rows",
                subject=tensor.name,
                hint="edit the unquantised base, then quantise the result",
            )
        else:
            notes.append(f"{tensor.name} keeps its rows: {tensor.why_not}")
    if not targets or not any(t.part == "input" and t.editable for t in layout.tensors):
        raise UnsupportedFormat(
            "no embedding matrix was found in the weights",
            detail="; ".join(layout.doubts),
            subject=str(checkpoint.root),
            hint=f"tokengraft audit {checkpoint.root}",
        )
    return tuple(targets), tuple(notes)


def _expected(draft: Draft, *, grows: bool) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Without weights: the tensors that the index names, so that the graft can be used later."""
    checkpoint = draft.checkpoint
    layout = checkpoint.layout
    assert layout is not None
    if grows:
        raise RefusedError(
            f"{draft.n_tokens} tokens need more than the {layout.n_rows} rows there are, and the "
            "folder has no weights to grow",
            subject=str(checkpoint.root),
            hint="plan on the folder with its weights, or add fewer tokens",
        )
    index = checkpoint.json.get("model.safetensors.index.json")
    if index is None:
        return (), ("no weights and no index: the rows stay as the weights will have them",)
    _, weight_map = read_index(index, file="model.safetensors.index.json")
    parts = {name: named_part(checkpoint.family, name) for name in sorted(weight_map)}
    note = (
        "no weights in this folder: the rows are planned by name from the index and config, and "
        "are written when this graft is applied to the whole checkpoint"
    )
    targets = tuple(
        Target(name, layout.n_rows, job := _job(part, layout.tied), _given(part, job))
        for name, part in parts.items()
        if part in ("input", "output", "bias")
    )
    return targets, (note,)


def _job(part: Part | None, tied: bool) -> Job:  # noqa: FBT001 - a fact of the model
    """What the rows of a tensor are for; a bias goes with the matrix that writes."""
    if tied:
        return "both"
    return "write" if part in ("output", "bias") else "read"


def _given(part: Part | None, job: Job) -> Literal["input", "output"] | None:
    """A file of rows has one matrix for rows that are read, or read and written, and one for others."""
    if part not in ("input", "output"):
        return None
    return "output" if job == "write" else "input"
