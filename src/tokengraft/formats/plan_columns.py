"""The columns of a plan's sidecar, read by what their names promise; all else stays on the disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tokengraft.errors import LimitExceeded, MalformedFile
from tokengraft.formats.rows import read_range
from tokengraft.formats.safetensors_file import read_header
from tokengraft.formats.whole_files import let_go, open_regular
from tokengraft.tensors import TensorRef

Columns = dict[str, NDArray[Any]]

COLUMNS: Final = ("tokens.", "sources.")
MAX_COLUMN_BYTES = 256 << 20  # those of 100,000 tokens have some 20 MB
_NUMPY: Final = {"U8": "u1", "I64": "<i8", "F64": "<f8"}
# What a column holds, by the last part of its name; all others are whole numbers of 64 bits.
_BYTES = frozenset(
    {"kind", "action", "flags", "takes", "text", "use", "init", "why", "was", "piece"}
)
_FLOATS = frozenset({"weight", "at_most"})


def read_columns(path: Path) -> Columns:
    """Read the columns; stored values and factors stay on the disk.

    Raises:
        RefusedError: it is no such file, a column is of another kind than its name says, or they
            are larger than those of any plan.
        ReadFailed, SourceChanged: the system refuses, or the file becomes shorter.
    """
    file = open_regular(path)
    try:
        size = os.fstat(file).st_size
        refs = read_header(path, file=path.name, size_bytes=size).tensors
        chosen = [ref for ref in refs if ref.name.startswith(COLUMNS)]
        if sum(ref.size_bytes for ref in chosen) > MAX_COLUMN_BYTES:
            raise LimitExceeded(
                "the sidecar's columns are too large",
                detail=f"at most {MAX_COLUMN_BYTES} bytes",
                subject=str(path),
            )
        return {ref.name: _column(file, ref) for ref in chosen}
    finally:
        let_go(file)


def _column(file: int, ref: TensorRef) -> NDArray[Any]:
    part = ref.name.rpartition(".")[2]
    wanted = "U8" if part in _BYTES else "F64" if part in _FLOATS else "I64"
    if ref.dtype != wanted or len(ref.shape) != 1:
        raise MalformedFile(
            "the sidecar's columns are not what the plan says",
            detail=f"{ref.dtype} {list(ref.shape)[:8]} where a row of {wanted} is expected",
            subject=f"{ref.file}#{ref.name}"[:200],
        )
    return np.frombuffer(read_range(file, ref.begin, ref.end, subject=ref.file), _NUMPY[wanted])
