"""What an initializer needs of a whole matrix: read once, in blocks, in constant memory.

No matrix of covariances is made: a sum of all rows, each seen from their mean and with a random sign,
divided by the square root of their number, has exactly their covariance, and is normal in the limit
of many rows. It costs one multiplication a row, a column and a wanted row.

Sums run through BLAS, whose order differs between machines; the last bits of a result may then
differ before it is rounded to the matrix's kind of number. Whoever needs the same bits everywhere
sends the plan with its values, as plans are meant to be sent.

Shapes: `V` used rows, `B` rows of a block, `D` elements a row, `N` rows wanted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokengraft.formats.byte_ranges import RangeRows
from tokengraft.formats.rows import Floats

AT_ONCE = 512  # rows wanted in one reading; their signs take a bit for each row of the matrix
SIGNS_AT_ONCE = (
    4096  # rows whose signs are numbers at a time; products of fewer keep threads waiting
)
# The eight signs of each byte, [256, 8].
_BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
BYTE_SIGNS: Floats = _BITS.astype(np.float64) * 2 - 1
DIGITS = 6  # of a measured length: more of them would differ between machines


@dataclass(frozen=True, slots=True)
class Used:
    """The used rows: the first `count`, but those that were found untrained."""

    count: int
    untrained: frozenset[int] = frozenset()

    @property
    def n_left(self) -> int:
        return self.count - sum(i < self.count for i in self.untrained)


def _blocks(rows: RangeRows, used: Used) -> Iterator[tuple[int, Floats]]:
    """Blocks of used rows with their first id; rows left out or without numbers are zeros here."""
    left_out = np.array(sorted(used.untrained), np.int64)
    for first, block_BD in rows.blocks():
        if first >= used.count:
            return
        part_BD = block_BD[: used.count - first]
        part_BD[~np.isfinite(part_BD).all(axis=1)] = 0.0
        part_BD[left_out[(left_out >= first) & (left_out < first + len(part_BD))] - first] = 0.0
        yield first, part_BD


def median_norm(rows: RangeRows, used: Used) -> float:
    """The median Euclidean norm of the used rows that are not zero; 0 if there are none."""
    norms = np.concatenate(
        [np.sqrt(np.einsum("bd,bd->b", block, block)) for _, block in _blocks(rows, used)]
    )
    norms = norms[norms > 0]
    return shortened(float(np.median(norms))) if norms.size else 0.0


def shortened(value: float) -> float:
    """A measured number with as many digits as every machine agrees on."""
    return float(f"{value:.{DIGITS}g}")


def _bits(key: str, count: int) -> NDArray[np.uint8]:
    """So many bits, eight to a byte, the same for the same key on every machine: SHAKE-256."""
    data = hashlib.shake_256(key.encode("utf-8", "surrogatepass")).digest(-(-count // 8))
    return np.frombuffer(data, np.uint8)


def drawn(rows: RangeRows, used: Used, keys: Sequence[str], spread: float) -> Floats:
    """Numbers [N, D] with `spread` times the covariance of the used rows, around zero."""
    found_ND = np.empty((len(keys), rows.width), np.float64)
    for begin in range(0, len(keys), AT_ONCE):
        part = keys[begin : begin + AT_ONCE]
        found_ND[begin : begin + len(part)] = _drawn(rows, used, part, spread)
    return found_ND


def _drawn(rows: RangeRows, used: Used, keys: Sequence[str], spread: float) -> Floats:
    bits_NV = np.stack([_bits(key, used.count) for key in keys])
    sum_D = np.zeros(rows.width, np.float64)
    signed_ND = np.zeros((len(keys), rows.width), np.float64)
    balance_N = np.zeros(len(keys), np.float64)
    counts_V = np.ones(used.count, np.float64)
    counts_V[[i for i in used.untrained if i < used.count]] = 0.0
    for first, block_BD in _blocks(rows, used):
        sum_D += block_BD.sum(axis=0)
        for begin in range(0, len(block_BD), SIGNS_AT_ONCE):
            part_BD = block_BD[begin : begin + SIGNS_AT_ONCE]
            here = slice(first + begin, first + begin + len(part_BD))
            signs_NB = _signs(bits_NV, here)
            signed_ND += signs_NB @ part_BD
            balance_N += signs_NB @ counts_V[here]
    centred_ND = signed_ND - np.outer(balance_N, sum_D / used.n_left)
    result: Floats = centred_ND * np.sqrt(spread / used.n_left)
    return result


def _signs(bits_NV: NDArray[np.uint8], rows: slice) -> Floats:
    """The signs [N, B] of some rows, out of bits that lie eight to a byte."""
    begin = rows.start // 8
    bytes_N8 = bits_NV[:, begin : -(-rows.stop // 8)]
    signs_NB: Floats = BYTE_SIGNS.take(bytes_N8, axis=0).reshape(len(bits_NV), -1)
    return signs_NB[:, rows.start - 8 * begin : rows.stop - 8 * begin]
