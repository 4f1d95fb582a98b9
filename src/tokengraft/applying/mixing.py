"""Many weighted sums of base rows at once, with the bits that each would have alone.

Every sum takes its parents one by one in the order of their ids, elementwise, in float64: rows that
are summed side by side never meet. Shapes: `N` new rows, `U` different parents, `P` parents of all
new rows, `D` elements a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tokengraft.formats.rows import Floats, RowReader, widen
from tokengraft.plans import Mix

AT_ONCE_BYTES = 8 << 20  # of parents as float64, and of sums; stays near a processor's cache


def batches(mixes: Iterable[Mix], width: int) -> Iterator[list[Mix]]:
    """Cut sources into batches whose parents and sums fit into memory; one may exceed it alone."""
    most = max(1, AT_ONCE_BYTES // (8 * max(1, width)))
    batch: list[Mix] = []
    size = 0
    for mix in mixes:
        own = max(1, len(mix.parents))
        if batch and size + own > most:
            yield batch
            batch, size = [], 0
        batch.append(mix)
        size += own
    if batch:
        yield batch


def mixed(base: RowReader, mixes: Sequence[Mix]) -> Floats:
    """The sums of a batch [N, D].

    Raises:
        MalformedFile: a parent that the tensor does not have.
    """
    if len(mixes) == 1:
        return _alone(base, mixes[0])
    parents = [sorted(mix.parents, key=_id) for mix in mixes]
    counts_N = np.fromiter(map(len, parents), np.int64, len(parents))
    ids_P = np.array([i for pairs in parents for i, _ in pairs], np.int64)
    weights_P = np.array([weight for pairs in parents for _, weight in pairs], np.float64)
    different_U, places_P = np.unique(ids_P, return_inverse=True)
    rows_UD = _read(base, different_U)
    # Those with the most parents come first, so that each step adds to a beginning of the sums.
    order_N = np.argsort(-counts_N, kind="stable")
    begins_N = (np.cumsum(counts_N) - counts_N)[order_N]
    falling_N = -counts_N[order_N]
    sums_ND = np.zeros((len(mixes), base.width), np.float64)
    with np.errstate(all="ignore"):
        for step in range(int(counts_N.max(initial=0))):
            n = int(np.searchsorted(falling_N, -step))  # how many have more than `step` parents
            at = begins_N[:n] + step
            sums_ND[:n] += weights_P[at][:, None] * rows_UD[places_P[at]]
    result_ND = np.empty_like(sums_ND)
    result_ND[order_N] = sums_ND
    return result_ND


def _id(pair: tuple[int, float]) -> int:
    return pair[0]


def _alone(base: RowReader, mix: Mix) -> Floats:
    """One sum [1, D], however many parents it has."""
    sum_D = np.zeros(base.width, np.float64)
    with np.errstate(all="ignore"):
        for parent, weight in sorted(mix.parents, key=_id):
            sum_D += weight * base.floats(parent, 1)[0]
    return sum_D[None, :]


def _read(base: RowReader, ids: NDArray[np.int64]) -> Floats:
    """Rows of different ids, in rising order, as float64 [U, D]; neighbours are read at once."""
    first_of_run = np.concatenate(([True], np.diff(ids) != 1))[: len(ids)]
    begins = np.flatnonzero(first_of_run)
    counts = np.diff(np.append(begins, len(ids)))
    runs = zip(ids[begins].tolist(), counts.tolist(), strict=True)
    data = b"".join([base.raw(first, count) for first, count in runs])
    return widen(data, base.ref.dtype).reshape(len(ids), base.width)
