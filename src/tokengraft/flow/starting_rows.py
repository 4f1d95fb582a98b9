"""The rows that a plan gives new tokens, as numbers: what training starts from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokengraft.applying.rows import RowFactory
from tokengraft.checkpoint import Checkpoint
from tokengraft.flow.making import Planned
from tokengraft.formats.rows import MemoryRows, RowReader, widen
from tokengraft.formats.whole_files import let_go, open_regular
from tokengraft.plans import Plan, PlannedToken, RemapRows, RowSource
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.tensors import TensorRef

Values = NDArray[np.float64]


def new_tokens(plan: Plan) -> tuple[PlannedToken, ...]:
    """The tokens that training is about: those with new rows and a text of their own, by id."""
    tokens = sorted((token for token in plan.tokens if token.rows), key=lambda token: token.id)
    counts = Counter(token.text for token in tokens)
    return tuple(token for token in tokens if counts[token.text] == 1)


def starting_rows(planned: Planned) -> RowSet:
    """The rows of new tokens as apply would write them, rounded as they would be."""
    tokens = new_tokens(planned.plan)
    layout = planned.checkpoint.layout
    assert layout is not None
    edits = planned.plan.row_edits()
    parts: dict[str, str] = {tensor.name: tensor.part for tensor in layout.tensors}
    parts |= {name: "output" for name, edit in edits.items() if edit.of is not None}
    matrices: dict[str, Values] = {}
    for name in sorted({row.tensor for token in tokens for row in token.rows}):
        part = parts.get(name)
        if part in ("input", "output"):
            sources = [next(r.source for r in t.rows if r.tensor == name) for t in tokens]
            stored = planned.values.get(name)
            matrices[part] = _rows(planned.checkpoint, edits[name], sources, stored)
    return RowSet(
        texts=tuple(token.text for token in tokens),
        input_ND=matrices["input"],
        output_ND=None if layout.tied and not planned.recipe.unties else matrices.get("output"),
        made=tuple(RowsMade("start", "start") for _ in tokens),
    )


def _rows(
    checkpoint: Checkpoint,
    edit: RemapRows,
    sources: Sequence[RowSource],
    values: NDArray[np.generic] | None,
) -> Values:
    assert checkpoint.tensors is not None
    ref = checkpoint.tensors.tensors[edit.base_tensor]
    stored = None
    if values is not None:
        data = values.tobytes()
        stored = MemoryRows(
            data, TensorRef(edit.tensor, ref.dtype, values.shape, ref.file, 0, len(data))
        )
    file = open_regular(checkpoint.files[ref.file].real)
    try:
        made = RowFactory(edit.tensor, RowReader(file, ref), stored).computed(sources)
        whole = b"".join(row * times for row, times in made)
    finally:
        let_go(file)
    return widen(whole, ref.dtype).reshape(len(sources), -1)
