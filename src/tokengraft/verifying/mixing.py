"""Compute new rows a second time, by other code than the one that wrote them.

Legend: P parents, D the width of a row.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# Little-endian, as safetensors demands; bfloat16 is handled as its bits.
_KINDS = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}


def width_bytes(dtype: str) -> int:
    return np.dtype(_KINDS[dtype]).itemsize


def is_computable(dtype: str) -> bool:
    return dtype in _KINDS


def widen(data: bytes, dtype: str) -> NDArray[np.float64]:
    """Read elements into float64, which holds each of these kinds exactly."""
    raw = np.frombuffer(data, _KINDS[dtype])
    if dtype == "BF16":
        raw = (raw.astype("<u4") << np.uint32(16)).view("<f4")
    with np.errstate(invalid="ignore"):  # signalling NaN among the weights is no error of ours
        return raw.astype(np.float64)


def mix(parents: Iterable[tuple[float, NDArray[np.float64]]], width: int) -> NDArray[np.float64]:
    """Add weighted parents one by one, in the order given, in float64."""
    sum_D = np.zeros(width, np.float64)
    with np.errstate(all="ignore"):
        for weight, parent_D in parents:
            sum_D = sum_D + weight * parent_D
    return sum_D


def narrow(row_D: NDArray[np.float64], dtype: str) -> bytes:
    """Round once, to nearest, ties to even."""
    with np.errstate(all="ignore"):
        if dtype != "BF16":
            return row_D.astype(_KINDS[dtype]).tobytes()
        return _bfloat16(row_D).tobytes()


def _bfloat16(row_D: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Round float64 to the bits of bfloat16 without rounding twice.

    A float32 made on the way is rounded *to odd*: what was lost leaves its trace in the last bit,
    so that the second rounding decides as if it had seen the whole number.
    Source: Boldo and Melquiond 2008, "Emulation of FMA and correctly rounded sums".
    """
    near_D = row_D.astype("<f4")
    back_D = near_D.astype(np.float64)
    bits_D = near_D.view("<u4")
    inexact = (back_D != row_D) & np.isfinite(row_D)
    too_far = inexact & (np.abs(back_D) > np.abs(row_D))
    # One step towards zero, then the last bit set: truncated, with a sticky bit.
    odd_D = (bits_D - too_far.astype("<u4")) | inexact.astype("<u4")
    rounded_D = odd_D + np.uint32(0x7FFF) + ((odd_D >> np.uint32(16)) & np.uint32(1))
    quiet_D = odd_D | np.uint32(0x400000)
    return (np.where(np.isnan(row_D), quiet_D, rounded_D) >> np.uint32(16)).astype("<u2")


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
