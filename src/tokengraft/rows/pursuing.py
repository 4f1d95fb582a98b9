"""Orthogonal matching pursuit: a row as a sum of few others, the best of them one after the other.

The next row taken is the one that points most along what is left, whatever its length: rows are
compared by direction, since a long row would otherwise win by its length alone. Then the sum is fitted
anew to all rows taken, so that what is left is orthogonal to each. Sums are in float64; the matrix
passes by in blocks, once for each row taken, for all wanted rows together.

Source: Pati, Rezaiifar and Krishnaprasad 1993, "Orthogonal Matching Pursuit"; arXiv 2506.06607 for
its use on embedding rows.

Shapes: `N` rows wanted, `S` rows to choose from, `K` rows taken at most, `D` elements a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokengraft.formats.byte_ranges import RangeRows
from tokengraft.formats.rows import Floats

NOTHING_LEFT = 1e-12  # of a wanted row's length; float64 leaves about as much by rounding


@dataclass(slots=True)
class _Pursuit:
    """One wanted row: what is left of it, and what was taken."""

    left: Floats  # [D]
    length: float
    taken: list[int] = field(default_factory=list)
    axes: list[Floats] = field(default_factory=list)  # orthonormal
    parts: list[float] = field(default_factory=list)  # of the wanted row along each axis
    triangle: list[list[float]] = field(default_factory=list)  # each row taken, in these axes
    done: bool = False

    def take(self, at: int, row_D: Floats) -> None:
        """Fit the sum to one row more; a row within the span of the others ends the pursuit."""
        rest_D, column = row_D.copy(), np.zeros(len(self.axes))
        for _ in range(2):  # twice, so that rounding does not leave a part along the axes
            for number, axis_D in enumerate(self.axes):
                along = float(axis_D @ rest_D)
                column[number] += along
                rest_D -= along * axis_D
        norm = float(np.sqrt(rest_D @ rest_D))
        if norm <= NOTHING_LEFT * float(np.sqrt(row_D @ row_D)):
            self.done = True
            return
        axis_D = rest_D / norm
        part = float(axis_D @ self.left)
        self.taken.append(at)
        self.axes.append(axis_D)
        self.parts.append(part)
        self.triangle.append([*column.tolist(), norm])
        self.left = self.left - part * axis_D
        self.done = float(np.sqrt(self.left @ self.left)) <= NOTHING_LEFT * self.length

    def weights(self) -> list[tuple[int, float]]:
        """What to multiply each row taken with: the triangle solved from its last row up."""
        found = [0.0] * len(self.taken)
        for row in reversed(range(len(self.taken))):
            known = sum(self.triangle[col][row] * found[col] for col in range(row + 1, len(found)))
            found[row] = (self.parts[row] - known) / self.triangle[row][row]
        return list(zip(self.taken, found, strict=True))


def pursue(
    matrix: RangeRows, ids: Sequence[int], wanted_ND: Floats, most: int
) -> list[list[tuple[int, float]]]:
    """Say of each wanted row which rows of a matrix sum up to it, and with which weights.

    Args:
        ids: the rows to choose from [S], ascending.
        most: how many of them a sum may have [K].
    Returns:
        For each wanted row, places in `ids` with weights, in the order in which they were taken.
    """
    ids_S = np.asarray(ids, np.int64)
    pursuits = [_Pursuit(row_D.copy(), float(np.sqrt(row_D @ row_D))) for row_D in wanted_ND]
    for one in pursuits:
        one.done = one.length <= 0.0 or not np.isfinite(one.length)
    for _ in range(most):
        open_ones = [one for one in pursuits if not one.done]
        if not open_ones:
            break
        for one, at in zip(open_ones, _best(matrix, ids_S, open_ones), strict=True):
            if at < 0:
                one.done = True
            else:
                one.take(at, matrix.floats(int(ids_S[at]), 1)[0])
    return [one.weights() for one in pursuits]


def _best(matrix: RangeRows, ids_S: NDArray[np.int64], pursuits: Sequence[_Pursuit]) -> list[int]:
    """The row that points most along what is left of each, the first of equals; -1 if none does."""
    left_DN = np.stack([one.left for one in pursuits], axis=1)
    best_N = np.zeros(len(pursuits))
    place_N = np.full(len(pursuits), -1, np.int64)
    for first, block_BD in matrix.blocks():
        low, high = np.searchsorted(ids_S, [first, first + len(block_BD)])
        if low == high:
            continue
        rows_BD = block_BD[ids_S[low:high] - first]
        norms_B = np.sqrt(np.einsum("bd,bd->b", rows_BD, rows_BD))
        usable = np.isfinite(norms_B) & (norms_B > 0)
        rows_BD[~usable] = 0.0
        along_BN = np.abs(rows_BD @ left_DN) / np.where(usable, norms_B, 1.0)[:, None]
        for number, one in enumerate(pursuits):
            for at in one.taken:
                if low <= at < high:
                    along_BN[at - low, number] = 0.0
        here_N = along_BN.argmax(axis=0)
        value_N = along_BN[here_N, np.arange(len(pursuits))]
        better = value_N > best_N
        best_N[better] = value_N[better]
        place_N[better] = low + here_N[better]
    return [int(place) for place in place_N]
