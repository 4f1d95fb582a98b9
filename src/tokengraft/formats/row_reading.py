"""Read a whole matrix once, block by block, and keep a few numbers of each row.

Shapes: `V` rows of the matrix, `B` rows of a block, `D` elements a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokengraft.events import Listen, Progress, ignore
from tokengraft.formats.byte_ranges import RangeRows
from tokengraft.formats.rows import widen
from tokengraft.row_statistics import FEWEST_TRAINED, FEWEST_UNUSED, RowStatistics
from tokengraft.tensors import TensorRef

BLOCK_BYTES = 1 << 20  # of the file; small enough that what is made of it stays in a CPU's cache
REQUEST_BYTES = 8 << 20
_TOLD_EVERY = 64  # blocks

Singles = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Origin:
    """What rows are compared with: the mean of the unused rows, and from there to the trained."""

    unused: Singles  # [D]
    away: Singles  # [D] the mean of the unused rows, seen from the mean of the trained ones


class _Columns:
    """The arrays that a reading fills, one element a row."""

    def __init__(self, n_rows: int) -> None:
        self.norms = np.zeros(n_rows)
        self.distances = np.zeros(n_rows)
        self.directions = np.zeros(n_rows)
        self.zeros = np.zeros(n_rows, np.bool_)
        self.nonfinite = np.zeros(n_rows, np.int64)
        self.digests = np.zeros(n_rows, np.int64)


def read_statistics(
    rows: RangeRows,
    *,
    unused: Sequence[int],
    trained: Sequence[int],
    listen: Listen = ignore,
) -> RowStatistics:
    """Read a matrix once from end to end; the reference rows are read a second time, before.

    Args:
        unused: rows that are known to be unused.
        trained: rows that are taken to be trained.

    Raises:
        ReadFailed: the system refuses.
        UnsupportedFormat: its kind of number has no rows of its own.
    """
    ref = rows.ref
    n_rows = ref.shape[0]
    unused = tuple(row for row in unused if row < n_rows)
    trained = tuple(row for row in trained if row < n_rows)
    origin = _origin(rows, unused, trained)
    columns = _Columns(n_rows)
    for at, first, raw in _blocks(rows):
        _fill(columns, first, raw, ref, origin)
        if at % _TOLD_EVERY == 0:
            listen(Progress("rows", ref.name, first * ref.row_bytes, ref.size_bytes))
    listen(Progress("rows", ref.name, ref.size_bytes, ref.size_bytes))
    return RowStatistics(
        ref=ref,
        norms=columns.norms,
        distances=None if origin is None else columns.distances,
        directions=None if origin is None else columns.directions,
        zeros=columns.zeros,
        nonfinite=columns.nonfinite,
        digests=columns.digests,
        unused=unused,
        trained=trained,
        unused_norm=0.0 if origin is None else _length(origin.unused),
        away_norm=1.0 if origin is None else _length(origin.away) or 1.0,
    )


def _origin(matrix: RangeRows, unused: Sequence[int], trained: Sequence[int]) -> _Origin | None:
    means = []
    for rows, fewest in ((unused, FEWEST_UNUSED), (trained, FEWEST_TRAINED)):
        values = matrix.sample(rows)
        values = values[np.isfinite(values).all(axis=1)]
        if len(values) < fewest:
            return None
        means.append(values.mean(axis=0))
    return _Origin(means[0].astype(np.float32), (means[0] - means[1]).astype(np.float32))


def _blocks(rows: RangeRows) -> Iterator[tuple[int, int, bytes]]:
    """Number, first row and bytes of each block; what is far away comes in larger requests."""
    row_bytes = max(1, rows.ref.row_bytes)
    step = max(1, BLOCK_BYTES // row_bytes)
    asked = max(step, REQUEST_BYTES // row_bytes // step * step)
    for begin in range(0, rows.n_rows, asked):
        raw = memoryview(rows.raw(begin, min(asked, rows.n_rows - begin)))
        for first in range(begin, min(begin + asked, rows.n_rows), step):
            here = (first - begin) * row_bytes
            yield first // step, first, bytes(raw[here : here + step * row_bytes])


def _fill(
    columns: _Columns, first: int, raw: bytes, ref: TensorRef, origin: _Origin | None
) -> None:
    row_bytes = ref.row_bytes
    n = len(raw) // row_bytes
    here = slice(first, first + n)
    view = memoryview(raw)
    # Python's own hash of bytes: 64 bits, several GB a second, the same for the same bytes.
    columns.digests[here] = [
        hash(view[at : at + row_bytes]) for at in range(0, len(raw), row_bytes)
    ]
    with np.errstate(all="ignore"):
        rows_BD = _singles(raw, ref.dtype).reshape(n, -1)
        squares = _dots(rows_BD, rows_BD).astype(np.float64)
        odd = np.flatnonzero(~np.isfinite(squares) | (squares < np.finfo(np.float32).tiny))
        for at in odd:
            row = widen(raw[at * row_bytes : (at + 1) * row_bytes], ref.dtype)
            squares[at] = float((row * row).sum())
            columns.zeros[first + at] = not row.any()
            columns.nonfinite[first + at] = int((~np.isfinite(row)).sum())
        columns.norms[here] = np.sqrt(squares)
        if origin is not None:
            distances, directions = _compared(rows_BD, origin)
            columns.distances[here], columns.directions[here] = distances, directions


def _compared(rows_BD: Singles, origin: _Origin) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance from the mean of the unused rows, and distance of the two directions.

    The difference is taken first, in place: near the mean, a difference of two large squares would
    be lost in rounding.
    """
    rows_BD -= origin.unused
    squares = _dots(rows_BD, rows_BD).astype(np.float64)
    along = np.einsum("bd,d->b", rows_BD, origin.away).astype(np.float64)
    length = _length(origin.away) ** 2
    seen = squares + 2 * along + length  # square of the row's distance from the trained mean
    cosine_sign = np.sign(along + length)
    sine = np.clip((squares * length - along * along) / (seen * length), 0.0, 1.0)
    cosine = cosine_sign * np.sqrt(1 - sine)
    # 1 - cos, exact for small angles too
    apart = np.where(cosine > 0, sine / (1 + cosine), 1 - cosine)
    return np.sqrt(squares), np.sqrt(2 * apart)


def _length(vector: Singles) -> float:
    return float(np.linalg.norm(vector.astype(np.float64)))


def _dots(a_BD: Singles, b_BD: Singles) -> Singles:
    products: Singles = np.einsum("bd,bd->b", a_BD, b_BD)
    return products


def _singles(raw: bytes, dtype: str) -> Singles:
    """The values as float32, in an array that may be written to."""
    if dtype == "BF16":
        bits = np.frombuffer(raw, "<u2").astype(np.uint32)
        bits <<= np.uint32(16)
        return bits.view(np.float32)
    return widen(raw, dtype).astype(np.float32)
