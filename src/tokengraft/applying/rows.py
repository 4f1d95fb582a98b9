"""New rows from old ones, as a stream: copied, mixed, averaged or taken from the sidecar.

Everything is added one by one, elementwise, in float64, and rounded once: no BLAS and no pairwise
sum, so the bits are the same on any machine. Shapes: `D` elements a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import assert_never

from tokengraft.applying.mixing import batches, mixed
from tokengraft.errors import MalformedFile, StalePlan
from tokengraft.formats.rows import RowReader, Rows, mean_of, narrow
from tokengraft.plans import Keep, Mean, Mix, RemapRows, RowSource, Stored

BLOCK_BYTES = 1 << 20  # of computed rows


@dataclass(slots=True)
class RowFactory:
    """Makes the rows of one tensor.

    Attributes:
        tensor: its name in the result, under which the sidecar has its rows.
        base: the rows that they are made of: the tensor's own before, or another's where it is new.
        stored: its rows in the sidecar, None if there are none.
    """

    tensor: str
    base: RowReader
    stored: Rows | None
    _means: dict[Mean, bytes] = field(default_factory=dict)

    def stream(self, edit: RemapRows) -> Iterator[Keep | bytes]:
        """Yield all rows in order: ranges of the base to copy, and blocks of computed bytes.

        Raises:
            StalePlan: the base has another number of rows.
            MalformedFile: a source that is not there.
        """
        if edit.n_rows_before != self.base.n_rows:
            raise StalePlan(
                f"{edit.base_tensor} has {self.base.n_rows} rows, the plan was made for "
                f"{edit.n_rows_before}",
                subject=edit.tensor,
            )
        for kept, sources in groupby(edit.rows, lambda source: isinstance(source, Keep)):
            if kept:
                yield from (source for source in sources if isinstance(source, Keep))
            else:
                yield from _blocks(self.computed(sources))

    def computed(self, sources: Iterable[RowSource]) -> Iterator[tuple[bytes, int]]:
        """The bytes of each row, and how often it comes; neighbouring sums are made at once.

        Raises:
            MalformedFile: as `stream`.
        """
        for are_sums, group in groupby(sources, lambda source: isinstance(source, Mix)):
            if are_sums:
                mixes = (source for source in group if isinstance(source, Mix))
                for batch in batches(mixes, self.base.width):
                    yield from self._mixed(batch)
            else:
                yield from map(self._bytes_of, group)

    def _mixed(self, batch: Sequence[Mix]) -> Iterator[tuple[bytes, int]]:
        data, size = narrow(mixed(self.base, batch), self.base.ref.dtype), self.base.ref.row_bytes
        for at, source in enumerate(batch):
            yield data[at * size : (at + 1) * size], source.rows

    def _bytes_of(self, source: RowSource) -> tuple[bytes, int]:
        """The bytes of one row that is no sum, and how often it comes."""
        match source:
            case Mean():
                return self._mean(source), source.rows
            case Stored():
                return self._stored(source), 1
            case Keep() | Mix():
                raise AssertionError("kept rows are copied, and sums are made many at once")
            case _:
                assert_never(source)

    def _mean(self, source: Mean) -> bytes:
        key = source.model_copy(update={"rows": 1})
        if key not in self._means:
            self._means[key] = narrow(mean_of(self.base, source), self.base.ref.dtype)
        return self._means[key]

    def _stored(self, source: Stored) -> bytes:
        stored, own = self.stored, self.base.ref
        fits = stored and stored.ref.dtype == own.dtype and stored.ref.row_bytes == own.row_bytes
        if stored is None or not fits:
            raise MalformedFile(
                "the sidecar has no such values",
                detail=f"values.{self.tensor}, {own.dtype}, {own.row_bytes} bytes a row",
                subject=f"rows.safetensors#values.{self.tensor}",
                hint="plan again, or copy plan and sidecar together",
            )
        return stored.raw(source.index, 1)


def _blocks(rows: Iterable[tuple[bytes, int]]) -> Iterator[bytes]:
    """Join rows into blocks of about `BLOCK_BYTES`."""
    waiting: list[bytes] = []
    size = 0
    for row, times in rows:
        left = times
        while left:
            fit = min(left, max(1, (BLOCK_BYTES - size) // max(1, len(row))))
            waiting.append(row * fit)
            size, left = size + len(row) * fit, left - fit
            if size >= BLOCK_BYTES or len(waiting) >= 1 << 16:
                yield b"".join(waiting)
                waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def changed_rows(edit: RemapRows) -> Iterator[tuple[int, int, int, int]]:
    """Where rows differ from the base's: (first after, rows after, first before, rows before) a run.

    Between two runs both have the same rows, moved or not: kept rows are matched in the base's order,
    so that a removed row is a run of none after. What is kept out of that order counts as written.
    """
    at = seen = 0  # rows of the result and of the base that are dealt with
    begin = 0  # where the present run begins in the result
    for source in edit.rows:
        if isinstance(source, Keep) and source.first >= seen:
            if begin < at or seen < source.first:
                yield begin, at - begin, seen, source.first - seen
            seen = source.first + source.count
            begin = at + source.count
        at += source.n_rows
    if begin < at or seen < edit.n_rows_before:
        yield begin, at - begin, seen, edit.n_rows_before - seen
