"""The loss of every token's row, with its gradient: reading, and writing where one row does both.

Shapes: N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.events import Listen, Note
from tokengraft.recipes import Distillation
from tokengraft.row_sets import RowSet
from tokengraft.training.language_model import LanguageModel
from tokengraft.training.lessons import Keep, Lesson, Share, dealt, lessons
from tokengraft.training.next_tokens import NextTokens
from tokengraft.training.objectives import (
    PlaceLoss,
    fisher_loss,
    plain_loss,
    predictions_loss,
    sensitivity,
)
from tokengraft.training.old_rows import mean_row
from tokengraft.training.output_fits import (
    Writing,
    fit_output,
    prepare_writing,
    writing_weights,
)
from tokengraft.training.output_rows import divergence, loss_and_gradient
from tokengraft.training.partial_passes import FINAL, aligned, compared, is_shared_safely
from tokengraft.training.row_cross_entropy import require_plain
from tokengraft.training.windows import Evidence, Windows, windows_of

Values = NDArray[np.float64]

STEP = "distil"
_SENSITIVITY_WINDOWS = 192
_A_PASS = 32  # of them for each pass, no more: a short training spends little on its metric
_TRIED_WINDOWS = 8  # on which it is seen whether passes may begin at the token


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """A loss of each token.

    Attributes:
        slope_ND: its gradient, of the sum over tokens; zeros where nobody asked.
        text_N: the part of next tokens, not weighted.
    """

    loss_N: Values
    slope_ND: Values
    text_N: Values


class Losses:
    """What rows are judged by, over the windows to train on and those to validate on.

    Attributes:
        fit, held_out: lessons, of this process.
        prepared: samples of what is due, in the first process; None where output rows are left as
            they are. `writing` are those that rows are judged by now (`draw_anew`).
        output_ND: rows that are written, known before anything is trained; None where tied.
        text: the loss of next tokens, `balance` its weight where rows are validated.
        has_both: whether one row is trained to do both jobs.
        read, write_N: what a nat of either job counts for then; the first process knows the latter.
    """

    def __init__(  # noqa: PLR0913 - what is read and by whom
        self,
        model: LanguageModel,
        evidence: Evidence,
        wish: Distillation,
        *,
        start: RowSet,
        seed: int,
        share: Share,
        keep: Keep,
        writing: Writing | None = None,
        listen: Listen,
    ) -> None:
        self.model, self.evidence, self.wish = model, _shortened(evidence, wish), wish
        self.seed, self.share, self.listen = seed, share, listen
        self.layers = compared(wish, model)
        self.n = len(evidence.phrases)
        self.has_both = model.tied and wish.writing == "solve"
        if wish.cross_entropy:
            require_plain(model)
        self.prepared = self._prepared_writing(writing, evidence)
        self.writing = self.prepared
        self.output_ND = self._written(start)
        self.text, self.balance = self._next_tokens(), 0.0
        self.last = self.layers[-1] if self.text is None else FINAL
        self.of_layer = self._place_losses()
        is_shared = not wish.gradient_checkpointing and self._is_shared(start.input_ND)
        self.fit, self.held_out = (
            lessons(
                model,
                windows,
                evidence.phrases,
                self.layers,
                last=self.last,
                size=wish.batch,
                share=share,
                keep=keep,
                is_shared=is_shared,
                has_before=self.text is not None and model.tied,
            )
            for windows in (self.evidence.windows, _to_validate(self.evidence))
        )
        self.read, self.write_N = self._weights()

    # ── what it needs ────────────────────────────────────────────────────────────────────────────

    def _prepared_writing(self, given: Writing | None, evidence: Evidence) -> Writing | None:
        if self.wish.writing == "keep" or self.share.rank:
            return None
        if given is not None:
            return given
        rng = np.random.default_rng(self.seed)
        return prepare_writing(self.model, evidence, self.model.output_VD(), rng)

    def _written(self, start: RowSet) -> Values | None:
        """Output rows; solved in the first process where they are to be."""
        if self.model.tied:
            return None
        assert start.output_ND is not None
        if self.wish.writing == "keep":
            return start.output_ND
        solved = self.writing
        return self.share.same(
            start.output_ND if solved is None else fit_output(self.model, solved)
        )

    def _next_tokens(self) -> NextTokens | None:
        if not self.wish.cross_entropy:
            return None
        import torch

        written_ND = None
        if self.output_ND is not None:
            written_ND = torch.from_numpy(self.output_ND.astype(np.float32)).to(self.model.device)
        return NextTokens(self.model, self.evidence.phrases, written_ND)

    def _place_losses(self) -> Sequence[PlaceLoss]:
        """Of each layer that is compared; they are added up."""
        import torch

        if self.wish.objective == "predictions":
            return [predictions_loss(self.model)]
        windows = self.evidence.windows
        selected = np.zeros(len(windows), np.bool_)
        selected[next(dealt(windows, min(_SENSITIVITY_WINDOWS, _A_PASS * self.wish.passes)))] = True
        some = windows.of(selected)
        if self.wish.metric == "fisher":
            group = aligned(some, self.model.n_rows)
            found = sensitivity(self.model, group, self.layers, self.seed)
            device = self.model.device
            return [fisher_loss(self.share.same(one.sum_DD / one.count), device) for one in found]
        lesson = self._one_lesson(some)
        exists = torch.from_numpy(lesson.group.exists_WS).to(lesson.told_LWSD.device)
        all_told = [told[exists].double() for told in lesson.told_LWSD]
        return [
            plain_loss(float((told - told.mean(dim=0)).square().sum(dim=-1).mean()))
            for told in all_told
        ]

    def _one_lesson(self, windows: Windows) -> Lesson:
        return lessons(
            self.model,
            windows,
            self.evidence.phrases,
            self.layers,
            last=self.last,
            size=len(windows),
            share=Share(),
            keep=Keep(None),
        )[0]

    def _is_shared(self, start_ND: Values) -> bool:
        """Tried on the first windows: passes from the token on against whole ones."""
        windows = self.evidence.windows
        lesson = self._one_lesson(windows.of(np.arange(len(windows)) < _TRIED_WINDOWS))
        if lesson.past is None:
            return False
        rows = self.tensor(start_ND)
        is_safe = is_shared_safely(self.model, lesson.group, lesson.past, rows, self.last)
        is_safe = bool(self.share.agreed(is_safe))
        if not is_safe:
            told = "passes compute whole windows: this model does not go on from keys and values"
            self.listen(Note(STEP, told))
        return is_safe

    def _weights(self) -> tuple[float, Values | None]:
        """What a nat of either job counts for: where one row has both, what uninformed rows lose."""
        if not self.has_both:
            return 1.0, None
        mean_D = mean_row(self.model.input_VD(), self.evidence.trained)
        mean_ND = np.repeat(mean_D[None], self.n, axis=0)
        read = self._read(self.fit, mean_ND, wants_slopes=False)
        read_weight = 1 / max(float(read.loss_N.mean()), 1e-12)
        if self.writing is None:
            return read_weight, None
        phrases, samples = self.evidence.phrases, self.writing.fit
        return read_weight, writing_weights(self.model, phrases, samples, mean_ND[0])

    def draw_anew(self, rows: Sequence[Values], number: int) -> None:
        """Draw what is written where these rows are written too, in the first process; the same for a number."""
        if self.prepared is not None:
            rng = np.random.default_rng([self.seed, number])
            self.writing = self.prepared.moved(rng, *rows)

    # ── losses ───────────────────────────────────────────────────────────────────────────────────

    def tensor(self, rows_ND: Values) -> Any:
        import torch

        device = self.model.device
        return torch.from_numpy(rows_ND.astype(np.float32)).to(device)

    def _read(
        self,
        group: Sequence[Lesson],
        rows_ND: Values,
        *,
        wants_slopes: bool,
        balance: float | None = 0.0,
    ) -> Loss:
        """Loss of reading of each token, over these lessons and all processes.

        Args:
            balance: weight of next tokens; None has both losses count alike in each lesson.
        """
        import torch

        width = rows_ND.shape[1]
        sums = np.zeros((self.n, 2 + width + 1))
        for lesson in group:
            rows = self.tensor(rows_ND).requires_grad_(wants_slopes)
            with torch.set_grad_enabled(wants_slopes):
                told, found, last = lesson.states(self.model, rows, self.layers, self.last)
                window_P, share_P = lesson.places()
                weight_P = lesson.weight_W[window_P] * share_P
                without_P = lesson.without_W[window_P]
                each = zip(self.of_layer, told, found, strict=True)
                loss_P = sum(loss(one, other, without_P) for loss, one, other in each)
                token_P = torch.from_numpy(lesson.token_W[window_P]).to(loss_P.device)
                weighted = loss_P * torch.from_numpy(weight_P.astype(np.float32)).to(loss_P.device)
                loss_N = torch.zeros(self.n, device=loss_P.device).index_add(0, token_P, weighted)
                total, told_N = loss_N.sum(), loss_N.detach().double().cpu().numpy()
                if self.text is not None:
                    text, text_N = self.text(lesson, last, rows)
                    weight = self._alike(told_N, text_N) if balance is None else balance
                    total, told_N = total + weight * text, told_N + weight * text_N
                    sums[:, 1] += text_N
                if wants_slopes:
                    (slope,) = torch.autograd.grad(total, rows)
                    sums[:, 2:-1] += slope.double().cpu().numpy()
            sums[:, 0] += told_N
            sums[:, -1] += lesson.has_N / self.share.world
        sums = self.share.add(sums)
        count = np.maximum(1, np.round(sums[:, -1:]))
        return Loss(sums[:, 0] / count[:, 0], sums[:, 2:-1] / count, sums[:, 1] / count[:, 0])

    def _alike(self, told_N: Values, text_N: Values) -> float:
        """The weight by which a lesson's loss of next tokens is as large as that of distillation."""
        told, text = self.share.add(np.array([told_N.sum(), text_N.sum()])).tolist()
        return float(told / max(text, 1e-12))

    def balanced(self, rows_ND: Values) -> float:
        """The weight of next tokens where rows are validated: one for the whole training."""
        if self.wish.cross_entropy != "auto":
            return float(self.wish.cross_entropy)
        found = self._read(self.held_out, rows_ND, wants_slopes=False)
        return float(found.loss_N.sum() / max(float(found.text_N.sum()), 1e-12))

    def losses(self, group: Sequence[Lesson], rows_ND: Values) -> Loss:
        """Loss of each token with its gradient, both jobs where one row has them."""
        balance = None if self.wish.cross_entropy == "auto" else self.wish.cross_entropy
        read = self._read(group, rows_ND, wants_slopes=True, balance=balance)
        if not self.has_both:
            return read
        # A token without a window in these lessons is not moved by them.
        has_N = np.any([lesson.has_N for lesson in group], axis=0)
        written = np.zeros((self.n, 1 + rows_ND.shape[1]))
        if self.writing is not None and self.write_N is not None:
            for n in np.flatnonzero(has_N).tolist():
                loss, slope = loss_and_gradient(self.model.written, self.writing.fit[n], rows_ND[n])
                written[n] = self.write_N[n] * np.array([loss, *slope])
        written = self.share.same(written)
        return Loss(
            self.read * read.loss_N + written[:, 0],
            self.read * read.slope_ND + written[:, 1:],
            read.text_N,
        )

    def validated(self, rows_ND: Values) -> Values:
        """Loss of each token on what is held out."""
        loss_N = self._read(self.held_out, rows_ND, wants_slopes=False, balance=self.balance).loss_N
        if not self.has_both:
            return loss_N
        written = np.zeros(self.n)
        if self.writing is not None and self.write_N is not None:
            held = enumerate(self.writing.held_out)
            of = [divergence(self.model.written, s, rows_ND[n]) for n, s in held]
            written = self.write_N * np.array(of)
        return self.read * loss_N + self.share.same(written)


def _shortened(evidence: Evidence, wish: Distillation) -> Evidence:
    if wish.before is None and wish.after is None:
        return evidence
    windows, validation = (
        part.shortened(wish.before, wish.after, evidence.bos)
        for part in (evidence.windows, evidence.validation)
    )
    return replace(evidence, windows=windows, validation=validation)


def _to_validate(evidence: Evidence) -> Windows:
    """Windows to validate on; tokens without any are judged by those that they are trained on."""
    own, other = evidence.validation, evidence.windows
    lacking = ~np.isin(other.token_W, own.token_W)
    if not lacking.any():
        return own
    parts = (own, other.of(lacking))
    return windows_of(
        [ids[:n] for w in parts for ids, n in zip(w.ids_WT, w.length_W, strict=True)],
        [token for w in parts for token in w.token_W.tolist()],
        [at for w in parts for at in w.at_W.tolist()],
        evidence.phrases,
        max(w.after for w in parts),
    )
