"""Train new rows, and nothing else, to be read (and written) like what they stand for.

The teacher is the model with the pieces (or with a description) in the text, the student the model
with the one new id. Only the N new rows are parameters: no copy of a matrix is made, no gradient of
an old row is computed, and the model keeps its bits.

    rows = distil_rows(model, evidence, start, Settings(), work=folder, seed=0)

Read: states or predictions behind the token (`objectives`), computed from the token on and up to the
layer that is compared (`partial_passes`). Written: an output row of its own is solved in closed form,
which is the optimum that training on the same evidence would go to (`output_rows`); where one row does
both jobs, both losses are descended together.

Shapes: N tokens, D width, W windows.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokengraft.events import Done, Listen, Progress, Started, ignore
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training.fitting import Evidence, Writing, fit_output
from tokengraft.training.keeping_on import Progressed, restored, stored
from tokengraft.training.language_model import LanguageModel
from tokengraft.training.lessons import Keep, Share
from tokengraft.training.old_rows import spread
from tokengraft.training.partial_passes import recomputing
from tokengraft.training.row_descent import Adam, RowLbfgs
from tokengraft.training.row_losses import STEP, Losses
from tokengraft.training.training_settings import Settings

Values = NDArray[np.float64]

_WHITENED = 1e-3  # of the mean variance of rows, so that no direction is closed


def distil_rows(  # noqa: PLR0913 - what is trained on what, and where it is kept
    model: LanguageModel,
    evidence: Evidence,
    start: RowSet,
    settings: Settings | None = None,
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
        share: of one process among several (`share_of(Accelerator())`).
        begin_ND: rows to train from; those of `start` if None.
        writing: what writing needs, where it is prepared already.

    Returns:
        Rows of the same tokens. `figures` has the losses before and after, by job.
    """
    settings = settings or Settings()
    assert start.texts == tuple(phrase.text for phrase in evidence.phrases)
    share = share or Share()
    keep = Keep(None if work is None else work / f"states-{share.rank}", settings.in_memory)
    losses = Losses(
        model,
        evidence,
        settings,
        start_ND=start.input_ND,
        seed=seed,
        share=share,
        keep=keep,
        writing=writing,
        listen=listen,
    )
    run = _Run(losses, start, start.input_ND if begin_ND is None else begin_ND, work)
    try:
        with recomputing(model) if settings.recompute else contextlib.nullcontext():
            run.train()
        return run.answer()
    finally:
        keep.clear()  # a further run computes them again


class _Run:
    """One training: what it reads, where it is, what was best."""

    def __init__(self, losses: Losses, start: RowSet, begin_ND: Values, work: Path | None) -> None:
        self.losses, self.start, self.begin_ND, self.work = losses, start, begin_ND, work
        self.model, self.evidence, self.settings = losses.model, losses.evidence, losses.settings
        self.seed, self.share, self.listen = losses.seed, losses.share, losses.listen
        self.n = losses.n
        self.descent = self._descent()
        self.progress = Progressed(start.input_ND.copy(), np.full(self.n, np.inf))

    def _descent(self) -> Adam | RowLbfgs:
        shape_DD = spread(self.model.input_VD(), self.evidence.trained)
        variance = float(np.trace(shape_DD)) / len(shape_DD)
        if self.settings.optimizer == "adam":
            return Adam(self.begin_ND.copy(), variance**0.5, self.settings.rate)
        values, vectors = np.linalg.eigh(shape_DD)
        rooted = vectors * np.sqrt(np.maximum(values, 0) + _WHITENED * variance)
        return RowLbfgs(self.begin_ND.copy(), rooted @ vectors.T)

    # ── the descent ──────────────────────────────────────────────────────────────────────────────

    def train(self) -> None:
        """Descend until nothing gets better, from where an earlier run was stopped."""
        settings, progress = self.settings, self.progress
        self.listen(Started(STEP, "", settings.passes, "passes"))
        key = self._key()
        self.progress = progress = restored(self.work, key, self.descent, progress)
        if not progress.passes:
            self._validate(self.start.input_ND)
            progress.first_N = progress.best_N.copy()
        while self._goes_on():
            loss_N = self._pass(progress.passes)
            progress.passes += 1
            told = {"loss": float(loss_N.mean())}
            if progress.passes % settings.validate_each == 0 or progress.passes == settings.passes:
                self._validate(self.descent.rows_ND)
                told["validation"] = float(progress.best_N.mean())
            progress.note(STEP, told)
            self.listen(Progress(STEP, "", progress.passes, settings.passes, "passes"))
            if self.share.rank == 0:
                stored(self.work, key, self.descent, progress, every=settings.save_seconds)
        if self.share.rank == 0:
            stored(self.work, key, self.descent, progress, every=0.0)
        for name in ("best_ND", "best_N", "first_N"):
            setattr(progress, name, self.share.same(getattr(progress, name)))
        self.listen(Done(STEP))

    def _validate(self, rows_ND: Values) -> None:
        rows_ND = self.share.same(rows_ND)
        self.progress.take(rows_ND, self.losses.validated(rows_ND), self.progress.passes)

    def _goes_on(self) -> bool:
        """Whether there is another pass; the first process decides it for all."""
        progress, settings = self.progress, self.settings
        goes_on = progress.passes < settings.passes and progress.idle < settings.patience
        if isinstance(self.descent, RowLbfgs):
            goes_on = goes_on and not bool(self.descent.rests_N.all())
        return bool(self.share.same(np.array([float(goes_on)]))[0])

    def _pass(self, number: int) -> Values:
        if isinstance(self.descent, RowLbfgs):
            loss_N, slope_ND = self.losses.losses(
                self.losses.fit, self.share.same(self.descent.asked_ND)
            )
            self.descent.told(loss_N, slope_ND)
            return self.descent.loss_N
        total = np.zeros(self.n)
        order = np.random.default_rng([self.seed, number]).permutation(len(self.losses.fit))
        for at, n in enumerate(order.tolist()):
            lesson = self.losses.fit[n]
            loss_N, slope_ND = self.losses.losses([lesson], self.share.same(self.descent.rows_ND))
            self.descent.step(slope_ND, lesson.has_N, self._pace(number * len(order) + at))
            total += loss_N / len(order)
        return total

    def _pace(self, step: int) -> float:
        """The share of the rate at a step: it rises, then falls along a cosine."""
        total = self.settings.passes * len(self.losses.fit)
        rising = max(1.0, self.settings.warm_up * total)
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + float(np.cos(np.pi * (step - rising) / max(1.0, total - rising))))

    def _key(self) -> str:
        """What an earlier state must have been trained on, to be gone on from."""
        kept = asdict(self.settings)
        del kept["save_seconds"], kept["in_memory"]
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
        output_ND = self.start.output_ND
        if not self.model.tied and self.losses.writing is not None:
            output_ND = fit_output(self.model, self.losses.writing)
        better = progress.best_N < progress.first_N
        counts = np.bincount(self.evidence.windows.token_W, minlength=self.n)
        written_ND = read_ND if output_ND is None else output_ND
        made = tuple(
            self._made(n, bool(better[n]), int(counts[n]), written_ND[n]) for n in range(self.n)
        )
        seen = np.isfinite(progress.best_N)
        figures = {
            "distil_loss_before": float(progress.first_N[seen].mean()) if seen.any() else 0.0,
            "distil_loss_after": float(progress.best_N[seen].mean()) if seen.any() else 0.0,
            "distil_passes": float(progress.passes),
        }
        return replace(
            self.start, input_ND=read_ND, output_ND=output_ND, made=made, figures=figures
        )

    def _made(self, n: int, is_better: bool, n_contexts: int, row_D: Values) -> RowsMade:  # noqa: FBT001
        before = self.start.made[n]
        read = "distilled" if is_better else before.read
        if self.losses.writing is None:
            write = read if self.model.tied else before.write
            return replace(before, read=read, write=write, n_contexts=n_contexts)
        samples = self.losses.writing.held_out[n]
        odds = samples.log_odds(self.model.written, row_D)
        taken = float(samples.weight_C @ np.exp(-np.logaddexp(0.0, -odds)))
        due = float(samples.weight_C @ samples.q_C)
        return RowsMade(
            read=read,
            write=read if self.model.tied else "solved",
            n_contexts=n_contexts,
            leak=taken / due if due > 0 else None,
            harm_nats=float(samples.weight_C @ np.logaddexp(0.0, odds)),
            notes=before.notes,
        )
