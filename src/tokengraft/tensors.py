"""Tensors as places in files: names, shapes and byte ranges, never their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

# Bits an element, by the names that safetensors 0.8 gives them (its `Dtype` enum).
DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
}

# The kinds of number in which a new row can be computed and rounded once.
ROW_DTYPES = ("BF16", "F16", "F32", "F64")


@dataclass(frozen=True, slots=True)
class TensorRef:
    """One tensor on disk.

    `begin` and `end` count bytes from the start of the file (not of its data section).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: str
    begin: int
    end: int

    @property
    def size_bytes(self) -> int:
        return self.end - self.begin

    @property
    def n_elements(self) -> int:
        return prod(self.shape)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row, a row being everything behind the first axis."""
        return self.size_bytes // self.shape[0] if self.shape and self.shape[0] else 0


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One safetensors file: its header as read, and where its data begin."""

    path: str
    size_bytes: int
    header: bytes
    data_begin: int
    metadata: Mapping[str, str] | None
    tensors: tuple[TensorRef, ...]  # in the order of their bytes


@dataclass(frozen=True, slots=True)
class TensorIndex:
    """Every tensor of a checkpoint, over all its weight files.

    Attributes:
        index_file: the `*.safetensors.index.json`, None for a single file.
        total_size: what the index says the tensors weigh, in bytes; None without an index.
        missing_files: files that the index names and the folder lacks.
        misplaced: tensors that the index names in a file that does not hold them.
    """

    files: Mapping[str, WeightsFile]
    tensors: Mapping[str, TensorRef]
    index_file: str | None = None
    total_size: int | None = None
    missing_files: tuple[str, ...] = ()
    misplaced: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """What the tensors really weigh."""
        return sum(ref.size_bytes for ref in self.tensors.values())
