"""Weights with low-rank updates, as a stream: the old number plus the sum, rounded once.

Products are added one by one, elementwise, in float64: no BLAS, so the bits are the same on any
machine. Shapes: a tensor is a matrix [N, D]; B is [n, R], A [R, D].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from tokengraft.errors import MalformedFile, UnsupportedFormat
from tokengraft.formats.rows import Floats, RowReader, Rows, narrow, read_range, widen
from tokengraft.low_rank import AddLowRank
from tokengraft.tensors import ROW_DTYPES, TensorRef

BLOCK_ELEMENTS = 1 << 15  # a block and its sum stay in the processor's cache
OUT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Factors:
    """One update, made ready: rows from `first` on get scale · b [n, R] · a [R, D]."""

    first: int
    b: Floats
    a: Floats
    scale: float


class _Ready:
    """Factors as numbers, while their rows are written: those of a fused tensor's experts come and go."""

    def __init__(
        self, ref: TensorRef, updates: Sequence[AddLowRank], factors: Mapping[str, Rows]
    ) -> None:
        self._ref = ref
        self._updates = updates
        self._stored = factors
        n_rows = prod(ref.shape[:-1])
        self._spans = [update.slice or (0, n_rows) for update in updates]
        if not all(0 <= first < end <= n_rows for first, end in self._spans):
            raise MalformedFile(
                "the plan takes rows that the base does not have",
                detail=f"the tensor has {n_rows} rows",
                subject=ref.name,
            )
        self._at_hand: dict[int, _Factors] = {}

    def between(self, first: int, end: int) -> list[_Factors]:
        """The updates of these rows, in the plan's order; rows are asked for in order."""
        here = [n for n, (begin, stop) in enumerate(self._spans) if begin < end and first < stop]
        self._at_hand = {n: self._at_hand.get(n) or self._read(n) for n in here}
        return list(self._at_hand.values())

    def _read(self, n: int) -> _Factors:
        update, (first, end) = self._updates[n], self._spans[n]
        a, b = _read(update.a, self._stored), _read(update.b, self._stored)
        if update.transpose:
            a, b = np.ascontiguousarray(b.T), np.ascontiguousarray(a.T)
        width = self._ref.shape[-1]
        if a.shape[1] != width or b.shape != (end - first, a.shape[0]):
            raise MalformedFile(
                f"the factors of {self._ref.name} do not fit it",
                detail=f"A is {list(a.shape)}, B {list(b.shape)}, for rows {first} to {end - 1} of "
                f"[{prod(self._ref.shape[:-1])}, {width}]",
                subject=f"rows.safetensors#{update.a}",
                hint="plan again, or copy plan and sidecar together",
            )
        return _Factors(first, b, a, update.scale)


def updated(
    tensor: RowReader, updates: Sequence[AddLowRank], factors: Mapping[str, Rows]
) -> Iterator[bytes]:
    """Yield all bytes of a tensor with its updates, in order.

    Raises:
        UnsupportedFormat: its numbers cannot be computed with.
        MalformedFile: factors are missing or do not fit.
    """
    ref = tensor.ref
    if ref.dtype not in ROW_DTYPES or not ref.shape or not ref.n_elements:
        raise UnsupportedFormat(
            f"{ref.name} is {ref.dtype} {list(ref.shape)}, to which nothing can be added",
            detail=f"known are {', '.join(ROW_DTYPES)}",
            subject=ref.name,
        )
    width = ref.shape[-1]
    n_rows = prod(ref.shape[:-1])
    ready = _Ready(ref, updates, factors)
    row_bytes = ref.size_bytes // n_rows
    step = max(1, BLOCK_ELEMENTS // width)
    waiting: list[bytes] = []
    for first in range(0, n_rows, step):
        end = min(first + step, n_rows)
        begin = ref.begin + first * row_bytes
        data = read_range(tensor.file, begin, begin + (end - first) * row_bytes, subject=ref.file)
        here = ready.between(first, end)
        if here:
            rows_ND = widen(data, ref.dtype).reshape(end - first, width)
            for one in here:
                _add(rows_ND, first, one)
            data = narrow(rows_ND, ref.dtype)
        waiting.append(data)
        if len(waiting) * step * row_bytes >= OUT_BYTES:
            yield b"".join(waiting)
            waiting.clear()
    yield b"".join(waiting)


def _add(rows_ND: Floats, first: int, one: _Factors) -> None:
    """Add one update to rows from `first` on, in place."""
    low, high = max(first, one.first), min(first + len(rows_ND), one.first + len(one.b))
    b_NR = one.b[low - one.first : high - one.first]
    sum_ND = np.zeros((high - low, rows_ND.shape[1]), np.float64)
    product_ND = np.empty_like(sum_ND)
    with np.errstate(all="ignore"):
        for rank, a_D in enumerate(one.a):
            np.multiply(b_NR[:, rank : rank + 1], a_D, out=product_ND)
            sum_ND += product_ND
        sum_ND *= one.scale
        rows_ND[low - first : high - first] += sum_ND


def _read(name: str, factors: Mapping[str, Rows]) -> Floats:
    rows = factors.get(name)
    if rows is None or len(rows.ref.shape) != 2 or not rows.ref.n_elements:  # noqa: PLR2004
        raise MalformedFile(
            "the sidecar has no such factor",
            detail=name,
            subject=f"rows.safetensors#{name}",
            hint="plan again, or copy plan and sidecar together",
        )
    n_rows, width = rows.ref.shape
    return widen(rows.raw(0, n_rows), rows.ref.dtype).reshape(n_rows, width)
