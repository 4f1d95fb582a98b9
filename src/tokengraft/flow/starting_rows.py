"""The rows that a plan gives new tokens, as numbers: what training starts from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tokengraft.applying.rows import RowFactory
from tokengraft.checkpoint import Checkpoint
from tokengraft.families.configs import TIE_KEY
from tokengraft.formats.rows import MemoryRows, RowReader, widen
from tokengraft.formats.whole_files import let_go, open_regular
from tokengraft.plans import PatchJson, Plan, PlannedToken, RowSource, SetKey
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.tensors import TensorRef

Values = NDArray[np.float64]


def new_tokens(plan: Plan) -> tuple[PlannedToken, ...]:
    """The tokens that training is about: those with new rows and a text of their own, by id."""
    tokens = sorted((token for token in plan.tokens if token.rows), key=lambda token: token.id)
    counts = Counter(token.text for token in tokens)
    return tuple(token for token in tokens if counts[token.text] == 1)


def starting_rows(
    checkpoint: Checkpoint, plan: Plan, values: Mapping[str, NDArray[np.generic]]
) -> RowSet:
    """The rows of new tokens as apply would write them, rounded as they would be.

    Args:
        values: what the plan's sidecar holds, by tensor.
    """
    tokens = new_tokens(plan)
    layout = checkpoint.layout
    assert layout is not None
    edits = plan.row_edits()
    parts: dict[str, str] = {tensor.name: tensor.part for tensor in layout.tensors}
    parts |= {name: "output" for name, edit in edits.items() if edit.of is not None}
    matrices: dict[str, Values] = {}
    for name in sorted({row.tensor for token in tokens for row in token.rows}):
        part = parts.get(name)
        if part in ("input", "output"):
            sources = [next(r.source for r in t.rows if r.tensor == name) for t in tokens]
            base_tensor = edits[name].base_tensor
            matrices[part] = _rows(checkpoint, base_tensor, sources, values.get(name))
    return RowSet(
        texts=tuple(token.text for token in tokens),
        input_ND=matrices["input"],
        output_ND=None if layout.tied and not _unties(plan) else matrices.get("output"),
        made=tuple(RowsMade("start", "start") for _ in tokens),
    )


def _unties(plan: Plan) -> bool:
    """Whether the plan tells loaders that the model has two matrices."""
    config = plan.file_edits().get("config.json")
    changes = config.changes if isinstance(config, PatchJson) else ()
    return any(
        isinstance(change, SetKey) and change.pointer.endswith(TIE_KEY) and change.value is False
        for change in changes
    )


def _rows(
    checkpoint: Checkpoint,
    name: str,
    sources: Sequence[RowSource],
    values: NDArray[np.generic] | None,
) -> Values:
    assert checkpoint.tensors is not None
    ref = checkpoint.tensors.tensors[name]
    stored = None
    if values is not None:
        data = values.tobytes()
        stored = MemoryRows(data, TensorRef(name, ref.dtype, values.shape, ref.file, 0, len(data)))
    file = open_regular(checkpoint.files[ref.file].real)
    try:
        made = RowFactory(RowReader(file, ref), stored).computed(sources)
        whole = b"".join(row * times for row, times in made)
    finally:
        let_go(file)
    return widen(whole, ref.dtype).reshape(len(sources), -1)
