"""Old rows as the model stores them: float64 for the few that are asked for, sums a block at a time.

A matrix of 151,936 rows of 2,048 numbers is 1.2 GB in float32 and twice that in float64, so none is
widened as a whole. Shapes: `V` old rows, `D` hidden size, `N` rows asked for, `B` rows of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Matrix = NDArray[np.float32] | Values
Ids = Sequence[int] | NDArray[np.int64]

BLOCK_ROWS = 4096


def rows_at(rows_VD: Matrix, ids_N: Ids) -> Values:
    """Some rows [N, D], exactly."""
    return np.asarray(rows_VD[np.asarray(ids_N, np.int64)], np.float64)


def mean_row(rows_VD: Matrix, ids_N: Ids | None = None) -> Values:
    """The mean of all rows [D], or of some."""
    ids = np.arange(len(rows_VD)) if ids_N is None else np.asarray(ids_N, np.int64)
    total_D = np.zeros(rows_VD.shape[1])
    for block_BD in _blocks(rows_VD, ids):
        total_D += block_BD.sum(axis=0)
    return total_D / len(ids)


def spread(rows_VD: Matrix, trained: Ids) -> Values:
    """Covariance [D, D] of the rows that are trained: others are where they began, and say nothing."""
    ids = np.asarray(trained, np.int64)
    mean_D = mean_row(rows_VD, ids)
    sum_DD = np.zeros((len(mean_D), len(mean_D)))
    for block_BD in _blocks(rows_VD, ids):
        apart_BD = block_BD - mean_D
        sum_DD += apart_BD.T @ apart_BD
    return np.asarray(sum_DD / (len(ids) - 1))


def _blocks(rows_VD: Matrix, ids: NDArray[np.int64]) -> Iterator[Values]:
    for first in range(0, len(ids), BLOCK_ROWS):
        yield rows_at(rows_VD, ids[first : first + BLOCK_ROWS])
