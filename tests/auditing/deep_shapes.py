"""Checkpoints whose rows are known: which were trained, which were not, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import qwen_shapes
import tiny
from raw_tensors import encode, tensor_bytes, write_weights

Matrix = NDArray[np.float32]
EMBED, HEAD = qwen_shapes.EMBED, qwen_shapes.HEAD
N_TINY = tiny.Tiny().n_tokens()


def decode(raw: bytes, dtype: str) -> Matrix:
    """Little-endian bytes as float32."""
    if dtype == "BF16":
        bits = np.frombuffer(raw, "<u2").astype(np.uint32) << np.uint32(16)
        return bits.view(np.float32).copy()
    return np.frombuffer(raw, {"F16": "<f2", "F32": "<f4"}[dtype]).astype(np.float32)


def change(folder: Path, edit: Callable[[Matrix], None], *tensors: str) -> Path:
    """Edit matrices of a checkpoint with a single weights file, by default both."""
    weights = tensor_bytes(folder)
    for name in tensors or (EMBED, HEAD):
        if name in weights:
            dtype, shape, raw = weights[name]
            values = decode(raw, dtype).reshape(shape)
            edit(values)
            weights[name] = (dtype, shape, encode(values, dtype))
    write_weights(folder, weights, shards=1)
    return folder


def trained(folder: Path, *, untrained: Collection[int] = (), **fields: Any) -> Path:
    """A tiny checkpoint: every token's row is trained but these; spare rows never were."""
    built = tiny.build(folder, **{"n_rows": 384, **fields})
    n_tokens = tiny.Tiny(**fields).n_tokens()
    rng = np.random.default_rng(7)

    def edit(values: Matrix) -> None:
        values[:n_tokens] = rng.normal(0.0, 0.2, (n_tokens, values.shape[1]))
        values[n_tokens:] = _begun(rng, len(values) - n_tokens, values.shape[1])
        for row in untrained:
            values[row] = _begun(rng, 1, values.shape[1])[0]

    return change(built, edit)


def _begun(rng: np.random.Generator, n: int, width: int) -> Matrix:
    """Rows as they begin, all about as long as each other."""
    rows = rng.normal(0.0, 1.0, (n, width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return (0.05 * rng.uniform(0.9, 1.1, (n, 1)) * rows).astype(np.float32)


def pushed(folder: Path, *, untrained: Collection[int], tied: bool) -> Path:
    """As `trained`, but output rows that were never right are pushed alike, as a softmax does."""
    built = trained(folder, untrained=untrained, tied=tied)

    def edit(values: Matrix) -> None:
        away = np.ones(values.shape[1], np.float32)
        for row in (*untrained, *range(N_TINY, len(values))):
            values[row] -= away

    return change(built, edit, EMBED if tied else HEAD)


def qwen(folder: Path, data: Path, *, untrained: Collection[int] = (), tied: bool = False) -> Path:
    """Qwen3-30B-A3B-Base's files, hidden size 64: trained rows lie in a few common directions."""
    built = qwen_shapes.build_qwen3_base(folder, data, shards=1, layers=1, tied=tied)
    rng = np.random.default_rng(11)

    def edit(values: Matrix) -> None:
        width = values.shape[1]
        common = rng.normal(0.0, 1.0, (12, width)).astype(np.float32)
        for start in range(0, len(values), 16_384):
            block = values[start : start + 16_384]
            share = rng.standard_normal((len(block), 12), dtype=np.float32)
            length = rng.uniform(0.5, 1.5, (len(block), 1)).astype(np.float32)
            block[:] = 0.03 * length * (share @ common) + 0.02 * block
        for row in (*untrained, *range(qwen_shapes.N_TOKENS, len(values))):
            values[row] = rng.normal(0.0, 0.02, width)

    return change(built, edit)
