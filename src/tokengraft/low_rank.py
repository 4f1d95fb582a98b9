"""Low-rank updates of weights: what a plan says of a baked adapter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from tokengraft.documents import Value


class AddLowRank(Value):
    """Add scale · B·A to a tensor, whose axes but the last are taken for one: [N, D].

    B is `b` of the sidecar, [n, R], and A is `a`, [R, D]; `slice` says which n rows are meant, from
    the first to the one behind the last, all N without it. With `transpose` the product is turned
    first, so that B is [D, R] and A [R, n]. Every number is the old one plus the scaled sum of R
    products, added one by one in order in float64, and is rounded once.
    """

    kind: Literal["add-low-rank"] = "add-low-rank"
    tensor: str
    a: str
    b: str
    scale: float
    slice: tuple[int, int] | None = None
    transpose: bool = False


def updates_by_tensor(edits: Iterable[object]) -> dict[str, tuple[AddLowRank, ...]]:
    """The low-rank updates among edits, by tensor, in their order."""
    found: dict[str, list[AddLowRank]] = {}
    for edit in edits:
        if isinstance(edit, AddLowRank):
            found.setdefault(edit.tensor, []).append(edit)
    return {tensor: tuple(updates) for tensor, updates in found.items()}
