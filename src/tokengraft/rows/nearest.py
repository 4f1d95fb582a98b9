"""Where rows lie among all rows of a matrix: the nearest by cosine, and a map on two axes.

The matrix is read once, in blocks; at no time is more of it in memory than a block and a sample.
Shapes: `V` rows of the matrix, `B` rows of a block, `N` rows asked for, `S` sampled, `D` elements a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tokengraft.events import Listen, Progress, ignore
from tokengraft.formats.byte_ranges import RangeRows

BLOCK_BYTES: Final = 4 << 20
MAX_SAMPLE: Final = 1500
SAMPLE_BYTES: Final = 64 << 20  # as float64
_ROUNDS: Final = 40  # of a subspace iteration; eight are enough where the axes stand apart
_WIDTH: Final = 4  # vectors that it turns at a time
_TOLD_EVERY: Final = 16

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axes:
    """Two axes through the directions of sampled rows.

    Attributes:
        mean_D: of the sampled directions.
        axes_D2: orthonormal, the one with more variance first.
        share: of all variance, what both hold.
    """

    mean_D: Doubles
    axes_D2: Doubles
    share: float

    def place(self, directions_ND: Doubles) -> Doubles:
        """Points [N, 2] of directions."""
        placed: Doubles = (directions_ND - self.mean_D) @ self.axes_D2
        return placed


def directions(rows_ND: Doubles) -> Doubles:
    """Rows brought to length one; a row that is zero or not finite becomes zero."""
    sound_ND = np.where(np.isfinite(rows_ND).all(axis=1, keepdims=True), rows_ND, 0.0)
    lengths_N1 = np.linalg.norm(sound_ND, axis=1, keepdims=True)
    found: Doubles = sound_ND / np.where(lengths_N1 > 0, lengths_N1, 1.0)
    return found


def nearest(
    matrix: RangeRows,
    ids: Sequence[int],
    *,
    count: int,
    n_rows: int,
    listen: Listen = ignore,
) -> list[list[tuple[int, float]]]:
    """The `count` nearest rows of each of some rows by cosine, the nearest first, itself left out.

    Args:
        n_rows: rows from this one on are not looked at, because they are no tokens'.
    Returns:
        For each id, pairs of an id and a cosine; empty for a row without a direction.
    """
    n_rows = min(n_rows, matrix.n_rows)
    wanted_ND = directions(matrix.sample(ids)).astype(np.float32)
    best_ids = np.full((len(ids), 0), -1, np.int64)
    best = np.full((len(ids), 0), -np.inf, np.float32)
    own = np.asarray(ids, np.int64)[:, None]
    for number, (first, read_BD) in enumerate(matrix.blocks(BLOCK_BYTES)):
        block_BD = read_BD[: max(0, n_rows - first)]
        if not len(block_BD):
            break
        cosines_NB = wanted_ND @ directions(block_BD).astype(np.float32).T
        here = np.arange(first, first + len(block_BD), dtype=np.int64)[None, :]
        cosines_NB = np.where(here == own, -np.inf, cosines_NB)
        best = np.concatenate([best, cosines_NB], axis=1)
        best_ids = np.concatenate([best_ids, np.broadcast_to(here, cosines_NB.shape)], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :count]
        best = np.take_along_axis(best, order, axis=1)
        best_ids = np.take_along_axis(best_ids, order, axis=1)
        if number % _TOLD_EVERY == 0:
            listen(Progress("neighbours", matrix.ref.name, first, n_rows, "rows"))
    listen(Progress("neighbours", matrix.ref.name, n_rows, n_rows, "rows"))
    has_direction = [bool(row_D.any()) for row_D in wanted_ND]
    return [
        [
            (int(i), float(cosine))
            for i, cosine in zip(best_ids[at], best[at], strict=True)
            if np.isfinite(cosine)
        ]
        if has_direction[at]
        else []
        for at in range(len(ids))
    ]


def sample_ids(matrix: RangeRows, *, n_rows: int, without: frozenset[int]) -> list[int]:
    """Ids evenly spread over the rows of old tokens, few enough to be held in memory."""
    fits = SAMPLE_BYTES // (8 * max(1, matrix.width))
    old = [i for i in range(min(n_rows, matrix.n_rows)) if i not in without]
    size = min(MAX_SAMPLE, fits, len(old))
    if size == 0:
        return []
    return [old[at * len(old) // size] for at in range(size)]


def axes(sampled_SD: Doubles) -> Axes | None:
    """The two axes along which directions differ most; None where they do not differ on two.

    A subspace iteration, so that nothing of the size D x D is made; its start is fixed.
    """
    n, width = sampled_SD.shape
    if min(n, width) < 3:  # noqa: PLR2004 - two axes and a mean
        return None
    mean_D = sampled_SD.mean(axis=0)
    centred_SD = sampled_SD - mean_D
    total = float((centred_SD**2).sum())
    basis_Dk = np.random.default_rng(0).standard_normal((width, min(_WIDTH, width)))
    for _ in range(_ROUNDS):
        basis_Dk, _upper = np.linalg.qr(centred_SD.T @ (centred_SD @ basis_Dk))
    _left, sizes, turn_kk = np.linalg.svd(centred_SD @ basis_Dk, full_matrices=False)
    if total <= 0 or len(sizes) < 2 or sizes[1] <= 1e-9 * sizes[0]:  # noqa: PLR2004 - two axes
        return None
    axes_D2 = basis_Dk @ turn_kk.T[:, :2]
    for at in range(2):  # a sign is anybody's choice: the largest element is positive
        if axes_D2[np.argmax(np.abs(axes_D2[:, at])), at] < 0:
            axes_D2[:, at] = -axes_D2[:, at]
    return Axes(mean_D, axes_D2, float((sizes[:2] ** 2).sum() / total))
