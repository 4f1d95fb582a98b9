"""Compare tensors where they lie, block by block."""

from __future__ import annotations

import os

import numpy as np

from tokengraft.checkpoint import FileEntry
from tokengraft.tensors import TensorRef

BLOCK_BYTES = 8 << 20


def differing_rows(file_a: FileEntry, a: TensorRef, file_b: FileEntry, b: TensorRef) -> int:
    """Count the rows that are not bit for bit the same; rows that only one has count too."""
    if (a.dtype, a.shape, a.begin) == (b.dtype, b.shape, b.begin) and is_one_file(file_a, file_b):
        return 0
    rows_a, rows_b = _rows(a), _rows(b)
    if a.dtype != b.dtype or a.row_bytes != b.row_bytes:
        return max(rows_a, rows_b)
    row_bytes = a.row_bytes or a.size_bytes
    if not row_bytes:
        return 0
    step = max(1, BLOCK_BYTES // row_bytes)
    common, changed = min(rows_a, rows_b), 0
    with file_a.real.open("rb") as left, file_b.real.open("rb") as right:
        for first in range(0, common, step):
            size = min(step, common - first) * row_bytes
            one = os.pread(left.fileno(), size, a.begin + first * row_bytes)
            other = os.pread(right.fileno(), size, b.begin + first * row_bytes)
            if one != other:
                pair = [np.frombuffer(x, np.uint8).reshape(-1, row_bytes) for x in (one, other)]
                changed += int((pair[0] != pair[1]).any(axis=1).sum())
    return changed + abs(rows_a - rows_b)


def _rows(ref: TensorRef) -> int:
    return ref.shape[0] if ref.shape else 1


def is_one_file(a: FileEntry, b: FileEntry) -> bool:
    """Two names of one file on disk, as hard links are."""
    return a.inode == b.inode and a.real.stat().st_dev == b.real.stat().st_dev
