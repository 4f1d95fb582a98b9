"""Rows of tensors as numbers: read by byte range, widened exactly, rounded once.

Shapes: `N` rows asked for, `D` elements a row (1 for a bias: a vector is a matrix of width 1).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tokengraft.errors import MalformedFile, ReadFailed, SourceChanged, UnsupportedFormat
from tokengraft.formats.whole_files import let_go, open_regular
from tokengraft.plans import Mean
from tokengraft.tensors import ROW_DTYPES, TensorRef

Floats = NDArray[np.float64]
MEAN_BYTES = 1 << 20  # of rows that are read at once for a mean

# One NaN for all: what inf - inf leaves differs in its sign between x86 and ARM.
_BF16_NAN, _F16_NAN, _F32_NAN, _F64_NAN = 0x7FC0, 0x7E00, 0x7FC00000, 0x7FF8000000000000


class Rows(Protocol):
    """Rows of one tensor, wherever they are."""

    @property
    def ref(self) -> TensorRef: ...

    def raw(self, first: int, count: int) -> bytes:
        """The bytes of `count` rows."""


class FloatRows(Rows, Protocol):
    """Rows that can be had as numbers."""

    @property
    def width(self) -> int: ...

    def floats(self, first: int, count: int) -> Floats:
        """The values of `count` rows [N, D], exactly."""


def span(ref: TensorRef, first: int, count: int) -> tuple[int, int]:
    """Where these rows lie in the tensor's file.

    Raises:
        MalformedFile: the tensor has no such rows.
    """
    n_rows = ref.shape[0] if ref.shape else 0
    if first < 0 or count < 0 or first + count > n_rows:
        raise MalformedFile(
            f"rows {first} to {first + count - 1} are asked for, the tensor has {n_rows}",
            subject=f"{ref.name}[{first}]",
        )
    begin = ref.begin + first * ref.row_bytes
    return begin, begin + count * ref.row_bytes


@dataclass(frozen=True, slots=True)
class MemoryRows:
    """Rows of one tensor of a file that is in memory."""

    data: bytes
    ref: TensorRef

    def raw(self, first: int, count: int) -> bytes:
        begin, end = span(self.ref, first, count)
        return self.data[begin:end]


@dataclass(frozen=True, slots=True)
class RowReader:
    """Rows of one tensor in an open file."""

    file: int
    ref: TensorRef

    @property
    def n_rows(self) -> int:
        return self.ref.shape[0] if self.ref.shape else 0

    @property
    def width(self) -> int:
        """Elements a row."""
        return self.ref.n_elements // self.n_rows if self.n_rows else 0

    def span(self, first: int, count: int) -> tuple[int, int]:
        """Where these rows lie in the file."""
        return span(self.ref, first, count)

    def raw(self, first: int, count: int) -> bytes:
        begin, end = span(self.ref, first, count)
        return read_range(self.file, begin, end, subject=self.ref.file)

    def floats(self, first: int, count: int) -> Floats:
        """The values of `count` rows [N, D], exactly."""
        return widen(self.raw(first, count), self.ref.dtype).reshape(count, self.width)


def read_range(file: int, begin: int, end: int, *, subject: str) -> bytes:
    """Read a range of an open file.

    Raises:
        ReadFailed: the system refuses.
        SourceChanged: the file has become shorter.
    """
    pieces: list[bytes] = []
    while begin < end:
        try:
            piece = os.pread(file, end - begin, begin)
        except OSError as error:
            raise ReadFailed(
                f"cannot read {subject}", detail=error.strerror or "", subject=subject
            ) from error
        if not piece:
            raise SourceChanged("a file became shorter while it was being read", subject=subject)
        pieces.append(piece)
        begin += len(piece)
    return b"".join(pieces)


def mean_of(rows: FloatRows, source: Mean, *, block_bytes: int = MEAN_BYTES) -> Floats:
    """The mean of the rows that a source names [D]: added in row order in float64, divided once.

    The size of a block changes memory and time, never the result.
    """
    step = max(1, block_bytes // max(1, rows.ref.row_bytes))
    sum_D = np.zeros(rows.width, np.float64)
    left_out, end = frozenset(source.without), source.first + source.count
    with np.errstate(all="ignore"):
        for begin in range(source.first, end, step):
            block = rows.floats(begin, min(step, end - begin))
            # A sum over the axis may be pairwise, and then depends on blocks.
            for row, row_D in enumerate(block, begin):
                if row not in left_out:
                    sum_D += row_D
        sum_D /= source.n_parents
    return sum_D


def sample_rows(path: Path, ref: TensorRef, ids: Sequence[int]) -> Floats:
    """Read some rows of a tensor as float64 [N, D], without loading the tensor.

    Raises:
        MalformedFile: a row that the tensor does not have.
        UnsupportedFormat: its kind of number has no rows of its own (packed or integer).
        ReadFailed: the system refuses.
    """
    file = open_regular(path)
    try:
        reader = RowReader(file, ref)
        rows = np.empty((len(ids), reader.width), np.float64)
        for at, first in enumerate(ids):
            rows[at] = reader.floats(first, 1)[0]
        return rows
    finally:
        let_go(file)


def widen(data: bytes, dtype: str) -> Floats:
    """Read numbers as float64, which holds every value of the kinds we know.

    Raises:
        UnsupportedFormat: another kind of number.
    """
    with np.errstate(invalid="ignore"):  # a signalling NaN in a row is not our mistake
        match dtype:
            case "BF16":
                bits = np.frombuffer(data, "<u2").astype(np.uint32) << np.uint32(16)
                return bits.view(np.float32).astype(np.float64)
            case "F16":
                return np.frombuffer(data, "<f2").astype(np.float64)
            case "F32":
                return np.frombuffer(data, "<f4").astype(np.float64)
            case "F64":
                return np.frombuffer(data, "<f8").astype(np.float64)
            case _:
                raise _no_numbers(dtype)


def narrow(values: Floats, dtype: str) -> bytes:
    """Round float64 to a tensor's kind of number once, to nearest, ties to even.

    Beyond the largest value lies infinity; every NaN becomes the one quiet NaN.

    Raises:
        UnsupportedFormat: another kind of number.
    """
    flat = np.ascontiguousarray(values, np.float64).reshape(-1)
    lost = np.isnan(flat)
    with np.errstate(all="ignore"):  # overflow and underflow are results here, not mistakes
        match dtype:
            case "BF16":
                bits = _bfloat16_bits(flat)
                bits[lost] = _BF16_NAN
                return bits.astype("<u2").tobytes()
            case "F16":
                halves = flat.astype(np.float16).view(np.uint16)
                halves[lost] = _F16_NAN
                return halves.astype("<u2").tobytes()
            case "F32":
                singles = flat.astype(np.float32).view(np.uint32)
                singles[lost] = _F32_NAN
                return singles.astype("<u4").tobytes()
            case "F64":
                doubles = flat.copy().view(np.uint64)
                doubles[lost] = _F64_NAN
                return doubles.astype("<u8").tobytes()
            case _:
                raise _no_numbers(dtype)


def _bfloat16_bits(values: Floats) -> NDArray[np.uint16]:
    """Round float64 to bfloat16 through float32 without rounding twice.

    The step to float32 rounds to odd: whatever is not exact goes towards zero and sets the last
    bit, so that the second step still sees on which side of a tie it lies (Boldo and Melquiond
    2008, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd").
    """
    singles = values.astype(np.float32)
    bits = singles.view(np.uint32)
    back = singles.astype(np.float64)
    bits = bits - (np.abs(back) > np.abs(values)).astype(np.uint32)
    bits = bits | (back != values).astype(np.uint32)
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    rounded: NDArray[np.uint16] = ((bits + half) >> np.uint32(16)).astype(np.uint16)
    return rounded


def _no_numbers(dtype: str) -> UnsupportedFormat:
    return UnsupportedFormat(
        f"rows of {dtype} cannot be computed with",
        detail=f"known are {', '.join(ROW_DTYPES)}",
    )
