"""New rows among the rows of their matrix: neighbours and a map, read by range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import TokengraftError
from tokengraft.events import Listen
from tokengraft.flow.ports import matrix_port
from tokengraft.formats.byte_ranges import RangeRows
from tokengraft.layout import EmbeddingLayout, VocabTensor
from tokengraft.plans import Plan
from tokengraft.reporting.row_texts import id_texts
from tokengraft.reports import MapPoint, MatrixView, Near, NearRows, Part, RowMap
from tokengraft.rows.nearest import axes, directions, nearest, sample_ids

MAX_NEW: Final = 200  # new rows that are looked at
NEAR: Final = 8


def matrix_views(plan: Plan, result: Checkpoint, listen: Listen) -> tuple[MatrixView, ...]:
    """Look at the new rows of every matrix that is read or written."""
    layout, tokenizer = result.layout, result.tokenizer
    new = [t.id for t in plan.tokens if t.rows]
    if layout is None or tokenizer is None or not new:
        return ()
    texts = id_texts(tokenizer)
    texts.update((t.id, t.text) for t in plan.tokens if t.action != "remove")
    return tuple(
        _matrix(result, tensor, part, new, texts, listen) for tensor, part in _matrices(layout)
    )


def _matrices(layout: EmbeddingLayout) -> list[tuple[VocabTensor, Part]]:
    inputs, outputs = layout.part("input"), layout.part("output")
    first: Part = "both" if layout.tied and not outputs else "input"
    return [*((tensor, first) for tensor in inputs), *((tensor, "output") for tensor in outputs)]


def _matrix(
    result: Checkpoint,
    tensor: VocabTensor,
    part: Part,
    new: Sequence[int],
    texts: Mapping[int, str],
    listen: Listen,
) -> MatrixView:
    matrix = matrix_port(result)(tensor.name)
    inside = [i for i in new if i < tensor.n_rows]
    if matrix is None or tensor.axis != 0:
        why = "its rows cannot be read as numbers: it is absent, packed or turned around"
        return MatrixView(tensor.name, part, why_not=why)
    try:
        return _looked_at(matrix, part, inside, texts, listen)
    except TokengraftError as error:
        return MatrixView(tensor.name, part, why_not=error.summary)


def _looked_at(
    matrix: RangeRows,
    part: Part,
    new: Sequence[int],
    texts: Mapping[int, str],
    listen: Listen,
) -> MatrixView:
    shown = list(new[:MAX_NEW])
    n_tokens = 1 + max(texts)
    found = nearest(matrix, shown, count=NEAR, n_rows=n_tokens, listen=listen)
    all_new = frozenset(new)
    rows = tuple(
        NearRows(
            i,
            texts.get(i, ""),
            tuple(Near(j, texts.get(j, ""), cosine, j in all_new) for j, cosine in near),
        )
        for i, near in zip(shown, found, strict=True)
    )
    old_near = sorted({one.id for row in rows for one in row.near[:3] if not one.is_new})[:MAX_NEW]
    drawn = _map(matrix, shown, old_near, all_new, n_tokens, texts)
    return MatrixView(matrix.ref.name, part, len(new), rows, drawn)


def _map(
    matrix: RangeRows,
    new: Sequence[int],
    near: Sequence[int],
    without: frozenset[int],
    n_tokens: int,
    texts: Mapping[int, str],
) -> RowMap | None:
    sampled_SD = directions(matrix.sample(sample_ids(matrix, n_rows=n_tokens, without=without)))
    found = axes(sampled_SD)
    if found is None:
        return None
    placed = [
        [
            MapPoint(i, texts.get(i, ""), float(x), float(y))
            for i, (x, y) in zip(ids, found.place(directions(matrix.sample(ids))), strict=True)
        ]
        for ids in (new, near)
    ]
    points = tuple((float(x), float(y)) for x, y in found.place(sampled_SD))
    return RowMap(tuple(placed[0]), tuple(placed[1]), points, found.share)
