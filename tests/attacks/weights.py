"""Attacks on weights: headers that lie, indexes that lead away, files that are no files."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tiny
from attacks.registry import Attack, Build

INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def model(folder: Path, **wish: Any) -> Path:
    """An honest checkpoint, to be spoiled."""
    return tiny.build(folder / "model", **wish)


def header(text: bytes | dict[str, Any], data: bytes = bytes(8), *, length: int = -1) -> Build:
    """Put this header into the place of the model's weights."""

    def build(folder: Path) -> list[str]:
        raw = text if isinstance(text, bytes) else json.dumps(text).encode()
        size = struct.pack("<Q", len(raw) if length < 0 else length)
        (model(folder) / "model.safetensors").write_bytes(size + raw + data)
        return ["audit", "model"]

    return build


def _entry(**fields: Any) -> dict[str, Any]:
    return {"w": F32 | fields}


def _many(count: int) -> dict[str, Any]:
    return {f"{n}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for n in range(count)}


def _sparse(size: int) -> Build:
    """A file of this size of which nothing is on the disk, whose header is all of it."""

    def build(folder: Path) -> list[str]:
        with (model(folder) / "model.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", size - 8) + b"{")
            file.truncate(size)
        return ["audit", "model"]

    return build


DEEP = b'{"w":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
TWICE = b'{"w":%s,"w":%s}' % (json.dumps(F32).encode(), json.dumps(F32 | {"dtype": "I32"}).encode())
HEADERS: dict[str, tuple[Build, str]] = {
    "overlap": (header({"v": F32, "w": F32 | {"data_offsets": [4, 12]}}, bytes(12)), "MalformedFile"),
    "hole": (header({"v": F32, "w": F32 | {"data_offsets": [12, 20]}}, bytes(20)), "MalformedFile"),
    "bytes behind the last tensor": (header({"w": F32}, bytes(9)), "MalformedFile"),
    "data that are missing": (header({"w": F32}, bytes(7)), "MalformedFile"),
    "a length of 2^64 - 1": (header(b"{}", length=2**64 - 1), "LimitExceeded"),
    "a length beyond the file": (header(b"{}", length=50_000), "MalformedFile"),
    "a header of 200 MB": (_sparse(200_000_000), "LimitExceeded"),
    "a header of 90 MB of zeros": (_sparse(90_000_000), "MalformedFile"),
    "a name twice": (header(TWICE), "MalformedFile"),
    "a shape that overflows": (header(_entry(shape=[2**33, 2**33])), "MalformedFile"),
    "a shape of 2^80": (header(_entry(shape=[2**80])), "MalformedFile"),
    "a negative offset": (header(_entry(data_offsets=[-8, 0])), "MalformedFile"),
    "an offset of minus nought": (header(b'{"w":{"dtype":"F32","shape":[2],"data_offsets":[-0,8]}}'),
                                  "MalformedFile"),
    "offsets in floating point": (header(_entry(data_offsets=[0.0, 8.0])), "MalformedFile"),
    "offsets the wrong way round": (header(_entry(data_offsets=[8, 0])), "MalformedFile"),
    "a size that is not that of the dtype": (header(_entry(dtype="F64")), "MalformedFile"),
    "an unknown dtype": (header(_entry(dtype="F99")), "MalformedFile"),
    "a shape that is an object": (header(_entry(shape={})), "MalformedFile"),
    "100,000 levels": (header(DEEP), "LimitExceeded"),
    "NaN": (header(b'{"w":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}'), "MalformedFile"),
    "bytes that are not UTF-8": (header(b'{"\xff\xfe":{}}'), "MalformedFile"),
    "half a surrogate pair": (header(b'{"\\ud800":%s}' % json.dumps(F32).encode()), "MalformedFile"),
    "NUL in a name": (header({"w\0": F32}), "MalformedFile"),
    "a name of a megabyte": (header({"w" * 2**20: F32}), "LimitExceeded"),
    "a blank before the header": (header(b" " + json.dumps({"w": F32}).encode()), "MalformedFile"),
    "an unknown field": (header(_entry(evil=1)), "MalformedFile"),
    "metadata that is no text": (header({"__metadata__": {"a": 1}, "w": F32}), "MalformedFile"),
    "200,001 tensors": (header(_many(200_001), b""), "LimitExceeded"),
    "no bytes at all": (lambda folder: _spoil(folder, "model.safetensors", b""), "MalformedFile"),
    "a pickle by the name of weights": (
        lambda folder: _spoil(folder, "model.safetensors", b"\x80\x04cos\nsystem\n(S'id'\ntR."),
        "LimitExceeded"),
}  # fmt: skip


def _spoil(folder: Path, name: str, data: bytes) -> list[str]:
    (model(folder) / name).write_bytes(data)
    return ["audit", "model"]


# ── indexes ──────────────────────────────────────────────────────────────────────────────────────


def index(shard: str, *, total: Any = 64, text: bytes | None = None) -> Build:
    """Let the index send the reader for one tensor to this file."""

    def build(folder: Path) -> list[str]:
        place = model(folder, shards=2)
        path = place / INDEX
        value = json.loads(path.read_bytes())
        value["weight_map"]["model.norm.weight"] = shard
        value["metadata"] = {"total_size": total}
        path.write_bytes(json.dumps(value).encode() if text is None else text)
        return ["audit", "model"]

    return build


NAMES = {
    "a step up": "../secret.safetensors",
    "an absolute path": "/etc/passwd",
    "a backslash": "..\\secret.safetensors",
    "a drive": "C:secret.safetensors",
    "a share": "\\\\host\\share\\x.safetensors",
    "NUL": "a\0.safetensors",
    "a device": "CON.safetensors",
    "a device with a figure": "com1.safetensors",
    "a trailing dot": "model.safetensors.",
    "a look-alike slash": "..∕secret.safetensors",
    "a folder": "a/b.safetensors",
    "a name of two spellings": "e\u0301.safetensors",
    "a name that turns around": "x\u202esrotcennefas.safetensors",
    "a name of a kilobyte": "x" * 1024,
    "no name": "",
    "another case": SHARDS[0].upper(),
}
INDEXES: dict[str, tuple[Build, str]] = {
    **{f"an index with {what}": (index(name), "UnsafePath") for what, name in NAMES.items()},
    "an index that names a shard that is not there": (index("model-3.safetensors"), "F101"),
    "an index with a size that is a text": (index(SHARDS[0], total="64"), "MalformedFile"),
    "an index with a size below nought": (index(SHARDS[0], total=-1), "MalformedFile"),
    "an index that is a list": (index("", text=b"[]"), "MalformedFile"),
    "an index with a key twice": (
        index("", text=b'{"weight_map":{"a":"a.safetensors","a":"b.safetensors"}}'), "MalformedFile"),
    "an index of 20,000 shards": (
        index("", text=json.dumps({"weight_map": {f"{n}": f"{n}.safetensors" for n in range(20_000)}}
                                  ).encode()), "LimitExceeded"),
}  # fmt: skip

# ── files that are no files ──────────────────────────────────────────────────────────────────────


def _replace(name: str, make: Callable[[Path], object], *command: str) -> Build:
    def build(folder: Path) -> list[str]:
        path = model(folder) / name
        path.unlink(missing_ok=True)
        make(path)
        return [*command] or ["audit", "model"]

    return build


def _link(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # the address of a socket is short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def _deep_folders(path: Path) -> None:
    here = Path.cwd()
    path.mkdir()
    os.chdir(path)
    try:
        for _ in range(300):
            Path("d").mkdir()
            os.chdir("d")
    finally:
        os.chdir(here)


def _sparse_file(size: int) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(size)

    return make


def _pickles(folder: Path) -> list[str]:
    place = model(folder, shards=0)
    (place / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    return ["audit", "model"]


FILES: dict[str, tuple[Build, int, str]] = {
    "weights that are a link to /etc/passwd": (
        _replace("model.safetensors", _link("/etc/passwd")), 1, "S101"),
    "a configuration that is a link out": (
        _replace("generation_config.json", _link("/etc/passwd")), 1, "S101"),
    "a link to itself": (_replace("model.safetensors", _link("model.safetensors")), 1, "S101"),
    "a link to a folder": (_replace("chat_template.jinja", _link("/")), 1, "S101"),
    "a template that is a pipe": (_replace("chat_template.jinja", os.mkfifo), 1, "S101"),
    "weights that are a pipe": (_replace("model.safetensors", os.mkfifo), 1, "S101"),
    "a tokenizer that is a socket": (_replace("vocab.json", _socket), 1, "S101"),
    "a link to a device": (_replace("merges.txt", _link("/dev/zero")), 1, "S101"),
    "a tokenizer.json of 300 MB": (
        _replace("tokenizer.json", _sparse_file(300_000_000)), 3, "LimitExceeded"),
    "folders 300 deep": (_replace("d", _deep_folders), 3, "LimitExceeded"),
    "weights that are a pickle": (_pickles, 3, "UnsupportedFormat"),
}  # fmt: skip


def attacks() -> Iterator[Attack]:
    """All of them."""
    for name, (build, expects) in HEADERS.items():
        yield Attack(f"header: {name}", build, 3, expects)
    for name, (build, expects) in INDEXES.items():
        yield Attack(name, build, 1 if expects[0] == "F" else 3, expects)
    for name, (build, code, expects) in FILES.items():
        yield Attack(name, build, code, expects)
