"""Baked adapters: every number is the base's plus what the factors give, computed a second time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import MalformedFile
from tokengraft.events import Listen, Progress
from tokengraft.formats.safetensors_file import read_header
from tokengraft.low_rank import AddLowRank, updates_by_tensor
from tokengraft.results import Check
from tokengraft.tensors import TensorRef
from tokengraft.verifying import mixing
from tokengraft.verifying.records import SIDECAR, Graft, failed, passed, several, skipped
from tokengraft.verifying.streams import Span, read

NAME = "low-rank-as-planned"
BLOCK_ELEMENTS = 1 << 15

Matrix = NDArray[np.float64]


def check_low_rank(graft: Graft, base: Checkpoint | None, listen: Listen) -> Iterator[Check]:
    """Compute what low-rank updates must give, and compare every number."""
    updates = updates_by_tensor(graft.plan.edits) if graft.plan is not None else {}
    if not updates:
        return
    out = graft.checkpoint
    if base is None or base.tensors is None:
        yield skipped(NAME, f"{len(updates)} tensors carry low-rank updates: --against the base")
        return
    if out is None or out.tensors is None:
        yield skipped(NAME, "the checkpoint cannot be read, or has no weights")
        return
    factors = _factors(graft)
    wrong, done = [], 0
    total = sum(
        out.tensors.tensors[name].size_bytes for name in updates if name in out.tensors.tensors
    )
    for name, wanted in updates.items():
        ours, theirs = out.tensors.tensors.get(name), base.tensors.tensors.get(name)
        if (
            ours is None
            or theirs is None
            or (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype)
            or not (ours.shape and ours.n_elements and mixing.is_computable(ours.dtype))
        ):
            wrong.append(f"{name} (missing, or of another shape or kind)")
            continue
        at = _first_wrong_row((out, ours), (base, theirs), wanted, factors)
        if at is not None:
            wrong.append(f"{name}[{at}]")
        done += ours.size_bytes
        listen(Progress("verify", ours.file, done, total))
    if wrong:
        yield failed(
            NAME, f"{len(wrong)} tensors are not what base and factors give: {several(wrong)}"
        )
        return
    n_numbers = sum(out.tensors.tensors[name].n_elements for name in updates)
    yield passed(
        NAME,
        f"{n_numbers:,} numbers of {len(updates)} tensors were computed again from the base and the "
        f"factors in {SIDECAR} and have the same bits",
    )


def _factors(graft: Graft) -> Mapping[str, tuple[TensorRef, Span]]:
    entry = graft.files.get(SIDECAR)
    if entry is None:
        raise MalformedFile("the factors of the updates are missing", subject=SIDECAR)
    refs = read_header(entry.real, file=SIDECAR, size_bytes=entry.size_bytes).tensors
    return {ref.name: (ref, Span(entry.real, ref.begin, ref.end)) for ref in refs}


def _pair(
    update: AddLowRank, factors: Mapping[str, tuple[TensorRef, Span]]
) -> tuple[Matrix, Matrix]:
    """B [n, R] and A [R, D] of one update."""
    b, a = _matrix(update.b, factors), _matrix(update.a, factors)
    return (a.T, b.T) if update.transpose else (b, a)


def _matrix(name: str, factors: Mapping[str, tuple[TensorRef, Span]]) -> Matrix:
    if name not in factors:
        raise MalformedFile("the sidecar has no such factor", detail=name, subject=SIDECAR)
    ref, span = factors[name]
    if len(ref.shape) != 2 or not mixing.is_computable(ref.dtype):  # noqa: PLR2004
        raise MalformedFile(
            "it is no factor", detail=f"{ref.dtype} {list(ref.shape)}", subject=name
        )
    return mixing.widen(read(span), ref.dtype).reshape(ref.shape)


def _first_wrong_row(
    ours: tuple[Checkpoint, TensorRef],
    theirs: tuple[Checkpoint, TensorRef],
    updates: Sequence[AddLowRank],
    factors: Mapping[str, tuple[TensorRef, Span]],
) -> int | None:
    """The first row, of the tensor taken for a matrix, that differs from what it must be."""
    ref = ours[1]
    width, n_rows = ref.shape[-1], prod(ref.shape[:-1])
    row_bytes = ref.size_bytes // n_rows
    spans = [update.slice or (0, n_rows) for update in updates]
    pairs: dict[int, tuple[Matrix, Matrix]] = {}  # of the updates whose rows pass by
    step = max(1, BLOCK_ELEMENTS // width)
    for first in range(0, n_rows, step):
        count = min(step, n_rows - first)
        span = (first * row_bytes, (first + count) * row_bytes)
        wanted = read(_part(theirs, *span))
        expected = mixing.widen(wanted, ref.dtype).reshape(count, width)
        here = [n for n, (begin, end) in enumerate(spans) if begin < first + count and first < end]
        pairs = {n: pairs[n] if n in pairs else _pair(updates[n], factors) for n in here}
        for n, (b, a) in pairs.items():
            begin, end = spans[n]
            low, high = max(first, begin), min(first + count, end)
            _add_rows(
                expected[low - first : high - first], b[low - begin : high - begin], a, updates[n]
            )
        found = read(_part(ours, *span))
        if here:
            wanted = mixing.narrow(expected.reshape(-1), ref.dtype)
        if not mixing.is_same(found, wanted, ref.dtype):
            return next(
                first + row
                for row in range(count)
                if not mixing.is_same(
                    found[row * row_bytes : (row + 1) * row_bytes],
                    wanted[row * row_bytes : (row + 1) * row_bytes],
                    ref.dtype,
                )
            )
    return None


def _add_rows(rows: Matrix, b: Matrix, a: Matrix, update: AddLowRank) -> None:
    """Add the scaled sum of outer products, one rank after the other."""
    if b.shape[0] != rows.shape[0] or a.shape != (b.shape[1], rows.shape[1]):
        raise MalformedFile("the factors do not fit their tensor", subject=update.tensor)
    with np.errstate(all="ignore"):
        total = np.zeros(rows.shape, np.float64)
        for rank in range(b.shape[1]):
            total = total + np.multiply.outer(b[:, rank], a[rank])
        rows += total * update.scale


def _part(place: tuple[Checkpoint, TensorRef], begin: int, end: int) -> Span:
    checkpoint, ref = place
    return Span(checkpoint.files[ref.file].real, ref.begin + begin, ref.begin + end)
