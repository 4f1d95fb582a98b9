"""`undo.safetensors`: the old bytes of what was replaced, and where they belong.

For each rewritten file there are two tensors: `splices:<path>`, I64 [k, 3], and `bytes:<path>`, U8.
A row of the first, (out_begin, out_end, old_length), says that the bytes of the new file from
out_begin to out_end stand where the next old_length bytes of the second stood; rows ascend. A file
that was dropped has its bytes alone.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokengraft.errors import MalformedFile
from tokengraft.formats.rows import read_range
from tokengraft.formats.safetensors_file import read_header
from tokengraft.formats.whole_files import let_go, open_regular
from tokengraft.tensors import TensorRef

UNDO = "undo.safetensors"
BLOCK_BYTES = 1 << 20
MAX_SPLICES = 1 << 22  # 100 MB of places; an honest record has thousands

Span = tuple[int, int, int]  # out_begin, out_end, old_length
OldBytes = Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Undoing:
    """What brings one file back: where (None for a dropped file), and the old bytes, on demand."""

    path: str
    spans: tuple[Span, ...] | None
    size_bytes: int
    old_bytes: OldBytes


@dataclass(frozen=True, slots=True)
class UndoEntry:
    """What an undo record holds for one file.

    Attributes:
        spans: None if the file was dropped, so that all its bytes are here.
        begin, end: where its old bytes lie in the record.
    """

    path: str
    spans: tuple[Span, ...] | None
    begin: int
    end: int


def undo_size(files: Sequence[Undoing]) -> int:
    """Bytes that `undo_blocks` will yield."""
    header, _, _ = _header(files)
    spans = sum(len(file.spans or ()) for file in files)
    return len(header) + 24 * spans + sum(file.size_bytes for file in files)


def undo_blocks(files: Sequence[Undoing]) -> Iterator[bytes]:
    """Write the record as blocks of bytes: the same files, the same bytes."""
    header, spliced, ordered = _header(files)
    yield header
    for file in spliced:
        yield np.array(file.spans, "<i8").reshape(-1, 3).tobytes()
    for file in ordered:
        yield from file.old_bytes()


def _header(files: Sequence[Undoing]) -> tuple[bytes, list[Undoing], list[Undoing]]:
    ordered = sorted(files, key=lambda file: file.path)
    spliced = [file for file in ordered if file.spans is not None]
    entries: dict[str, object] = {}
    at = 0
    for file in spliced:  # the wider kind first, so that both are aligned
        shape = [len(file.spans or ()), 3]
        end = at + 24 * shape[0]
        entries[f"splices:{file.path}"] = _entry("I64", shape, at, end)
        at = end
    for file in ordered:
        end = at + file.size_bytes
        entries[f"bytes:{file.path}"] = _entry("U8", [file.size_bytes], at, end)
        at = end
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text, spliced, ordered


def _entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def read_undo(path: Path) -> dict[str, UndoEntry]:
    """Read what a record holds, by file; the old bytes stay on disk.

    Raises:
        ReadFailed, MalformedFile: it cannot be read, or is no such record.
    """
    file = open_regular(path)
    try:
        refs = read_header(path, file=UNDO, size_bytes=os.fstat(file).st_size).tensors
        by_name = {ref.name: ref for ref in refs}
        entries: dict[str, UndoEntry] = {}
        for ref in refs:
            kind, _, name = ref.name.partition(":")
            if kind == "bytes" and ref.dtype == "U8" and len(ref.shape) == 1:
                spans = _spans(file, by_name.get(f"splices:{name}"), ref.size_bytes)
                entries[name] = UndoEntry(name, spans, ref.begin, ref.end)
            elif kind != "splices" or f"bytes:{name}" not in by_name:
                raise _malformed(ref.name, "not a tensor of an undo record")
        return entries
    finally:
        let_go(file)


def _spans(file: int, ref: TensorRef | None, n_old_bytes: int) -> tuple[Span, ...] | None:
    if ref is None:
        return None
    if ref.dtype != "I64" or ref.shape[1:] != (3,) or ref.shape[0] > MAX_SPLICES:
        raise _malformed(ref.name, f"{ref.dtype} {list(ref.shape)} where I64 [k, 3] is expected")
    table = np.frombuffer(read_range(file, ref.begin, ref.end, subject=UNDO), "<i8").reshape(-1, 3)
    spans = tuple((int(begin), int(end), int(length)) for begin, end, length in table)
    at = 0
    for begin, end, length in spans:
        if not at <= begin <= end or length < 0:
            raise _malformed(ref.name, f"({begin}, {end}, {length}) is out of order")
        at = end
    if sum(length for _, _, length in spans) != n_old_bytes:
        raise _malformed(ref.name, "the lengths do not add up to the old bytes")
    return spans


def _malformed(name: str, why: str) -> MalformedFile:
    return MalformedFile("not an undo record", detail=why, subject=f"{UNDO}#{name}")


def base_chunks(out_file: Path | None, entry: UndoEntry, undo_path: Path) -> Iterator[bytes]:
    """Stream the base's bytes of one file back, in constant memory.

    Args:
        out_file: the file as it is now; None for a dropped one.
    Raises:
        ReadFailed, SourceChanged: the system refuses, or a file ends before its last splice.
    """
    undo = open_regular(undo_path)
    try:
        if entry.spans is None:
            yield from _blocks(undo, entry.begin, entry.end, UNDO)
            return
        assert out_file is not None, "only a dropped file comes back from the record alone"
        out = open_regular(out_file)
        try:
            at, old = 0, entry.begin
            for begin, end, length in entry.spans:
                yield from _blocks(out, at, begin, entry.path)
                yield from _blocks(undo, old, old + length, UNDO)
                at, old = end, old + length
            yield from _blocks(out, at, os.fstat(out).st_size, entry.path)
        finally:
            let_go(out)
    finally:
        let_go(undo)


def _blocks(file: int, begin: int, end: int, subject: str) -> Iterator[bytes]:
    for at in range(begin, end, BLOCK_BYTES):
        yield read_range(file, at, min(at + BLOCK_BYTES, end), subject=subject)


def from_memory(data: bytes, ranges: Iterable[tuple[int, int]]) -> OldBytes:
    """Give ranges of bytes at hand as old bytes."""
    chosen = tuple(ranges)
    return lambda: (data[begin:end] for begin, end in chosen)
