"""The sidecar as one file: columns and rows of a plan, and factors that are read as they are written."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors


class LazyTensor(Protocol):
    """A tensor whose bytes are made when they are asked for."""

    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def data(self) -> Callable[[], bytes]: ...


@dataclass(frozen=True, slots=True)
class PackedSidecar:
    """A sidecar as its file will hold it; factors stay where they are until their turn comes.

    Attributes:
        head: the header, and all else where there are no factors.
        factors: what lies behind the header.
        tail: columns and rows, behind the factors.
    """

    head: bytes
    factors: Mapping[str, LazyTensor] = field(default_factory=dict)
    tail: bytes = b""

    @property
    def size_bytes(self) -> int:
        n_factors = sum(factor.size_bytes for factor in self.factors.values())
        return len(self.head) + n_factors + len(self.tail)

    def blocks(self) -> Iterator[bytes]:
        """All bytes, one factor at a time; each call reads the factors again.

        Raises:
            What reading a factor raises: its file is gone, shorter, or holds what damages weights.
        """
        yield self.head
        for factor in self.factors.values():
            yield factor.data()
        yield self.tail

    def digest(self) -> str:
        """The sha256 of all bytes, in hexadecimal."""
        found = hashlib.sha256()
        for block in self.blocks():
            found.update(block)
        return found.hexdigest()


def pack_tensors(
    columns: Mapping[str, NDArray[np.generic]], factors: Mapping[str, LazyTensor]
) -> PackedSidecar:
    """Lay out all tensors as one safetensors file: factors first, then the others by name."""
    own = save_tensors(dict(sorted(columns.items()))) if columns else b""
    if not factors:
        return PackedSidecar(own)
    length = struct.unpack("<Q", own[:8])[0] if own else 0
    entries = json.loads(own[8 : 8 + length]) if own else {}
    header: dict[str, object] = {}
    at = 0
    for name, factor in factors.items():
        end = at + factor.size_bytes
        place = {"dtype": factor.dtype, "shape": list(factor.shape), "data_offsets": [at, end]}
        header[name], at = place, end
    for name, entry in entries.items():
        first, last = entry["data_offsets"]
        header[name] = {**entry, "data_offsets": [at + first, at + last]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return PackedSidecar(struct.pack("<Q", len(text)) + text, factors, own[8 + length :])
