"""safetensors files: headers read strictly, headers written anew, and the index of shards.

Only headers are read here, with bounded reads and no mapping of memory (a file that is cut off
under a mapping kills the process). What the `safetensors` library refuses is refused; so is what it
lets pass though other readers see something else: a name twice, unknown fields, a blank before the
header.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Mapping
from math import prod
from pathlib import Path
from types import MappingProxyType

from tokengraft.checkpoint import ByteSource, JsonText, JsonValue
from tokengraft.errors import (
    LimitExceeded,
    MalformedFile,
    ReadFailed,
    SourceChanged,
    UnsafePath,
    UsageError,
)
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.pointers import refuse_pointer
from tokengraft.formats.whole_files import open_regular
from tokengraft.tensors import DTYPE_BITS, TensorRef, WeightsFile

MAX_HEADER_BYTES = 100_000_000  # the library's own limit
MAX_TENSORS = 200_000
MAX_VALUES = 20 * MAX_TENSORS  # a tensor of four dimensions has eleven
MAX_NAME_BYTES = 1024
MAX_SHARDS = 10_000
PREFIX_BYTES = 8
METADATA = "__metadata__"
Shape = tuple[int, ...]
NOTHING_ADDED: Mapping[str, tuple[str, Shape]] = MappingProxyType({})

_FIELDS = {"dtype", "shape", "data_offsets"}
_U64 = 2**64
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # all that Unicode calls Cc
_SEPARATORS = frozenset('/\\:*?"<>|∕⁄⧸⧵╱╲')  # and what only looks like a slash
_DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{port}{digit}" for port in ("COM", "LPT") for digit in "123456789¹²³"
}


def read_header(path: Path, *, file: str, size_bytes: int) -> WeightsFile:
    """Read the header of a file, and nothing behind it.

    Args:
        path: where the bytes are.
        file: the name to put into values and errors.
        size_bytes: the size found when the folder was listed.
    Raises:
        MalformedFile, LimitExceeded: as `parse_header`.
        SourceChanged: the file has another size by now.
        ReadFailed, UnsafePath: the operating system refused, or it is no regular file.
    """
    try:
        with os.fdopen(open_regular(path, subject=file), "rb", buffering=0) as opened:
            size_now = opened.seek(0, 2)
            opened.seek(0)
            prefix = opened.read(PREFIX_BYTES)
            length = _header_length(prefix, file, size_bytes)
            pieces, missing = [prefix], length
            while missing and (piece := opened.read(missing)):
                pieces.append(piece)
                missing -= len(piece)
    except OSError as error:
        raise ReadFailed(
            "a weight file could not be read", detail=error.strerror or "", subject=file
        ) from error
    if size_now != size_bytes or missing:
        raise SourceChanged(
            "a weight file changed while it was being read",
            detail=f"{size_bytes} bytes when the folder was listed, {size_now} now",
            subject=file,
        )
    return parse_header(b"".join(pieces), file=file, size_bytes=size_bytes)


def fetch_header(source: ByteSource, *, file: str) -> WeightsFile:
    """Read the header of a file that is read by range: eight bytes, and what they announce.

    Raises:
        MalformedFile, LimitExceeded: as `parse_header`; what a source raises.
    """
    size_bytes = source.size_bytes
    prefix = source.read(0, min(PREFIX_BYTES, size_bytes))
    length = _header_length(prefix, file, size_bytes)
    text = source.read(PREFIX_BYTES, PREFIX_BYTES + length)
    return parse_header(prefix + text, file=file, size_bytes=size_bytes)


def parse_header(header: bytes, *, file: str, size_bytes: int) -> WeightsFile:
    """Parse a header: the length in eight bytes, and the JSON that they announce.

    Args:
        header: the first bytes of the file, up to where the data begin.
        file: the name to put into values and errors.
        size_bytes: the size of the whole file; the tensors must fill it without a gap.
    Raises:
        MalformedFile: it does not follow the format, or says something twice.
        LimitExceeded: more than 100 MB, 200,000 tensors, 1 KiB in a name, or deep nesting.
    """
    length = _header_length(header[:PREFIX_BYTES], file, size_bytes)
    text = header[PREFIX_BYTES:]
    if len(text) != length:
        raise _malformed(file, "the header is cut off")
    if not text.startswith(b"{") or not text.rstrip(b" ").endswith(b"}"):
        raise _malformed(file, "the header must begin with { and end with } and spaces")
    entries = parse_json(text, file=file, max_values=MAX_VALUES).value
    assert isinstance(entries, dict)
    if b"-" in text:
        _refuse_minus(text, file)
    metadata = _metadata(entries, file) if METADATA in entries else None
    if len(entries) - (METADATA in entries) > MAX_TENSORS:
        raise LimitExceeded("too many tensors", detail=f"at most {MAX_TENSORS}", subject=file)
    tensors = [
        _tensor(name, entry, file, len(header))
        for name, entry in entries.items()
        if name != METADATA
    ]
    tensors.sort(key=lambda ref: (ref.begin, ref.end))
    _check_cover(tensors, file, len(header), size_bytes)
    return WeightsFile(file, size_bytes, header, len(header), metadata, tuple(tensors))


def _header_length(prefix: bytes, file: str, size_bytes: int) -> int:
    if len(prefix) < PREFIX_BYTES:
        raise _malformed(file, "it is shorter than the eight bytes that every such file has")
    refuse_pointer(prefix, file)
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        raise LimitExceeded(
            "the header is too large",
            detail=f"{length} bytes announced, at most {MAX_HEADER_BYTES} are read",
            subject=file,
        )
    if PREFIX_BYTES + length > size_bytes:
        raise _malformed(file, f"a header of {length} bytes in a file of {size_bytes}")
    return length


def _malformed(file: str, detail: str, name: str | None = None) -> MalformedFile:
    if name is not None:
        detail = f"tensor {json.dumps(name)[:120]}: {detail}"
    return MalformedFile("not a valid safetensors file", detail=detail, subject=file)


def _refuse_minus(text: bytes, file: str) -> None:
    # Python reads -0 as the integer 0; the library does not take it for a size.
    def natural(digits: str) -> int:
        if digits.startswith("-"):
            raise _malformed(file, f"the negative number {digits[:40]}")
        return int(digits)

    json.loads(text, parse_int=natural)


def _metadata(entries: Mapping[str, JsonValue], file: str) -> dict[str, str]:
    value = entries[METADATA]
    if not isinstance(value, dict):
        raise _malformed(file, f"{METADATA} is not an object")
    texts = {key: text for key, text in value.items() if isinstance(text, str)}
    if len(texts) != len(value):
        raise _malformed(file, f"{METADATA} holds something that is not a string")
    return texts


def _check_name(name: str, file: str) -> None:
    if len(name.encode()) > MAX_NAME_BYTES:
        raise LimitExceeded(
            "a tensor's name is too long", detail=f"at most {MAX_NAME_BYTES} bytes", subject=file
        )
    if _CONTROL.search(name):
        raise _malformed(file, "a control character in the name", name)


def _tensor(name: str, entry: JsonValue, file: str, data_begin: int) -> TensorRef:
    _check_name(name, file)
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise _malformed(file, f"it must have just the fields {', '.join(sorted(_FIELDS))}", name)
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise _malformed(file, f"unknown dtype {json.dumps(dtype)[:40]}", name)
    begin, end = _naturals(offsets, "data_offsets", file, name, length=2)
    dims = _naturals(shape, "shape", file, name)
    if begin > end or end - begin != _size_bytes(dtype, dims):
        raise _malformed(file, f"{end - begin} bytes do not hold {dtype} {list(dims)[:16]}", name)
    return TensorRef(name, dtype, dims, file, data_begin + begin, data_begin + end)


def _naturals(
    value: JsonValue, field: str, file: str, name: str, *, length: int | None = None
) -> tuple[int, ...]:
    """Read an array of numbers as the library does: unsigned, of 64 bits."""
    found = value if isinstance(value, list) else []
    numbers = tuple(n for n in found if type(n) is int and 0 <= n < _U64)
    if not isinstance(value, list) or len(numbers) != len(value):
        raise _malformed(file, f"{field} is not a list of whole numbers of 64 bits", name)
    if length is not None and len(numbers) != length:
        raise _malformed(file, f"{field} must have {length} numbers", name)
    return numbers


def _size_bytes(dtype: str, dims: tuple[int, ...]) -> int | None:
    """Count the bytes of a shape; None where 64 bits overflow on the way, or bits are left over."""
    count = 1
    for factor in (*dims, DTYPE_BITS[dtype]):
        count *= factor
        if count >= _U64:
            return None
    return None if count % 8 else count // 8


def _check_cover(tensors: list[TensorRef], file: str, data_begin: int, size_bytes: int) -> None:
    at = data_begin
    for ref in tensors:
        if ref.begin != at:
            kind = "overlaps the one before it" if ref.begin < at else "leaves a hole before it"
            raise _malformed(file, kind, ref.name)
        at = ref.end
    if at != size_bytes:
        kind = "data are missing" if at > size_bytes else "bytes follow the last tensor"
        raise _malformed(file, f"{kind}: the tensors end at {at}, the file at {size_bytes}")


def rewrite_header(
    weights: WeightsFile,
    shapes: Mapping[str, Shape],
    added: Mapping[str, tuple[str, Shape]] = NOTHING_ADDED,
) -> tuple[bytes, tuple[TensorRef, ...]]:
    """Write the header of the same tensors with other shapes, and of new ones.

    The order of the tensors, in the JSON and in the data, their dtypes and the metadata stay. The
    bytes are those of the old header if no shape differs and nothing is added.

    Args:
        weights: the file as it was read.
        shapes: new shapes by name.
        added: new tensors by name: that behind whose data each lies, whose dtype it has, and its shape.
    Returns:
        The new header (its length in eight bytes, JSON, spaces up to a multiple of 8), and the
        tensors at their new places, in the order of their data.
    Raises:
        UsageError: a name that the file does not have, or a shape that no whole bytes hold.
        LimitExceeded: the new header would be too large to be read again.
    """
    by_name = {ref.name: ref for ref in weights.tensors}
    for name in (*shapes, *(behind for behind, _ in added.values())):
        if name not in by_name:
            raise UsageError("no such tensor", subject=f"{weights.path}: {name}")
    for name in added:
        if name in by_name:
            raise UsageError("a tensor of this name is there", subject=f"{weights.path}: {name}")
    if not added and all(by_name[name].shape == tuple(shape) for name, shape in shapes.items()):
        return weights.header, weights.tensors
    places = _new_places(weights, shapes, added)
    entries: dict[str, object] = dict(json.loads(weights.header[PREFIX_BYTES:]))
    for name, (shape, begin, end) in places.items():
        old = entries.get(name, {"dtype": by_name[added[name][0]].dtype} if name in added else None)
        assert isinstance(old, dict)
        entries[name] = old | {"shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise LimitExceeded("the new header would be too large", subject=weights.path)
    header = len(text).to_bytes(PREFIX_BYTES, "little") + text
    # Read back, so that tensors of no bytes come in the order in which a reader will find them.
    end = len(header) + max((end for _, _, end in places.values()), default=0)
    return header, parse_header(header, file=weights.path, size_bytes=end).tensors


def _new_places(
    weights: WeightsFile,
    shapes: Mapping[str, Shape],
    added: Mapping[str, tuple[str, Shape]],
) -> dict[str, tuple[Shape, int, int]]:
    """Lay the tensors one behind the other: shape, begin and end from the start of the data."""
    places: dict[str, tuple[Shape, int, int]] = {}
    at = 0
    for ref in weights.tensors:
        own = {ref.name: tuple(shapes.get(ref.name, ref.shape))}
        own |= {name: tuple(shape) for name, (behind, shape) in added.items() if behind == ref.name}
        for name, shape in own.items():
            size = None if min(shape, default=0) < 0 else _size_bytes(ref.dtype, shape)
            if size is None:
                raise UsageError(
                    "a tensor cannot have this shape",
                    detail=f"{ref.dtype} {list(shape)}: {prod(shape)} elements",
                    subject=f"{weights.path}: {name}",
                )
            places[name] = (shape, at, at + size)
            at += size
    return places


def read_index(document: JsonText, *, file: str) -> tuple[int | None, dict[str, str]]:
    """Read which shard holds which tensor, from a `*.safetensors.index.json`.

    Returns:
        What the index says the tensors weigh in bytes (None if it says nothing), and the name of
        the shard by that of the tensor.
    Raises:
        MalformedFile: not an index.
        UnsafePath: a shard's name is not one plain name in the same folder.
        LimitExceeded: more than 10,000 shards, or 1 KiB in a name.
    """
    value = document.value
    weight_map = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(weight_map, dict):
        raise MalformedFile("not an index of shards", detail="it has no weight_map", subject=file)
    found: dict[str, str] = {}
    for name, shard in weight_map.items():
        if not isinstance(shard, str):
            raise MalformedFile(
                "not an index of shards",
                detail=f"the shard of {json.dumps(name)[:120]} is not a text",
                subject=f"{file}#/weight_map",
            )
        _check_name(name, file)
        found[name] = shard
    _check_shards(set(found.values()), file)
    return _total_size(value.get("metadata"), file), found


def _total_size(metadata: JsonValue, file: str) -> int | None:
    if metadata is None:
        return None
    total = metadata.get("total_size") if isinstance(metadata, dict) else metadata
    if total is None:
        return None
    # Some writers summed in floating point.
    if isinstance(total, bool) or not isinstance(total, int | float) or total < 0 or total % 1:
        raise MalformedFile(
            "not an index of shards",
            detail="total_size is not a number of bytes",
            subject=f"{file}#/metadata",
        )
    return int(total)


def _check_shards(shards: set[str], file: str) -> None:
    if len(shards) > MAX_SHARDS:
        raise LimitExceeded("too many shards", detail=f"at most {MAX_SHARDS}", subject=file)
    folded: dict[str, str] = {}
    for shard in sorted(shards):
        problem = unsafe_name(shard)
        other = folded.setdefault(unicodedata.normalize("NFC", shard).casefold(), shard)
        if not problem and other != shard:
            problem = f"differs from {json.dumps(other)[:80]} by case alone"
        if problem:
            raise UnsafePath(
                "a shard's name is not safe",
                detail=f"{json.dumps(shard)[:120]}: {problem}",
                subject=f"{file}#/weight_map",
            )


def unsafe_name(name: str) -> str:
    """Say why a name out of a file must not be opened; "" for one plain name that every system has.

    What looks like a slash, a device of Windows or a name of two spellings is refused everywhere,
    so that a checkpoint does not mean one thing here and another there.
    """
    if not name or set(name) <= {"."}:
        return "it names no file"
    if any(char in _SEPARATORS or not char.isprintable() for char in name):
        return "it holds a separator, a drive, a wildcard or an unprintable character"
    if name[-1] in ". " or name[0] == " ":
        return "it begins with a space, or ends in a dot or space"
    if name.partition(".")[0].rstrip().upper() in _DEVICES:
        return "it is a device on Windows"
    if unicodedata.normalize("NFKC", name) != name:
        return "it has a second spelling in Unicode"
    return "it is too long" if len(name.encode()) > 255 else ""  # noqa: PLR2004 - NAME_MAX
