"""The state of a training in a folder, so that one that was stopped goes on and ends with the same rows."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.row_descent import Adam, RowLbfgs

Values = NDArray[np.float64]

STATE, CURVES = "state.npz", "curves.jsonl"
SAVE_SECONDS = 20.0  # from one stored state to the next


@dataclass(eq=False)
class Progressed:
    """How far a training is.

    Attributes:
        best_ND, best_N: each token's row that validated best, and its loss.
        first_N: losses at the start.
        passes: over all windows.
        idle: validations since a token got better.
        curve: what was said of each pass.
        balance: weight of next tokens where rows are validated.
        moved: rows that samples of what is written are drawn by, after the pass `moved_at`.
    """

    best_ND: Values
    best_N: Values
    first_N: Values
    passes: int = 0
    idle: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    balance: float = 0.0
    moved: tuple[Values, ...] = ()
    moved_at: int = 0
    _since: float = field(default_factory=time.monotonic)
    stored_at: float = 0.0

    def take(self, rows_ND: Values, loss_N: Values, number: int) -> None:
        """Take the rows of tokens that validate better than before, by more than rounding."""
        better = loss_N < self.best_N
        much = loss_N < self.best_N * (1 - 1e-3)
        if number:
            self.idle = 0 if bool(much.any()) else self.idle + 1
        self.best_ND = np.where(better[:, None], rows_ND, self.best_ND)
        self.best_N = np.where(better, loss_N, self.best_N)

    def judge_again(self, start_ND: Values, first_N: Values, best_N: Values) -> None:
        """What is validated is another loss: the start's, and that of the best rows so far."""
        best_ND = self.best_ND
        self.first_N = self.best_N = first_N
        self.best_ND = start_ND
        self.take(best_ND, best_N, 0)

    def note(self, stage: str, told: dict[str, float]) -> None:
        """Add a pass to the curve."""
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now
        line = {"stage": stage, "step": self.passes, **told, "seconds": round(self.seconds, 3)}
        self.curve.append(line)


def restored(
    work: Path | None, key: str, descent: Adam | RowLbfgs, fresh: Progressed
) -> Progressed:
    """Where an earlier run of the same training was stopped; `fresh` where there was none."""
    path = None if work is None else work / STATE
    if path is None or not path.is_file():
        return fresh
    with np.load(path, allow_pickle=False) as kept:
        told = json.loads(str(kept["told"]))
        if told["key"] != key:
            return fresh
        own = "descent."
        names = [name for name in kept.files if name.startswith(own)]
        descent.restore({name.removeprefix(own): kept[name] for name in names})
        return Progressed(
            best_ND=kept["best_ND"],
            best_N=kept["best_N"],
            first_N=kept["first_N"],
            passes=told["passes"],
            idle=told["idle"],
            curve=told["curve"],
            seconds=told["seconds"],
            balance=told["balance"],
            moved=tuple(kept["moved_KND"]),
            moved_at=told["moved_at"],
        )


def stored(
    work: Path | None, key: str, descent: Adam | RowLbfgs, progress: Progressed, *, every: float
) -> None:
    """Store the state, if the last time is so many seconds ago; whole or not at all."""
    now = time.monotonic()
    if work is None or (every and now - progress.stored_at < every):
        return
    work.mkdir(parents=True, exist_ok=True)
    progress.stored_at = now
    told = {
        "key": key,
        "passes": progress.passes,
        "idle": progress.idle,
        "curve": progress.curve,
        "seconds": progress.seconds,
        "balance": progress.balance,
        "moved_at": progress.moved_at,
    }
    arrays: dict[str, Any] = {
        f"descent.{name}": np.asarray(value) for name, value in descent.state().items()
    }
    draft = work / f"{STATE}.new"
    with draft.open("wb") as file:
        np.savez(
            file,
            told=np.array(json.dumps(told)),
            best_ND=progress.best_ND,
            best_N=progress.best_N,
            first_N=progress.first_N,
            moved_KND=np.array(progress.moved),
            **arrays,
        )
        file.flush()
        os.fsync(file.fileno())
    draft.replace(work / STATE)
    lines = "".join(json.dumps(line) + "\n" for line in progress.curve)
    curves = work / f"{CURVES}.new"
    curves.write_text(lines, encoding="utf-8")
    curves.replace(work / CURVES)
