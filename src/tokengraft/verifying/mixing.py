"""Compute new rows a second time, by other code than the one that wrote them.

Legend: P parents, D the width of a row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Little-endian, as safetensors demands; bfloat16 is handled as its bits.
_KINDS = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}


def width_bytes(dtype: str) -> int:
    """Bytes of one element."""
    return np.dtype(_KINDS[dtype]).itemsize


def is_computable(dtype: str) -> bool:
    """Whether rows of this kind of number can be computed again."""
    return dtype in _KINDS


def widen(data: bytes, dtype: str) -> NDArray[np.float64]:
    """Read elements into float64, which holds each of these kinds exactly."""
    raw = np.frombuffer(data, _KINDS[dtype])
    if dtype == "BF16":
        raw = (raw.astype("<u4") << np.uint32(16)).view("<f4")
    with np.errstate(invalid="ignore"):  # signalling NaN among the weights is no error of ours
        return raw.astype(np.float64)


def mix(weights: Sequence[float], parents: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Add weighted parents, laid end to end, one by one in the order given."""
    sum_D = np.zeros(width, np.float64)
    with np.errstate(all="ignore"):
        for weight, parent_D in zip(weights, parents.reshape(-1, width), strict=True):
            np.add(sum_D, weight * parent_D, out=sum_D)
    return sum_D


def add_up(rows: NDArray[np.float64], sum_D: NDArray[np.float64]) -> None:
    """Add rows, laid end to end, to a sum, one by one: a sum over an axis may be pairwise."""
    with np.errstate(all="ignore"):
        for row_D in rows.reshape(-1, len(sum_D)):
            np.add(sum_D, row_D, out=sum_D)


def narrow(row_D: NDArray[np.float64], dtype: str) -> bytes:
    """Round once, to nearest, ties to even."""
    with np.errstate(all="ignore"):
        if dtype != "BF16":
            return row_D.astype(_KINDS[dtype]).tobytes()
        return _bfloat16(row_D).tobytes()


def _bfloat16(row_D: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Round float64 to the bits of bfloat16 by asking on which side of a midpoint a number lies.

    bfloat16 is the upper half of float32, so the midpoint between two neighbours is the lower one
    with the bit below the cut set: a float32, and exact in float64, whatever the exponent.
    """
    size_D = np.abs(row_D)
    lower_D = size_D.astype("<f4").view("<u4") & np.uint32(0xFFFF0000)
    too_high = lower_D.view("<f4").astype(np.float64) > size_D  # float32 rounded up past the cut
    lower_D = (lower_D - (too_high.astype("<u4") << np.uint32(16))).astype("<u4")
    middle_D = (lower_D | np.uint32(0x8000)).view("<f4").astype(np.float64)
    is_odd = (lower_D >> np.uint32(16)) & np.uint32(1) == 1
    up = (size_D > middle_D) | ((size_D == middle_D) & is_odd)
    bits_D = (lower_D >> np.uint32(16)) + (up & np.isfinite(size_D))
    bits_D = np.where(np.isnan(row_D), 0x7FC0, bits_D)
    return (bits_D | np.where(np.signbit(row_D), 0x8000, 0)).astype("<u2")


def is_same(one: bytes, other: bytes, dtype: str) -> bool:
    """Whether two rows have the same bits; one NaN is as good as another."""
    if one == other:
        return True
    if len(one) != len(other):
        return False
    return bool(np.array_equal(_payloads(one, dtype), _payloads(other, dtype)))


def _payloads(data: bytes, dtype: str) -> NDArray[np.uint64]:
    """The bits, with every NaN made the same."""
    bits = np.frombuffer(data, f"<u{width_bytes(dtype)}").astype(np.uint64)
    return np.where(np.isnan(widen(data, dtype)), np.uint64((1 << 64) - 1), bits)
