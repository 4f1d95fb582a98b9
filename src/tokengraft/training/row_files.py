"""A row set as the file that `[rows] values` names, which is how it comes into a plan.

From there on there is one way: the plan rounds the values once, its sidecar carries them, apply
writes them, verify compares them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tokengraft.row_sets import RowSet, RowsMade


def save_rows(rows: RowSet, path: Path) -> None:
    """Write a safetensors file with `input`, `output` (not where tied) and the texts, in float32."""
    from safetensors.numpy import save_file

    matrices = {"input": rows.input_ND.astype(np.float32)}
    if rows.output_ND is not None:
        matrices["output"] = rows.output_ND.astype(np.float32)
    texts = json.dumps(list(rows.texts), ensure_ascii=True)
    save_file(matrices, path, metadata={"tokens": texts})


def load_rows(path: Path, made: Sequence[RowsMade], figures: Mapping[str, float]) -> RowSet:
    """Read what `save_rows` wrote, with what was said of it beside it."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        texts = json.loads(file.metadata()["tokens"])
        matrices = {name: file.get_tensor(name).astype(np.float64) for name in file.keys()}  # noqa: SIM118
    return RowSet(
        tuple(texts), matrices["input"], matrices.get("output"), tuple(made), dict(figures)
    )
