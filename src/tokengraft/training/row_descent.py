"""Descent of rows that do not know of each other: each has a loss, a pace and a memory of its own.

A window holds one new token, so the loss of a set of windows is a sum over rows, and its gradient holds
the gradient of each row alone. A step that is good for one row is never held back by another.

Shapes: N rows, D width, M remembered steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_ARMIJO = 1e-4  # of the decrease that the slope promises
_LONGEST = 1.0  # of a first step, in the units that rows are scaled to
_SMALLEST = 1e-4  # of a step, below which a row rests


@dataclass(eq=False)
class Adam:
    """Adam by rows: a row that gets no gradient in a step is not moved by its memory.

    Attributes:
        rate: of the first step; `scale_D` multiplies it, so that it has the size of rows.
    """

    rows_ND: Values
    scale: float
    rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    first_ND: Values = field(init=False)
    second_ND: Values = field(init=False)
    steps_N: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.first_ND = np.zeros_like(self.rows_ND)
        self.second_ND = np.zeros_like(self.rows_ND)
        self.steps_N = np.zeros(len(self.rows_ND), np.int64)

    def step(self, gradient_ND: Values, has_N: NDArray[np.bool_], pace: float) -> None:
        """Move the rows that have a gradient; `pace` is the schedule's share of the rate."""
        one, two = self.betas
        self.steps_N += has_N
        had = has_N[:, None]
        self.first_ND = np.where(had, one * self.first_ND + (1 - one) * gradient_ND, self.first_ND)
        self.second_ND = np.where(
            had, two * self.second_ND + (1 - two) * gradient_ND**2, self.second_ND
        )
        count = np.maximum(1, self.steps_N)[:, None]
        first = self.first_ND / (1 - one**count)
        second = self.second_ND / (1 - two**count)
        moved = pace * self.rate * self.scale * first / (np.sqrt(second) + 1e-12)
        self.rows_ND = np.where(had, self.rows_ND - moved, self.rows_ND)

    def renew(self) -> None:
        """The loss is another one: what is remembered of slopes stays."""

    def state(self) -> dict[str, Any]:
        return {
            "rows_ND": self.rows_ND,
            "first_ND": self.first_ND,
            "second_ND": self.second_ND,
            "steps_N": self.steps_N,
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, np.array(value))


@dataclass(eq=False)
class RowLbfgs:
    """L-BFGS with a memory and a line search for each row, none of which waits for another.

    Every pass is asked at one candidate a row. A row whose loss fell enough takes it and proposes the
    next direction; another halves its step. Rows are scaled by `shape_DD`, so that the first step
    follows the way trained rows differ.

    Attributes:
        rows_ND: accepted rows; `asked_ND` those to evaluate next.
        loss_N: at accepted rows; infinite before the first pass.
    """

    start_ND: Values
    shape_DD: Values
    memory: int = 12
    z_ND: Values = field(init=False)
    asked_z_ND: Values = field(init=False)
    loss_N: Values = field(init=False)
    slope_ND: Values = field(init=False)
    direction_ND: Values = field(init=False)
    length_N: Values = field(init=False)
    steps_MND: Values = field(init=False)
    changes_MND: Values = field(init=False)
    kept_N: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        n, width = self.start_ND.shape
        self.z_ND = np.zeros((n, width))
        self.asked_z_ND = self.z_ND.copy()
        self.loss_N = np.full(n, np.inf)
        self.slope_ND = np.zeros((n, width))
        self.direction_ND = np.zeros((n, width))
        self.length_N = np.ones(n)
        self.steps_MND = np.zeros((self.memory, n, width))
        self.changes_MND = np.zeros((self.memory, n, width))
        self.kept_N = np.zeros(n, np.int64)

    @property
    def rows_ND(self) -> Values:
        return np.asarray(self.start_ND + self.z_ND @ self.shape_DD)

    @property
    def asked_ND(self) -> Values:
        return np.asarray(self.start_ND + self.asked_z_ND @ self.shape_DD)

    @property
    def rests_N(self) -> NDArray[np.bool_]:
        """Rows whose steps have become too small to matter."""
        return np.asarray(np.isfinite(self.loss_N) & (self.length_N < _SMALLEST))

    def renew(self) -> None:
        """The loss is another one: what is known of it at the accepted rows is forgotten, curvature is not."""
        self.loss_N = np.full(len(self.loss_N), np.inf)
        self.length_N = np.ones(len(self.length_N))
        self.asked_z_ND = self.z_ND.copy()

    def told(self, loss_N: Values, gradient_ND: Values) -> NDArray[np.bool_]:
        """Take losses and gradients at `asked_ND`; says which rows accepted."""
        slope_ND = gradient_ND @ self.shape_DD.T
        first = ~np.isfinite(self.loss_N)
        promised = self.length_N * np.einsum("nd,nd->n", self.slope_ND, self.direction_ND)
        with np.errstate(invalid="ignore"):
            fell = loss_N <= self.loss_N + _ARMIJO * promised
        took = np.isfinite(loss_N) & (first | fell) & ~self.rests_N
        moved = took & ~first
        self._remember(moved, self.asked_z_ND - self.z_ND, slope_ND - self.slope_ND)
        self.z_ND = np.where(took[:, None], self.asked_z_ND, self.z_ND)
        self.slope_ND = np.where(took[:, None], slope_ND, self.slope_ND)
        self.loss_N = np.where(took, loss_N, self.loss_N)
        self._direct(took)
        self.length_N = np.where(took, 1.0, self.length_N / 3)
        self.asked_z_ND = self.z_ND + self.length_N[:, None] * self.direction_ND
        return np.asarray(took)

    def _remember(self, moved: NDArray[np.bool_], step_ND: Values, change_ND: Values) -> None:
        curved = np.einsum("nd,nd->n", step_ND, change_ND)
        keep = moved & (curved > 1e-12 * np.einsum("nd,nd->n", step_ND, step_ND))
        for stack, new in ((self.steps_MND, step_ND), (self.changes_MND, change_ND)):
            stack[:, keep] = np.concatenate([stack[1:, keep], new[None, keep]])
        self.kept_N = np.where(keep, np.minimum(self.kept_N + 1, self.memory), self.kept_N)

    def _direct(self, took: NDArray[np.bool_]) -> None:
        """Two loops over what each row remembers; rows that remember nothing go down the slope."""
        q = self.slope_ND.copy()
        s, y = self.steps_MND, self.changes_MND
        products = np.einsum("mnd,mnd->mn", s, y)
        known = products > 0
        rho = np.where(known, 1.0 / np.where(known, products, 1.0), 0.0)
        alphas = np.zeros(rho.shape)
        for m in range(self.memory - 1, -1, -1):
            alphas[m] = rho[m] * np.einsum("nd,nd->n", s[m], q)
            q -= alphas[m][:, None] * y[m]
        squares = np.einsum("nd,nd->n", y[-1], y[-1])
        gamma = np.where(known[-1], products[-1] / np.maximum(squares, 1e-300), 0.0)
        slope = np.linalg.norm(self.slope_ND, axis=1)
        plain = _LONGEST / np.maximum(slope, 1e-300)
        q *= np.where(known[-1], gamma, plain)[:, None]
        for m in range(self.memory):
            beta = rho[m] * np.einsum("nd,nd->n", y[m], q)
            q += (alphas[m] - beta)[:, None] * s[m]
        downhill = np.einsum("nd,nd->n", q, self.slope_ND) > 0
        q = np.where(downhill[:, None], q, self.slope_ND * plain[:, None])
        self.direction_ND = np.where(took[:, None], -q, self.direction_ND)

    def state(self) -> dict[str, Any]:
        return {
            name: getattr(self, name)
            for name in (
                *("z_ND", "asked_z_ND", "loss_N", "slope_ND", "direction_ND", "length_N"),
                *("steps_MND", "changes_MND", "kept_N"),
            )
        }

    def restore(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, np.array(value))
