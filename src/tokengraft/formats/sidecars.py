"""The sidecar as one file: columns and rows of a plan, and factors that are read as they are written."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors

from tokengraft.errors import LimitExceeded

MAX_SIDECAR_BYTES = 4 << 30  # what `read_plan` reads


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


def sidecar_bytes(
    columns: Mapping[str, NDArray[np.generic]], factors: Mapping[str, LazyTensor]
) -> bytes:
    """Write all tensors as one safetensors file; each factor is in memory once.

    Raises:
        LimitExceeded: it would be larger than any sidecar that is read.
    """
    own = save_tensors(dict(sorted(columns.items()))) if columns else b""
    if not factors:
        return own
    length = struct.unpack("<Q", own[:8])[0] if own else 0
    entries = json.loads(own[8 : 8 + length]) if own else {}
    n_bytes = sum(factor.size_bytes for factor in factors.values())
    if n_bytes + len(own) > MAX_SIDECAR_BYTES:
        raise LimitExceeded(
            "the sidecar would be too large",
            detail=f"{n_bytes + len(own):,} bytes, at most {MAX_SIDECAR_BYTES:,} are read",
            hint="save the adapter in bfloat16, or merge it with PEFT",
        )
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
    written = io.BytesIO()  # which hands its bytes over without a copy
    written.write(struct.pack("<Q", len(text)) + text)
    for factor in factors.values():
        made = factor.data()
        assert len(made) == factor.size_bytes
        written.write(made)
    written.write(memoryview(own)[8 + length :])
    return written.getvalue()
