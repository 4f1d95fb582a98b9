"""The factors of a low-rank update as the sidecar gets them: cut into pieces, checked, never rounded.

Shapes: A is [E·R, D] with the experts one after the other, B [N, R·E] with the experts innermost;
`E` experts (1 for a plain module), `R` ranks of each, `D` inputs, `N` outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from tokengraft.errors import MalformedFile
from tokengraft.formats.adapters import WEIGHTS, Adapter
from tokengraft.formats.rows import widen
from tokengraft.planning.placing import Piece, Update
from tokengraft.tensors import DTYPE_BITS, TensorRef

RECENT = 2  # tensors of an adapter that are kept at hand: those of one module
LARGEST = {"BF16": 3.3895e38, "F16": 65504.0, "F32": 3.4028e38, "F64": 1.7976e308}


@dataclass(frozen=True, slots=True)
class Factor:
    """A tensor for the sidecar; its bytes are made when they are written.

    Attributes:
        data: gives them, [shape] in row-major order.
    """

    dtype: str
    shape: tuple[int, int]
    data: Callable[[], bytes]

    @property
    def size_bytes(self) -> int:
        return prod(self.shape) * DTYPE_BITS[self.dtype] // 8


@dataclass(frozen=True, slots=True)
class Pair:
    """Both factors of a module, and what they are to it."""

    update: Update
    a: TensorRef
    b: TensorRef


class Cutter:
    """Cuts factors into those of one piece, in the adapter's own bits.

    The last few tensors stay in memory, turned so that each expert's part is in one place: the
    factors of one module are asked for one expert after the other.
    """

    def __init__(self, adapter: Adapter, tensors: Mapping[str, TensorRef]) -> None:
        self._adapter = adapter
        self._tensors = tensors
        self._recent: dict[tuple[str, int], NDArray[np.unsignedinteger]] = {}

    def cut(self, pair: Pair, piece: Piece, scale: float) -> tuple[Factor, Factor]:
        """The factors of one piece: a [R, D], b [N, R].

        Asking for the bytes of b raises MalformedFile where a value is no number, or where values
        are so large that a sum might not fit the tensor.
        """
        n_experts, expert = piece.n_experts, piece.expert
        rank = pair.update.ranks // n_experts
        first, last = piece.outputs or (0, pair.update.n_out)

        def a_data() -> bytes:
            a_ERD = self._bits(pair.a, (n_experts, rank, pair.update.n_in), (0, 1, 2))
            data: bytes = a_ERD[expert].tobytes()
            return data

        def b_data() -> bytes:
            b_ENR = self._bits(pair.b, (pair.update.n_out, rank, n_experts), (2, 0, 1))
            data: bytes = b_ENR[expert, first:last].tobytes()
            a_RD = widen(a_data(), pair.a.dtype).reshape(rank, -1)
            b_NR = widen(data, pair.b.dtype).reshape(-1, rank)
            with np.errstate(all="ignore"):
                # No sum of R products is larger than that of the largest of each rank.
                largest_R = np.abs(a_RD).max(axis=1) * np.abs(b_NR).max(axis=0)
                most = float(largest_R.sum()) * abs(scale)
            dtype = self._tensors[piece.tensor].dtype
            if not most < LARGEST[dtype]:
                raise _too_large(pair, dtype, is_number=bool(np.isfinite(most)))
            return data

        return (
            Factor(pair.a.dtype, (rank, pair.update.n_in), a_data),
            Factor(pair.b.dtype, (last - first, rank), b_data),
        )

    def _bits(
        self, ref: TensorRef, shape: tuple[int, int, int], axes: tuple[int, int, int]
    ) -> NDArray[np.unsignedinteger]:
        """A factor as bits, experts first."""
        key = (ref.name, shape[axes[0]])
        if key not in self._recent:
            while len(self._recent) >= RECENT:
                del self._recent[next(iter(self._recent))]
            bits = np.frombuffer(self._adapter.raw(ref.name), f"<u{DTYPE_BITS[ref.dtype] // 8}")
            self._recent[key] = np.ascontiguousarray(bits.reshape(shape).transpose(axes))
        return self._recent[key]


def _too_large(pair: Pair, dtype: str, *, is_number: bool) -> MalformedFile:
    return MalformedFile(
        "the adapter cannot be added without damage",
        detail=f"{pair.update.module}: its values, times the scale, can exceed what {dtype} holds"
        if is_number
        else f"{pair.update.module}: it holds a value that is no number (NaN or infinite)",
        subject=f"{WEIGHTS}#{pair.b.name}",
        hint="train again with a smaller learning rate, or use an earlier checkpoint of the adapter",
    )
