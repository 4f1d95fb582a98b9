"""Tensors as bytes, by hand: what the code under test does for a living is done here without it."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tensor = tuple[str, tuple[int, ...], bytes]  # dtype, shape, little-endian bytes
_WIDTH = {"F64": 8, "I64": 8, "F32": 4, "BF16": 2, "F16": 2, "U8": 1, "I8": 1, "BOOL": 1}


def encode(values: NDArray[np.float32], dtype: str) -> bytes:
    """Little-endian bytes of an array, rounded to nearest even."""
    if dtype == "BF16":
        bits = values.astype("<f4").view("<u4")
        rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
        return (rounded >> np.uint32(16)).astype("<u2").tobytes()
    return values.astype({"F16": "<f2", "F32": "<f4"}[dtype]).tobytes()


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a file as the safetensors library does: wide dtypes first, then by name."""
    order = sorted(tensors, key=lambda name: (-_WIDTH[tensors[name][0]], name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in order:
        dtype, shape, payload = tensors[name]
        offsets = [at, at := at + len(payload)]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(tensors[name][2] for name in order)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_weights(folder: Path, tensors: Mapping[str, Tensor], *, shards: int) -> None:
    """Write one file, or two and an index, cut in the middle of the model's own order."""
    if shards == 1:
        write_safetensors(folder / "model.safetensors", tensors)
        return
    names = list(tensors)
    files = [f"model-{n:05d}-of-00002.safetensors" for n in (1, 2)]
    where = {name: files[2 * at >= len(names)] for at, name in enumerate(names)}
    for file in files:
        part = {name: tensor for name, tensor in tensors.items() if where[name] == file}
        write_safetensors(folder / file, part)
    total = sum(len(payload) for _, _, payload in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    text = json.dumps(index, indent=2) + "\n"
    (folder / "model.safetensors.index.json").write_bytes(text.encode())


def tensor_bytes(folder: Path) -> dict[str, Tensor]:
    """Every tensor of every safetensors file in a folder, read by hand."""
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        raw = path.read_bytes()
        (n_header,) = struct.unpack("<Q", raw[:8])
        header = json.loads(raw[8 : 8 + n_header])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            assert name not in tensors, f"{name} is in two files"
            begin, end = (8 + n_header + offset for offset in entry["data_offsets"])
            tensors[name] = (entry["dtype"], tuple(entry["shape"]), raw[begin:end])
    return tensors


def row_bytes(folder: Path, name: str) -> list[bytes]:
    """The rows of one tensor, one after the other."""
    _, shape, payload = tensor_bytes(folder)[name]
    width = len(payload) // shape[0]
    return [payload[at : at + width] for at in range(0, len(payload), width)]
