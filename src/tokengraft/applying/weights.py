"""Weight files with edited rows, written as a stream: tensors keep their order and their bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tokengraft.applying.hashing import Hashing, Tally
from tokengraft.applying.low_rank import updated
from tokengraft.applying.proving import Content
from tokengraft.applying.reading import CHUNK_BYTES, Meter, Source, old_bytes, reading
from tokengraft.applying.records import Sidecar
from tokengraft.applying.rows import RowFactory, changed_rows
from tokengraft.applying.staged import StagedFile, doing
from tokengraft.applying.store import Stage
from tokengraft.checkpoint import FileEntry
from tokengraft.formats.remapped import remapped
from tokengraft.formats.rows import RowReader
from tokengraft.formats.undo_file import Span, Undoing
from tokengraft.formats.whole_files import let_go
from tokengraft.low_rank import AddLowRank
from tokengraft.plans import Keep, RemapRows
from tokengraft.tensors import TensorRef, WeightsFile


@dataclass(frozen=True, slots=True)
class Shard:
    """A weight file before and after, as places.

    Attributes:
        edits: the row edits of tensors in it, by tensor; new tensors are made of its own.
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
        if self.header != self.weights.header:
            spans.append((0, len(self.header), old_begin))
            ranges.append((0, old_begin))
        before = {ref.name: ref for ref in self.weights.tensors}
        for new in self.after:
            if new.name not in self.edits:
                continue
            if new.name not in before:
                spans.append((new.begin, new.end, 0))
                continue
            old = before[new.name]
            for first, count, was, replaced in changed_rows(self.edits[old.name]):
                begin = new.begin + first * old.row_bytes
                length = replaced * old.row_bytes
                spans.append((begin, begin + count * old.row_bytes, length))
                old_row = old.begin + was * old.row_bytes
                ranges.append((old_row, old_row + length))
        size = sum(end - begin for begin, end in ranges)
        return Undoing(self.entry.path, tuple(spans), size, old_bytes(self.entry, ranges))


def shard_of(
    entry: FileEntry,
    weights: WeightsFile,
    edits: Mapping[str, RemapRows],
    updates: Mapping[str, tuple[AddLowRank, ...]],
) -> Shard:
    """Lay out a weight file anew."""
    header, after = remapped(weights, edits.values())
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
        new: dict[str, list[RemapRows]] = {}
        for edit in self._shard.edits.values():
            if edit.of is not None:
                new.setdefault(edit.of, []).append(edit)
        for ref in self._shard.weights.tensors:
            own = self._shard.edits.get(ref.name)
            if ref.name in self._shard.updates:
                rows = RowReader(self._source.file, ref)
                for data in updated(rows, self._shard.updates[ref.name], sidecar.factors):
                    self._put(data)
                    meter.add(ref.file, len(data))
            elif own is None:
                self._copy(ref.begin, ref.end, meter)
            else:
                self._remap(ref, own, sidecar, meter)
            for edit in new.get(ref.name, ()):
                self._remap(ref, edit, sidecar, meter)
            self._see(ref.end)
        self._see(self._source.entry.size_bytes)

    def _remap(self, ref: TensorRef, edit: RemapRows, sidecar: Sidecar, meter: Meter) -> None:
        rows = RowReader(self._source.file, ref)
        factory = RowFactory(edit.tensor, rows, sidecar.rows.get(edit.tensor))
        for piece in factory.stream(edit):
            if isinstance(piece, Keep):
                self._copy(*rows.span(piece.first, piece.count), meter)
            else:
                self._put(piece)
                meter.add(ref.file, len(piece))

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
    sidecar: Sidecar,
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
                writer.write(sidecar, meter)
        finally:
            new.end(lambda: let_go(again))
        stage.reread(path, writer.content)
    return source.tally, new
