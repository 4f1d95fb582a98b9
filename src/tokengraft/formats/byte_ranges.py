"""Files by byte range, whether they lie in a folder or on the Hub; and rows of tensors in them.

An audit of a repository that was not downloaded reads through this: headers, and with `--deep` the
rows of the vocabulary axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tokengraft.checkpoint import ByteSource, FileEntry
from tokengraft.formats.rows import Floats, read_range, span, widen
from tokengraft.formats.whole_files import let_go, open_regular
from tokengraft.tensors import TensorRef

BLOCK_BYTES = 8 << 20
# Rows that lie closer together than this are asked for in one request.
NEAR_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class LocalBytes:
    """A file in a folder, opened for each read."""

    entry: FileEntry

    @property
    def size_bytes(self) -> int:
        return self.entry.size_bytes

    def read(self, begin: int, end: int) -> bytes:
        """Read a range.

        Raises:
            ReadFailed: the system refuses.
            SourceChanged: the file has become shorter.
        """
        file = open_regular(self.entry.real)
        try:
            return read_range(file, begin, end, subject=self.entry.path)
        finally:
            let_go(file)


@dataclass(frozen=True, slots=True)
class OpenBytes:
    """A file that somebody holds open."""

    file: int
    size_bytes: int
    subject: str

    def read(self, begin: int, end: int) -> bytes:
        """Read a range; raises as `LocalBytes.read`."""
        return read_range(self.file, begin, end, subject=self.subject)


def source_of(entry: FileEntry) -> ByteSource:
    """The bytes of a file of a checkpoint, near or far."""
    return entry.remote if entry.remote is not None else LocalBytes(entry)


@dataclass(frozen=True, slots=True)
class RangeRows:
    """Rows of one tensor, read by range; the same questions as `RowReader` answers."""

    source: ByteSource
    ref: TensorRef

    @property
    def n_rows(self) -> int:
        return self.ref.shape[0] if self.ref.shape else 0

    @property
    def width(self) -> int:
        """Elements a row."""
        return self.ref.n_elements // self.n_rows if self.n_rows else 0

    def raw(self, first: int, count: int) -> bytes:
        return self.source.read(*span(self.ref, first, count))

    def floats(self, first: int, count: int) -> Floats:
        """The values of `count` rows [N, D], exactly."""
        return widen(self.raw(first, count), self.ref.dtype).reshape(count, self.width)

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, Floats]]:
        """All rows in order, as (id of the first, values), a few megabytes at a time."""
        step = max(1, block_bytes // max(1, self.ref.row_bytes))
        for first in range(0, self.n_rows, step):
            yield first, self.floats(first, min(step, self.n_rows - first))

    def sample(self, ids: Sequence[int]) -> Floats:
        """Some rows [N, D] in the order of their ids as given; neighbours share a request."""
        rows = np.empty((len(ids), self.width), np.float64)
        places: dict[int, list[int]] = {}
        for at, token_id in enumerate(ids):
            places.setdefault(token_id, []).append(at)
        for first, last in self._runs(sorted(places)):
            values = self.floats(first, last - first + 1)
            for token_id in range(first, last + 1):
                rows[places.get(token_id, [])] = values[token_id - first]
        return rows

    def _runs(self, ids: Sequence[int]) -> Iterator[tuple[int, int]]:
        gap = NEAR_BYTES // max(1, self.ref.row_bytes)
        limit = max(1, BLOCK_BYTES // max(1, self.ref.row_bytes))
        first = last = -1
        for token_id in ids:
            if first >= 0 and token_id - last <= gap + 1 and token_id - first < limit:
                last = token_id
                continue
            if first >= 0:
                yield first, last
            first = last = token_id
        if first >= 0:
            yield first, last
