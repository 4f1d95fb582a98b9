"""Train new rows, and nothing else, to be read (and written) like what they stand for.

The teacher is the model with the pieces (or with a description) in the text, the student the model
with the one new id. Only the N new rows are parameters: no copy of a matrix is made, no gradient of
an old row is computed, and the model keeps its bits.

    rows = distil_rows(model, evidence, start, Distillation(), work=folder, seed=0)

Read: states or predictions behind the token (`objectives`), computed from the token on and up to the
layer that is compared (`partial_passes`). Written: an output row of its own is solved in closed form,
which is the optimum that training on the same evidence would go to (`output_rows`); where one row does
both jobs, both losses are descended together.

Shapes: N tokens, D width, W windows.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokengraft.events import Done, Listen, Progress, Started, ignore
from tokengraft.recipes import Distillation
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training.fitting import COMPROMISE, SOLVED
from tokengraft.training.keeping_on import SAVE_SECONDS, Progressed, restored, stored
from tokengraft.training.language_model import LanguageModel
from tokengraft.training.lessons import Keep, Share
from tokengraft.training.old_rows import mean_row, spread
from tokengraft.training.output_fits import MOVED, Writing
from tokengraft.training.output_rows import leak_and_harm, solve
from tokengraft.training.partial_passes import recomputing
from tokengraft.training.row_descent import Adam, RowLbfgs
from tokengraft.training.row_losses import STEP, Losses
from tokengraft.training.trackers import tracked
from tokengraft.training.windows import Evidence

Values = NDArray[np.float64]

_BOTH_JOBS = 0.1  # the highest rate of rows that are written too, where little is right
_PERIODS = 4  # of a training, after each of which it is seen anew where rows are written
_HELD = 1.0  # how strongly a row that is moved to be written is held to where it was
_WHITENED = 1e-3  # of the mean variance of rows, so that no direction is closed


def distil_rows(  # noqa: PLR0913 - what is trained on what, and where it is kept
    model: LanguageModel,
    evidence: Evidence,
    start: RowSet,
    wish: Distillation | None = None,
    *,
    work: Path | None = None,
    seed: int = 0,
    share: Share | None = None,
    begin_ND: Values | None = None,
    writing: Writing | None = None,
    listen: Listen = ignore,
) -> RowSet:
    """Train rows from where they are, or from others; every token keeps the row that validates best, its start included.

    Args:
        evidence: `start.texts` are the texts of its phrases, in the same order.
        work: a folder for the state of training, from which it goes on after an interruption, for
            `curves.jsonl` and for large states; None keeps nothing.
        share: of one process among several (`share_of`). The first one alone keeps the state, solves
            output rows and tells how far it is.
        begin_ND: rows to train from; those of `start` if None, but that a row for both jobs which
            was not fitted to them begins where it is written as is due.
        writing: what writing needs, where it is prepared already.

    Returns:
        Rows of the same tokens, the same in every process. `figures` has the losses before and after.

    Raises:
        UsageError: the model has no such layer.
    """
    wish = wish or Distillation()
    assert start.texts == tuple(phrase.text for phrase in evidence.phrases)
    share = share or Share()
    keep = Keep(None if work is None else work / f"states-{share.rank}")
    listen = ignore if share.rank else listen
    losses = Losses(
        model,
        evidence,
        wish,
        start=start,
        seed=seed,
        share=share,
        keep=keep,
        writing=writing,
        listen=listen,
    )
    run = _Run(losses, start, _begun(losses, start) if begin_ND is None else begin_ND, work)
    try:
        with recomputing(model) if wish.gradient_checkpointing else contextlib.nullcontext():
            run.train()
        return run.answer()
    finally:
        keep.clear()  # a further run computes them again


def _begun(losses: Losses, start: RowSet) -> Values:
    """Where rows are trained from that are not told where.

    One row for both jobs begins at the mean of all rows, moved so that it is written as is due, unless
    it was fitted to both: from rows that are read well, writing is not learned in so few steps.
    """
    if not losses.has_both or losses.writing is None:
        return start.input_ND
    model, writing = losses.model, losses.writing
    mean_D = mean_row(model.input_VD(), losses.evidence.trained)
    shape_DD = np.eye(model.width)
    rows_ND, every = start.input_ND.copy(), writing.every
    for n, (phrase, made) in enumerate(zip(losses.evidence.phrases, start.made, strict=True)):
        if not phrase.is_described and made.write != COMPROMISE:
            rows_ND[n] = solve(model.written, every[n], mean_D, shape_DD, _HELD)
    return rows_ND


class _Run:
    """One training: what it reads, where it is, what was best."""

    def __init__(self, losses: Losses, start: RowSet, begin_ND: Values, work: Path | None) -> None:
        self.losses, self.start, self.begin_ND, self.work = losses, start, begin_ND, work
        self.model, self.evidence, self.wish = losses.model, losses.evidence, losses.wish
        self.seed, self.share, self.listen = losses.seed, losses.share, losses.listen
        self.n = losses.n
        self.descent = self._descent()
        unknown_N = np.full(self.n, np.inf)
        self.progress = Progressed(start.input_ND.copy(), unknown_N, unknown_N)

    def _descent(self) -> Adam | RowLbfgs:
        shape_DD = spread(self.model.input_VD(), self.evidence.trained)
        variance = float(np.trace(shape_DD)) / len(shape_DD)
        if self.wish.optimizer == "adam":
            rate = min(self.wish.rate, _BOTH_JOBS) if self.losses.has_both else self.wish.rate
            return Adam(self.begin_ND.copy(), variance**0.5, rate)
        values, vectors = np.linalg.eigh(shape_DD)
        rooted = vectors * np.sqrt(np.maximum(values, 0) + _WHITENED * variance)
        return RowLbfgs(self.begin_ND.copy(), rooted @ vectors.T)

    # ── the descent ──────────────────────────────────────────────────────────────────────────────

    def train(self) -> None:
        """Descend until nothing gets better, from where an earlier run was stopped."""
        wish, progress = self.wish, self.progress
        self.listen(Started(STEP, "", wish.passes, "passes"))
        key = self._key()
        is_first = self.share.rank == 0
        if is_first:  # the others may not see its folder
            self.progress = progress = restored(self.work, key, self.descent, progress)
        progress.passes = int(self.share.agreed(progress.passes))
        if not progress.passes:
            progress.balance = self.losses.balanced(self.share.same(self.descent.rows_ND))
        self.losses.balance = self.share.agreed(progress.balance)
        if progress.moved:
            self.losses.draw_anew(progress.moved, progress.moved_at)
        if not progress.passes:
            self._validate(self.start.input_ND)
            progress.first_N = progress.best_N.copy()
        with tracked(wish.log if is_first and self.work else "jsonl", self.work or Path()) as track:
            while self._goes_on():
                if self.losses.has_both and progress.passes in self._draws():
                    self._draw_anew()
                loss_N, text_N = self._pass(progress.passes)
                progress.passes += 1
                told = {"loss": float(loss_N.mean())}
                if wish.cross_entropy:
                    told["cross_entropy"] = float(text_N.mean())
                if progress.passes % wish.validate_each == 0 or progress.passes == wish.passes:
                    self._validate(self.descent.rows_ND)
                    told["validation"] = float(progress.best_N.mean())
                progress.note(STEP, told)
                track(told, progress.passes)
                self.listen(Progress(STEP, "", progress.passes, wish.passes, "passes"))
                if is_first:
                    stored(self.work, key, self.descent, progress, every=SAVE_SECONDS)
        if is_first:
            stored(self.work, key, self.descent, progress, every=0.0)
        for name in ("best_ND", "best_N", "first_N"):
            own = getattr(progress, name) if is_first else np.zeros_like(getattr(progress, name))
            setattr(progress, name, self.share.same(own))
        self.listen(Done(STEP))

    def _draws(self) -> set[int]:
        """Passes before which samples are drawn anew, where one row does both jobs."""
        return {self.wish.passes * n // _PERIODS for n in range(1, _PERIODS)}

    def _draw_anew(self) -> None:
        progress, rows_ND = self.progress, self.share.same(self.descent.rows_ND)
        progress.moved, progress.moved_at = (*progress.moved, rows_ND)[-MOVED:], progress.passes
        self.losses.draw_anew(progress.moved, progress.moved_at)
        best_ND = self.share.same(progress.best_ND)
        losses = (self.losses.validated(rows) for rows in (self.start.input_ND, best_ND))
        progress.judge_again(self.start.input_ND, *losses)
        self.descent.renew()

    def _validate(self, rows_ND: Values) -> None:
        rows_ND = self.share.same(rows_ND)
        self.progress.take(rows_ND, self.losses.validated(rows_ND), self.progress.passes)

    def _goes_on(self) -> bool:
        """Whether there is another pass; the first process decides it for all."""
        progress, wish = self.progress, self.wish
        goes_on = progress.passes < wish.passes and progress.idle < wish.patience
        if isinstance(self.descent, RowLbfgs):
            goes_on = goes_on and not bool(self.descent.rests_N.all())
        return bool(self.share.agreed(goes_on))

    def _pass(self, number: int) -> tuple[Values, Values]:
        """One pass over all windows: each token's loss, and its part of next tokens."""
        if isinstance(self.descent, RowLbfgs):
            found = self.losses.losses(self.losses.fit, self.share.same(self.descent.asked_ND))
            self.descent.told(found.loss_N, found.slope_ND)
            return self.descent.loss_N, found.text_N
        total, text = np.zeros(self.n), np.zeros(self.n)
        order = np.random.default_rng([self.seed, number]).permutation(len(self.losses.fit))
        for at, n in enumerate(order.tolist()):
            lesson = self.losses.fit[n]
            found = self.losses.losses([lesson], self.share.same(self.descent.rows_ND))
            self.descent.step(found.slope_ND, lesson.has_N, self._pace(number * len(order) + at))
            total += found.loss_N / len(order)
            text += found.text_N / len(order)
        return total, text

    def _pace(self, step: int) -> float:
        """The share of the rate at a step: it rises, then falls along a cosine."""
        total = self.wish.passes * len(self.losses.fit)
        rising = max(1.0, self.wish.warmup * total)
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + float(np.cos(np.pi * (step - rising) / max(1.0, total - rising))))

    def _key(self) -> str:
        """What an earlier state must have been trained on, to be gone on from."""
        kept = self.wish.model_dump(mode="json", exclude={"log"})
        seen = hashlib.sha256(repr((kept, self.seed, self.start.texts)).encode())
        for windows in (self.evidence.windows, self.evidence.validation):
            for array in (windows.ids_WT, windows.at_W, windows.token_W):
                seen.update(np.ascontiguousarray(array).tobytes())
        for rows_ND in (self.start.input_ND, self.begin_ND):
            seen.update(np.ascontiguousarray(rows_ND).tobytes())
        return seen.hexdigest()

    # ── what is said of it ───────────────────────────────────────────────────────────────────────

    def answer(self) -> RowSet:
        """The best rows, with output rows solved where they are rows of their own."""
        progress = self.progress
        read_ND = np.where(
            np.isfinite(progress.best_N)[:, None], progress.best_ND, self.start.input_ND
        )
        output_ND = self.losses.output_ND
        better_N = progress.best_N < progress.first_N
        made = self._made(better_N, read_ND if output_ND is None else output_ND)
        seen = np.isfinite(progress.best_N)
        figures = {
            "distil_loss_before": float(progress.first_N[seen].mean()) if seen.any() else 0.0,
            "distil_loss_after": float(progress.best_N[seen].mean()) if seen.any() else 0.0,
            "distil_passes": float(progress.passes),
            "distil_processes": float(self.share.world),
        }
        return replace(
            self.start, input_ND=read_ND, output_ND=output_ND, made=made, figures=figures
        )

    def _made(self, better_N: NDArray[np.bool_], written_ND: Values) -> tuple[RowsMade, ...]:
        counts = np.bincount(self.evidence.windows.token_W, minlength=self.n)
        told_N2 = self._leak_and_harm(written_ND)
        made = []
        for n, before in enumerate(self.start.made):
            read = "distilled" if better_N[n] else before.read
            one = replace(before, read=read, n_contexts=int(counts[n]))
            if self.model.tied and better_N[n]:  # what was measured is that of another row
                one = replace(one, write=read, leak=None, harm_nats=None)
            if told_N2 is not None:
                leak, harm = told_N2[n].tolist()
                leak = leak if np.isfinite(leak) else None
                write = read if self.model.tied else SOLVED[self.evidence.phrases[n].is_described]
                one = replace(one, write=write, leak=leak, harm_nats=harm)
            made.append(one)
        return tuple(made)

    def _leak_and_harm(self, written_ND: Values) -> Values | None:
        """How much is written where it is not due, by what is due; and nats that it costs: [N, 2]."""
        if self.wish.writing == "keep":
            return None
        told_N2 = np.zeros((self.n, 2))
        writing = self.losses.writing
        for n, samples in enumerate(writing.held_out if writing is not None else ()):
            told_N2[n] = leak_and_harm(self.model.written, samples, written_ND[n])
        return self.share.same(told_N2)
