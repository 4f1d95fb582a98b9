"""Embedding rows: what was kept has its bits, what is new is what the plan's arithmetic gives.

The base passes by once, block by block, wherever it comes from. Rows are compared as they pass; of
the base only the parents of new rows are held.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tokengraft.errors import LimitExceeded, MalformedFile
from tokengraft.plans import Keep, Mean, Mix, RemapRows, RowSource, Stored
from tokengraft.tensors import TensorRef
from tokengraft.verifying import mixing
from tokengraft.verifying.streams import Span, read

TOGETHER_BYTES = 4 << 20  # of rows as float64 that are rounded in one go
MAX_MEANS = 64  # different ranges to average over; an honest plan has a handful


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring rows of the base that the plan keeps, and where they lie in the result."""

    base_first: int
    out_first: int
    count: int


def numbered(edit: RemapRows) -> Iterator[tuple[int, RowSource]]:
    """Each source with the number of the first row that it gives."""
    row = 0
    for source in edit.rows:
        yield row, source
        row += source.n_rows


def kept_runs(edit: RemapRows) -> list[Run]:
    """Rows to be kept, in the base's order."""
    runs = [Run(s.first, row, s.count) for row, s in numbered(edit) if isinstance(s, Keep)]
    return sorted(runs, key=lambda run: (run.base_first, run.out_first))


def check_bounds(edit: RemapRows, base: TensorRef, out: TensorRef) -> None:
    """Refuse an edit that does not fit the tensors it speaks of.

    Raises:
        MalformedFile: shapes, dtypes or row numbers contradict the plan.
    """
    shapes = {
        "the base": (base.shape, (edit.n_rows_before, *base.shape[1:])),
        "the result": (out.shape, (edit.n_rows_after, *base.shape[1:])),
    }
    for where, (found, planned) in shapes.items():
        if found != planned:
            raise MalformedFile(
                f"{edit.tensor} is {list(found)} in {where}, planned {list(planned)}",
                subject=edit.tensor,
            )
    if base.row_bytes == 0:
        raise MalformedFile(f"{edit.tensor} has empty rows", subject=edit.tensor)
    if base.dtype != out.dtype:
        raise MalformedFile(
            f"{edit.tensor} is {base.dtype} in the base and {out.dtype} in the result",
            subject=edit.tensor,
        )
    if sum(source.n_rows for source in edit.rows) != edit.n_rows_after:
        raise MalformedFile(f"the rows of {edit.tensor} do not add up", subject=edit.tensor)
    for row, source in numbered(edit):
        if _last_parent(source) >= edit.n_rows_before:
            raise MalformedFile(
                f"the base has {edit.n_rows_before} rows, row {_last_parent(source)} is asked for",
                subject=f"{edit.tensor}[{row}]",
            )


def _last_parent(source: RowSource) -> int:
    match source:
        case Keep() | Mean():
            return source.first + source.count - 1
        case Mix():
            if not source.parents:
                return -1
            lowest, highest = min(source.parents)[0], max(source.parents)[0]
            return 1 << 62 if lowest < 0 else highest
        case Stored():
            return -1


@dataclass(slots=True)
class Seen:
    """What was gathered from one tensor of the base as it passed by."""

    sha256: str = ""
    n_kept: int = 0
    changed: list[int] = field(default_factory=list)  # rows of the result
    rows: dict[int, bytes] = field(default_factory=dict)  # parents, by row of the base
    means: dict[tuple[int, int, tuple[int, ...]], NDArray[np.float64]] = field(default_factory=dict)


class Watch:
    """Look at one tensor of the base as it passes by, beside the result's file."""

    def __init__(self, edit: RemapRows, base: TensorRef, out: TensorRef, file: IO[bytes]) -> None:
        check_bounds(edit, base, out)
        self.ref = base
        self._out = out
        self._file = file
        self._runs = kept_runs(edit)
        self._row_bytes = base.row_bytes
        self._row = 0
        self._carry = b""
        self._digest = hashlib.sha256()
        self._seen = Seen()
        self._wanted = np.array(sorted(_parents(edit)), np.int64)
        for _, source in numbered(edit):
            if isinstance(source, Mean) and mixing.is_computable(base.dtype):
                width = base.row_bytes // mixing.width_bytes(base.dtype)
                self._seen.means[_range(source)] = np.zeros(width, np.float64)
        if len(self._seen.means) > MAX_MEANS:
            raise LimitExceeded(
                f"{edit.tensor} averages over {len(self._seen.means)} different ranges",
                subject=edit.tensor,
            )

    def take(self, data: bytes) -> None:
        """Look at the next bytes of the tensor."""
        self._digest.update(data)
        block = self._carry + data
        n_rows = len(block) // self._row_bytes
        self._carry = block[n_rows * self._row_bytes :]
        if n_rows:
            self._compare(block, n_rows)
            self._gather(block, n_rows)
            self._row += n_rows

    def result(self) -> Seen:
        """What was seen, once all has passed."""
        self._seen.sha256 = self._digest.hexdigest()
        for key in self._seen.means:
            self._seen.means[key] /= key[1] - len(key[2])
        return self._seen

    def _compare(self, block: bytes, n_rows: int) -> None:
        size, begin, end = self._row_bytes, self._row, self._row + n_rows
        waiting = 0
        for run in self._runs:
            if run.base_first >= end:
                break
            low, high = max(begin, run.base_first), min(end, run.base_first + run.count)
            if low < high:
                out_row = run.out_first + low - run.base_first
                self._file.seek(self._out.begin + out_row * size)
                there = self._file.read((high - low) * size)
                here = block[(low - begin) * size : (high - begin) * size]
                self._note(out_row, here, there, high - low)
            waiting += run.base_first + run.count <= end
        if waiting:
            self._runs = [run for run in self._runs if run.base_first + run.count > end]

    def _note(self, out_row: int, here: bytes, there: bytes, n_rows: int) -> None:
        self._seen.n_kept += n_rows
        if here == there:
            return
        size = self._row_bytes
        self._seen.changed += [
            out_row + at
            for at in range(n_rows)
            if here[at * size : (at + 1) * size] != there[at * size : (at + 1) * size]
        ]

    def _gather(self, block: bytes, n_rows: int) -> None:
        size, begin, end = self._row_bytes, self._row, self._row + n_rows
        low, high = np.searchsorted(self._wanted, [begin, end])
        for row in self._wanted[low:high].tolist():
            self._seen.rows[row] = block[(row - begin) * size : (row - begin + 1) * size]
        for (first, count, without), sum_D in self._seen.means.items():
            # The range without some rows is so many ranges between them.
            inside = without[bisect_left(without, begin) : bisect_left(without, end)]
            edges = [max(begin, first) - 1, *inside, min(end, first + count)]
            for before, behind in pairwise(edges):
                if before + 1 < behind:
                    part = block[(before + 1 - begin) * size : (behind - begin) * size]
                    mixing.add_up(mixing.widen(part, self.ref.dtype), sum_D)


def _range(source: Mean) -> tuple[int, int, tuple[int, ...]]:
    return source.first, source.count, source.without


def _parents(edit: RemapRows) -> set[int]:
    mixes = (source for _, source in numbered(edit) if isinstance(source, Mix))
    return {parent for source in mixes for parent, _ in source.parents}


def pass_by(chunks: Iterable[bytes], watches: Sequence[Watch]) -> Iterator[bytes]:
    """Show each watch its part of a file that passes by; hands every chunk on."""
    at = 0
    for chunk in chunks:
        for watch in watches:
            low, high = max(at, watch.ref.begin), min(at + len(chunk), watch.ref.end)
            if low < high:
                watch.take(chunk[low - at : high - at])
        at += len(chunk)
        yield chunk


def wrong_rows(
    edit: RemapRows, out: TensorRef, seen: Seen, values: Span | None, file: IO[bytes]
) -> tuple[int, list[int]]:
    """Compute every new row again and compare; return how many there are, and the wrong ones."""
    n_new, wrong = 0, []
    wide_bytes = 8 * (out.row_bytes // mixing.width_bytes(out.dtype))
    for first, sources in _together(edit, max(1, TOGETHER_BYTES // wide_bytes)):
        expected = _expected(sources, out, seen, values)
        at = first
        for source, row in zip(sources, expected, strict=True):
            for number in range(at, at + source.n_rows):
                file.seek(out.begin + number * out.row_bytes)
                if not mixing.is_same(file.read(out.row_bytes), row, out.dtype):
                    wrong.append(number)
            at += source.n_rows
        n_new += at - first
    return n_new, wrong


def _together(edit: RemapRows, most: int) -> Iterator[tuple[int, list[RowSource]]]:
    """Neighbouring new rows, up to `most` sources at once, with the number of the first row."""
    first = 0
    sources: list[RowSource] = []
    for row, source in numbered(edit):
        if sources and (isinstance(source, Keep) or len(sources) == most):
            yield first, sources
            sources = []
        if not isinstance(source, Keep):
            first = first if sources else row
            sources.append(source)
    if sources:
        yield first, sources


def _expected(
    sources: Sequence[RowSource], out: TensorRef, seen: Seen, values: Span | None
) -> list[bytes]:
    """The row that each source gives; all of them are rounded in one go."""
    width = out.row_bytes // mixing.width_bytes(out.dtype)
    wide_ND = np.zeros((len(sources), width), np.float64)
    ready: dict[int, bytes] = {}
    for at, source in enumerate(sources):
        match source:
            case Mix():
                parents = sorted(source.parents, key=lambda pair: pair[0])
                wide = mixing.widen(b"".join(seen.rows[i] for i, _ in parents), out.dtype)
                wide_ND[at] = mixing.mix([weight for _, weight in parents], wide, width)
            case Mean():
                wide_ND[at] = seen.means[_range(source)]
            case Stored():
                ready[at] = _stored(source, out, values)
            case Keep():
                raise AssertionError(source)
    data, size = mixing.narrow(wide_ND, out.dtype), out.row_bytes
    made = (data[at * size : (at + 1) * size] for at in range(len(sources)))
    return [ready.get(at, row) for at, row in enumerate(made)]


def _stored(source: Stored, out: TensorRef, values: Span | None) -> bytes:
    begin = source.index * out.row_bytes
    if values is None or begin + out.row_bytes > values.size_bytes:
        raise MalformedFile(f"value {source.index} is not in the sidecar", subject=out.name)
    begin += values.begin
    return read(Span(values.path, begin, begin + out.row_bytes))
