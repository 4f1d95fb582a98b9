"""Judge some rows of a matrix: they and the references are read, and nothing else.

Shapes: `N` rows read, `D` elements a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokengraft.auditing.asking import trusted_tokenizer
from tokengraft.auditing.deep.references import references_of
from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.byte_ranges import RangeRows
from tokengraft.formats.row_reading import read_statistics
from tokengraft.formats.rows import narrow
from tokengraft.row_statistics import FEWEST_UNUSED, RowStatistics, scale_of, values_of

MANY = 4096  # rows that are read one by one


@dataclass(frozen=True, slots=True)
class _Held:
    """Bytes in memory, read like a file."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self, begin: int, end: int) -> bytes:
        return self.data[begin:end]


def untrained_among(
    checkpoint: Checkpoint, matrix: RangeRows, ids: Sequence[int]
) -> frozenset[int]:
    """Which of these rows lie among rows that are known to be unused; none where that is unknown.

    The same limits as in a deep audit: the whole matrix is not needed to measure them. If many rows
    are asked for, it is read once, in blocks.

    Raises:
        ReadFailed: the system refuses.
    """
    tokenizer, layout = trusted_tokenizer(checkpoint), checkpoint.layout
    if tokenizer is None or layout is None or not ids:
        return frozenset()
    known = references_of(tokenizer, matrix.n_rows)
    if known.unused and not np.count_nonzero(_read(matrix, known.unused)):
        without = references_of(tokenizer, matrix.n_rows, padding=False)
        known = without if len(without.unused) >= FEWEST_UNUSED else known
    asked = [i for i in ids if i < matrix.n_rows]
    if len(asked) > MANY:
        found = read_statistics(matrix, unused=known.unused, trained=known.trained)
        return _untrained(checkpoint, matrix, found, asked, range(matrix.n_rows))
    rows = sorted({*known.unused, *(i for i in known.trained if i < matrix.n_rows), *asked})
    at = {row: place for place, row in enumerate(rows)}
    data = narrow(_read(matrix, rows), matrix.ref.dtype)
    shape = (len(rows), *matrix.ref.shape[1:])
    part = RangeRows(_Held(data), replace(matrix.ref, shape=shape, begin=0, end=len(data)))
    found = read_statistics(
        part,
        unused=[at[row] for row in known.unused],
        trained=[at[row] for row in known.trained if row in at],
    )
    return _untrained(checkpoint, matrix, found, asked, at)


def _untrained(
    checkpoint: Checkpoint,
    matrix: RangeRows,
    found: RowStatistics,
    asked: Sequence[int],
    at: Mapping[int, int] | range,
) -> frozenset[int]:
    """The verdicts; `at` says where the statistics hold the row of an id."""
    layout = checkpoint.layout
    assert layout is not None
    outputs = {tensor.name for tensor in layout.part("output")}
    scale = scale_of(found, writes=matrix.ref.name in outputs or layout.tied)
    if isinstance(scale, str):
        return frozenset()
    values = values_of(found, scale)
    return frozenset(i for i in asked if scale.verdict(float(values[at[i]])) == "untrained")


def _read(matrix: RangeRows, ids: Sequence[int]) -> NDArray[np.float64]:
    """Rows [N, D], each by itself: they lie far apart, and what is between them is most of the matrix."""
    rows = np.empty((len(ids), matrix.width), np.float64)
    with np.errstate(invalid="ignore"):  # a signalling NaN in a row is no mistake of ours
        for at, row in enumerate(ids):
            rows[at] = matrix.floats(row, 1)[0]
    return rows
