"""Weight files with edited rows, written as a stream: tensors keep their order and their bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tokengraft.applying.hashing import Hashing, Tally
from tokengraft.applying.low_rank import updated
from tokengraft.applying.proving import Content
from tokengraft.applying.reading import CHUNK_BYTES, Meter, Source, old_bytes, reading
from tokengraft.applying.records import NO_SIDECAR, Sidecar
from tokengraft.applying.rows import RowFactory, changed_rows
from tokengraft.applying.staged import StagedFile, doing
from tokengraft.applying.store import Stage
from tokengraft.checkpoint import FileEntry
from tokengraft.formats.rows import RowReader
from tokengraft.formats.safetensors_file import rewrite_header
from tokengraft.formats.undo_file import Span, Undoing
from tokengraft.formats.whole_files import let_go
from tokengraft.low_rank import AddLowRank
from tokengraft.plans import Keep, RemapRows
from tokengraft.tensors import TensorRef, WeightsFile


@dataclass(frozen=True, slots=True)
class Shard:
    """A weight file before and after, as places.

    Attributes:
        edits: the row edits of tensors in it, by tensor.
        updates: the low-rank updates of tensors in it, by tensor; none of them has a row edit.
        header: all bytes before the data, as they will be.
        after: its tensors as they will be, in the order of their bytes.
    """

    entry: FileEntry
    weights: WeightsFile
    edits: Mapping[str, RemapRows]
    updates: Mapping[str, tuple[AddLowRank, ...]]
    header: bytes
    after: tuple[TensorRef, ...]

    @property
    def size_bytes(self) -> int:
        """What the new file will weigh."""
        return max((ref.end for ref in self.after), default=len(self.header))

    def undoing(self) -> Undoing | None:
        """What brings the file back: its header if that changes, and the rows that differ.

        None with low-rank updates: they change every number of a tensor, so the way back would be
        as large as the file, and the base itself serves as well.
        """
        if self.updates:
            return None
        spans: list[Span] = []
        ranges: list[tuple[int, int]] = []
        old_begin = self.weights.data_begin
        if self._changes_header:
            spans.append((0, len(self.header), old_begin))
            ranges.append((0, old_begin))
        for old, new in zip(self.weights.tensors, self.after, strict=True):
            if old.name not in self.edits:
                continue
            for first, count, was, replaced in changed_rows(self.edits[old.name]):
                begin = new.begin + first * old.row_bytes
                length = replaced * old.row_bytes
                spans.append((begin, begin + count * old.row_bytes, length))
                old_row = old.begin + was * old.row_bytes
                ranges.append((old_row, old_row + length))
        size = sum(end - begin for begin, end in ranges)
        return Undoing(self.entry.path, tuple(spans), size, old_bytes(self.entry, ranges))

    @property
    def _changes_header(self) -> bool:
        return any(edit.n_rows_before != edit.n_rows_after for edit in self.edits.values())


def shard_of(
    entry: FileEntry,
    weights: WeightsFile,
    edits: Mapping[str, RemapRows],
    updates: Mapping[str, tuple[AddLowRank, ...]],
) -> Shard:
    """Lay out a weight file anew; the header keeps its bytes unless a shape changes."""
    shapes = {
        ref.name: (edits[ref.name].n_rows_after, *ref.shape[1:])
        for ref in weights.tensors
        if ref.name in edits
    }
    header, after = rewrite_header(weights, shapes)
    return Shard(entry, weights, edits, updates, header, after)


class ShardWriter:
    """Writes one shard: feeds two digests, that of the old and of the new.

    Attributes:
        content: what has been written, to be compared with what reads back.
    """

    def __init__(
        self, shard: Shard, source: Source, file: StagedFile, new: tuple[Tally, int]
    ) -> None:
        self._shard = shard
        self._source = source
        self._file = file
        self._new, self._again = new
        self._seen = 0
        self.content = Content(shard.entry)

    def write(self, sidecar: Sidecar, meter: Meter) -> None:
        self._put(self._shard.header)
        for ref in self._shard.weights.tensors:
            edit = self._shard.edits.get(ref.name)
            if ref.name in self._shard.updates:
                rows = RowReader(self._source.file, ref)
                for data in updated(rows, self._shard.updates[ref.name], sidecar.factors):
                    self._put(data)
                    meter.add(ref.file, len(data))
            elif edit is None:
                self._copy(ref.begin, ref.end, meter)
            else:
                rows = RowReader(self._source.file, ref)
                for piece in RowFactory(rows, sidecar.rows.get(ref.name)).stream(edit):
                    if isinstance(piece, Keep):
                        self._copy(*rows.span(piece.first, piece.count), meter)
                    else:
                        self._put(piece)
                        meter.add(ref.file, len(piece))
            self._see(ref.end)
        self._see(self._source.entry.size_bytes)

    def _copy(self, begin: int, end: int, meter: Meter) -> None:
        self.content.copy(begin, end)
        for at, stop in _cut(begin, end):
            self._file.copy_range(self._source.file, at, stop - at)
            self._new.add_range(self._again, at, stop)
            # The old digest follows closely, while the pages are still in memory.
            self._see(min(stop, end))
            meter.add(self._source.entry.path, stop - at)

    def _put(self, data: bytes) -> None:
        self.content.compute(data)
        self._file.write(data)
        self._new.add(data)

    def _see(self, end: int) -> None:
        """Feed the old digest up to here; it sees each byte of the source once, in order."""
        for at, stop in _cut(self._seen, end):
            self._source.tally.add_range(self._source.file, at, stop)
        self._seen = max(self._seen, end)


def _cut(begin: int, end: int) -> Iterator[tuple[int, int]]:
    for at in range(begin, end, CHUNK_BYTES):
        yield at, min(at + CHUNK_BYTES, end)


def write_shard(
    stage: Stage,
    shard: Shard,
    hashing: Hashing,
    *,
    parts: Mapping[str, tuple[int, int]],
    sidecar: Sidecar | None,
    meter: Meter,
) -> tuple[Tally, Tally]:
    """Write one shard into the stage.

    Args:
        parts: ranges of the source that get digests of their own.
        sidecar: what the plan's values and factors lie in.
    Returns:
        The digests of the old file and of the new one, which may still be under way.
    """
    path = shard.entry.path
    with reading(shard.entry, hashing, parts) as source:
        with doing(path):
            again = os.dup(source.file)  # either digest may be the last to need the file
        new = hashing.tally(path, size=shard.size_bytes)
        try:
            with stage.create(path) as file:
                writer = ShardWriter(shard, source, file, (new, again))
                writer.write(sidecar or NO_SIDECAR, meter)
        finally:
            new.end(lambda: let_go(again))
        stage.reread(path, writer.content)
    return source.tally, new
