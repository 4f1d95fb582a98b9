"""Where every row comes from when ids move.

Rows of removed tokens go behind the last row, where they are spare: the matrix is the base's with
its rows in another order, and no probability of another token changes. With `shrink`, as many of them
are dropped as leave the number of rows a multiple of what it was a multiple of.
"""

from __future__ import annotations

from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import UnsupportedFormat
from tokengraft.layout import VocabTensor
from tokengraft.planning.rows import RowPlan
from tokengraft.plans import Keep, RemapRows
from tokengraft.renumbering import IdMap, Moved

# Powers of two that matrix kernels, tensor parallelism and quantised heads want rows to divide by;
# transformers pads to 8, vLLM to 64, Megatron to 128.
MULTIPLES = (128, 64, 32, 16, 8, 4, 2, 1)


def row_edits(checkpoint: Checkpoint, ids: IdMap, *, shrink: bool) -> RowPlan:
    """Move the rows of every tensor with a vocabulary axis.

    Raises:
        UnsupportedFormat: there is one whose rows cannot be moved, or that nobody is sure of.
    """
    layout = checkpoint.layout
    assert layout is not None
    for tensor in layout.tensors:
        if not _moves(tensor, layout.n_rows):
            raise UnsupportedFormat(
                f"{tensor.name} has a vocabulary axis and its rows cannot be moved",
                detail=tensor.why_not
                or f"axis {tensor.axis} has {tensor.n_rows} entries, the model {layout.n_rows} rows",
                subject=tensor.name,
                hint="remove from the unquantised base, then quantise the result",
            )
    if layout.certainty != "family" or not layout.tensors:
        raise UnsupportedFormat(
            "no family file names the matrices of this model, so one may be overlooked",
            detail=f"model_type is {checkpoint.config('/model_type')!r}; a matrix that keeps its "
            "order would answer for other tokens",
            subject="config.json",
            hint="write a family file: docs/how-to/add-a-family.md",
        )
    before = layout.n_rows
    after = rows_after(before, len(ids.removed)) if shrink else before
    rows = [Keep(first=first, count=count) for first, count in ids.kept(before)]
    spare = ids.removed[: after - (before - len(ids.removed))]
    rows += [Keep(first=token_id, count=1) for token_id in spare]
    edits = tuple(
        RemapRows(tensor=tensor.name, n_rows_before=before, n_rows_after=after, rows=_joined(rows))
        for tensor in layout.tensors
    )
    return RowPlan(edits=edits, n_rows=after)


def rows_after(n_rows: int, n_removed: int) -> int:
    """The number of rows of a smaller matrix."""
    multiple = next(multiple for multiple in MULTIPLES if n_rows % multiple == 0)
    return -(-(n_rows - n_removed) // multiple) * multiple


def _moves(tensor: VocabTensor, n_rows: int) -> bool:
    return tensor.editable and tensor.axis == 0 and tensor.n_rows == n_rows


def _joined(rows: list[Keep]) -> tuple[Keep, ...]:
    """Neighbours that follow each other in the base as one range."""
    joined: list[Keep] = []
    for row in rows:
        last = joined[-1] if joined else None
        if last is not None and last.first + last.count == row.first:
            joined[-1] = Keep(first=last.first, count=last.count + row.count)
        else:
            joined.append(row)
    return tuple(joined)


def moves(ids: IdMap, n_ids: int) -> tuple[Moved, ...]:
    """Where the ids below `n_ids` that stay are from now on, in runs."""
    runs = []
    for first, count in ids.kept(n_ids):
        to = ids.new(first)
        assert to is not None
        runs.append(Moved(first=first, count=count, to=to))
    return tuple(runs)
