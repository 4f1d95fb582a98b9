"""What is known of every row of a matrix after one reading, and what it says of training.

A row that no training met keeps what it began with. Rows that are known to be unused (padding rows)
show what that looks like in this very matrix; rows of frequent pieces show what training makes of
it. A row is judged only where the two can be told apart, and only on the side on which it clearly
lies. Nothing is a fixed threshold: both limits are measured, and so is how often they err.

Source: Land and Bartolo 2024, "Fishing for Magikarp", whose indicators these are: the norm of input
rows, and the direction of centred output rows against the mean of the unused ones. In output rows
the softmax pushes all unused rows alike, so that their norm says nothing and their direction much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokengraft.row_findings import Indicator, RowVerdict
from tokengraft.tensors import TensorRef

FEWEST_UNUSED = 8  # rows; fewer do not show how much unused rows differ among themselves
FEWEST_TRAINED = 16
APART = 2.0  # the median of trained rows is at least this many times the limit of unused rows
SPREADS = 5.0  # robust standard deviations from the median that still count as unused, as trained
_NORMAL = 1.4826  # a median absolute deviation times this is a standard deviation of a normal
# Half a step of each kind of number: two rows that differ by less were rounded, not trained.
_HALF_STEP = {"BF16": 2.0**-9, "F16": 2.0**-12, "F32": 2.0**-25, "F64": 2.0**-54}

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class RowStatistics:
    """One number a row of each kind; arrays over the rows of one tensor.

    Attributes:
        norms: Euclidean norms.
        distances: from the mean of the unused rows; None if there are too few of them.
        directions: how far the row's direction is from that mean, both seen from the mean of
            trained rows: 0 is the same, 2 the opposite; None as above.
        zeros: whether every value is zero.
        nonfinite: how many values are NaN or infinite.
        digests: equal for rows with equal bytes, within one run of the program.
        unused, trained: the rows that serve as reference.
        unused_norm: norm of the mean of the unused rows; `away_norm`: seen from the trained mean.
    """

    ref: TensorRef
    norms: Values
    distances: Values | None
    directions: Values | None
    zeros: NDArray[np.bool_]
    nonfinite: NDArray[np.int64]
    digests: NDArray[np.int64]
    unused: tuple[int, ...]
    trained: tuple[int, ...]
    unused_norm: float
    away_norm: float

    @property
    def n_rows(self) -> int:
        return len(self.norms)

    def repeated(self, n_tokens: int) -> list[list[int]]:
        """Groups of token rows with equal bytes, all-zero rows left out, largest first."""
        rows = np.flatnonzero(~self.zeros[:n_tokens])
        _, group, counts = np.unique(
            self.digests[:n_tokens][rows], return_inverse=True, return_counts=True
        )
        members = rows[counts[group] > 1]
        found: dict[int, list[int]] = {}
        for row in members.tolist():
            found.setdefault(int(self.digests[row]), []).append(row)
        return sorted(found.values(), key=lambda ids: (-len(ids), ids))


@dataclass(frozen=True, slots=True)
class Scale:
    """Where unused and trained rows lie on one indicator of one matrix.

    Attributes:
        upper: up to here a row is like the unused ones.
        lower: from here on it is like the trained ones.
        unused, trained: median and robust standard deviation of the two references.
        overlap: share of pairs (unused, trained) in which the unused row lies higher or equal.
        flagged: how many of the `n_trained` reference rows lie within `upper`: an upper bound on
            false alarms, because some frequent pieces are really never used.
    """

    indicator: Indicator
    upper: float
    lower: float
    unused: tuple[float, float]
    trained: tuple[float, float]
    overlap: float
    n_unused: int
    n_trained: int
    flagged: int

    def verdict(self, value: float) -> RowVerdict:
        if not np.isfinite(value):
            return "unknown"
        if value <= self.upper:
            return "untrained"
        return "trained" if value >= self.lower else "unknown"

    def z_unused(self, value: float) -> float | None:
        """Robust standard deviations from the median of the unused rows."""
        return _z(value, self.unused)

    def z_trained(self, value: float) -> float | None:
        return _z(value, self.trained)


def scale_of(rows: RowStatistics, *, writes: bool) -> Scale | str:
    """Measure the limits of a matrix, or say why they cannot be measured.

    Args:
        writes: whether logits come from this matrix (an output matrix, or a tied one); then the
            direction may serve, if it tells the references apart better than the distance does.
    """
    unused = [row for row in rows.unused if not rows.nonfinite[row]]
    trained = [row for row in rows.trained if not rows.nonfinite[row]]
    if len(unused) < FEWEST_UNUSED:
        return (
            f"only {len(unused)} rows are known to be unused, at least {FEWEST_UNUSED} are needed"
        )
    if len(trained) < FEWEST_TRAINED:
        return "too few pieces of the vocabulary are known to compare with"
    if rows.distances is None or rows.directions is None:
        return "the rows were not compared"
    if rows.zeros[unused].all():
        return "the rows known to be unused are all zeros, which shows nothing of how others began"
    floor = rows.unused_norm * _HALF_STEP.get(rows.ref.dtype, 0.0)
    # Each unused row has a share in the mean that it is measured from, and lies nearer to it than a
    # row outside the reference would: x - mean of the others = n / (n - 1) (x - mean of all).
    # Without this, 8 unused rows of width 2048 miss 97 % of all other unused rows.
    outside = len(unused) / (len(unused) - 1)
    best = _scale("distance", outside * rows.distances[unused], rows.distances[trained], floor)
    if writes:
        directions = np.minimum(outside * rows.directions[unused], 2.0)
        other = _scale("direction", directions, rows.directions[trained], floor / rows.away_norm)
        best = max(best, other, key=lambda scale: scale.trained[0] / scale.upper)
    if best.trained[0] < APART * best.upper:
        indicator = "distance" if best.indicator == "distance" else "direction"
        return (
            "rows known to be unused are like the rows of frequent pieces "
            f"({indicator} {best.unused[0]:.3g} against {best.trained[0]:.3g})"
        )
    return best


def values_of(rows: RowStatistics, scale: Scale) -> Values:
    """The indicator of every row."""
    values = rows.distances if scale.indicator == "distance" else rows.directions
    assert values is not None
    return values


def _scale(indicator: Indicator, unused: Values, trained: Values, floor: float) -> Scale:
    low, high = _median_and_spread(unused), _median_and_spread(trained)
    least = max(floor, float(np.finfo(np.float32).tiny))
    # "lower": of few rows, no share of the largest, which may be one that was used after all.
    most = float(np.quantile(unused, 0.95, method="lower"))
    upper = max(low[0] + SPREADS * low[1], most, least)
    middle = float(np.sqrt(upper * max(high[0], upper)))
    above = trained[trained > middle]
    near = float(np.quantile(above, 0.01)) if above.size else middle
    lower = max(middle, min(near, high[0] - SPREADS * high[1]))
    return Scale(
        indicator=indicator,
        upper=upper,
        lower=lower,
        unused=low,
        trained=high,
        overlap=overlap(unused, trained),
        n_unused=len(unused),
        n_trained=len(trained),
        flagged=int((trained <= upper).sum()),
    )


def overlap(low: Values, high: Values) -> float:
    """Share of pairs in the wrong order, ties counted half (one minus the area under the ROC)."""
    ordered = np.sort(high)
    below = np.searchsorted(ordered, low, side="left")
    ties = np.searchsorted(ordered, low, side="right") - below
    return float((below + ties / 2).sum() / (len(low) * len(high)))


def _median_and_spread(values: Values) -> tuple[float, float]:
    median = float(np.median(values))
    return median, _NORMAL * float(np.median(np.abs(values - median)))


def _z(value: float, reference: tuple[float, float]) -> float | None:
    median, spread = reference
    return (value - median) / spread if spread > 0 and np.isfinite(value) else None


def large_norms(rows: RowStatistics, n_tokens: int, *, times: float = 8.0) -> list[int]:
    """Token rows whose norm is far above the median and far outside the spread of all others."""
    norms = rows.norms[:n_tokens]
    good = np.isfinite(norms) & (norms > 0)
    if not good.any():
        return []
    logs = np.log(norms[good])
    median, spread = _median_and_spread(logs)
    limit = median + max(np.log(times), 8 * spread)
    found: Sequence[int] = np.flatnonzero(good & (norms > np.exp(limit))).tolist()
    return list(found)
