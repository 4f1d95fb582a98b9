"""The loss of every token's row, with its gradient: reading, and writing where one row does both.

Shapes: N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.events import Listen, Note
from tokengraft.training.fitting import Evidence, Writing, prepare_writing, writing_weights
from tokengraft.training.language_model import LanguageModel
from tokengraft.training.lessons import Keep, Lesson, Share, dealt, lessons
from tokengraft.training.objectives import (
    PlaceLoss,
    fisher_loss,
    plain_loss,
    predictions_loss,
    sensitivity,
)
from tokengraft.training.old_rows import mean_row
from tokengraft.training.output_rows import divergence, loss_and_gradient
from tokengraft.training.partial_passes import aligned, is_shared_safely
from tokengraft.training.training_settings import Settings
from tokengraft.training.windows import Windows, windows_of

Values = NDArray[np.float64]

STEP = "distil"
_SENSITIVITY_WINDOWS = 192
_TRIED_WINDOWS = 8  # on which it is seen whether passes may begin at the token


class Losses:
    """What rows are judged by, over the windows to train on and those to validate on.

    Attributes:
        fit, held_out: lessons, of this process.
        writing: samples of what is due; None where output rows are left as they are.
        read, write_N: what a nat of either job counts for where one row has both; None where it
            has not.
    """

    def __init__(  # noqa: PLR0913 - what is read and by whom
        self,
        model: LanguageModel,
        evidence: Evidence,
        settings: Settings,
        *,
        start_ND: Values,
        seed: int,
        share: Share,
        keep: Keep,
        writing: Writing | None = None,
        listen: Listen,
    ) -> None:
        self.model, self.evidence, self.settings = model, evidence, settings
        self.seed, self.share, self.listen = seed, share, listen
        self.layer = settings.layer_of(model)
        self.n = len(evidence.phrases)
        self.writing = self._prepared_writing(writing)
        self.loss = self._place_loss()
        wants_shared = settings.share_past and not settings.recompute
        is_shared = wants_shared and self._is_shared(start_ND)
        self.fit, self.held_out = (
            lessons(
                model,
                windows,
                evidence.phrases,
                self.layer,
                size=settings.group,
                share=share,
                keep=keep,
                is_shared=is_shared,
            )
            for windows in (evidence.windows, _to_validate(evidence))
        )
        self.read, self.write_N = self._weights()

    # ── what it needs ────────────────────────────────────────────────────────────────────────────

    def _prepared_writing(self, given: Writing | None) -> Writing | None:
        if self.settings.writing == "keep":
            return None
        if given is not None:
            return given
        rng = np.random.default_rng(self.seed)
        return prepare_writing(self.model, self.evidence, self.model.output_VD(), rng)

    def _place_loss(self) -> PlaceLoss:
        import torch

        if self.settings.objective == "predictions":
            return predictions_loss(self.model)
        windows = self.evidence.windows
        selected = np.zeros(len(windows), np.bool_)
        selected[next(dealt(windows, _SENSITIVITY_WINDOWS))] = True
        some = windows.of(selected)
        if self.settings.metric == "fisher":
            group = aligned(some, self.model.n_rows)
            found = sensitivity(self.model, group, self.layer, self.seed)
            device = self.model.embedding.weight.device
            return fisher_loss(found.sum_DD / found.count, device)
        lesson = self._one_lesson(some)
        exists = torch.from_numpy(lesson.group.exists_WS).to(lesson.told_WSD.device)
        told = lesson.told_WSD[exists].double()
        return plain_loss(float((told - told.mean(dim=0)).square().sum(dim=-1).mean()))

    def _one_lesson(self, windows: Windows) -> Lesson:
        return lessons(
            self.model,
            windows,
            self.evidence.phrases,
            self.layer,
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
        is_safe = is_shared_safely(self.model, lesson.group, lesson.past, rows, self.layer)
        if not is_safe:
            told = "passes compute whole windows: this model does not go on from keys and values"
            self.listen(Note(STEP, told))
        return is_safe

    def _weights(self) -> tuple[float, Values | None]:
        """What a nat of either job counts for: where one row has both, what uninformed rows lose."""
        if not self.model.tied or self.writing is None:
            return 1.0, None
        mean_D = mean_row(self.model.input_VD(), self.evidence.trained)
        mean_ND = np.repeat(mean_D[None], self.n, axis=0)
        read, _ = self._read(self.fit, mean_ND, wants_slopes=False)
        phrases, samples = self.evidence.phrases, self.writing.fit
        write_N = writing_weights(self.model, phrases, samples, mean_ND[0])
        return 1 / max(float(read.mean()), 1e-12), write_N

    # ── losses ───────────────────────────────────────────────────────────────────────────────────

    def tensor(self, rows_ND: Values) -> Any:
        import torch

        device = self.model.embedding.weight.device
        return torch.from_numpy(rows_ND.astype(np.float32)).to(device)

    def _read(
        self, group: Sequence[Lesson], rows_ND: Values, *, wants_slopes: bool
    ) -> tuple[Values, Values]:
        """Loss of reading of each token, and its gradient, over these lessons and all processes."""
        import torch

        width = rows_ND.shape[1]
        sums = np.zeros((self.n, 1 + width + 1))
        for lesson in group:
            rows = self.tensor(rows_ND).requires_grad_(wants_slopes)
            with torch.set_grad_enabled(wants_slopes):
                told, found = lesson.states(self.model, rows, self.layer)
                window_P, share_P = lesson.places()
                weight_P = lesson.weight_W[window_P] * share_P
                loss_P = self.loss(told, found, lesson.without_W[window_P])
                token_P = torch.from_numpy(lesson.token_W[window_P]).to(loss_P.device)
                weighted = loss_P * torch.from_numpy(weight_P.astype(np.float32)).to(loss_P.device)
                loss_N = torch.zeros(self.n, device=loss_P.device).index_add(0, token_P, weighted)
                if wants_slopes:
                    (slope,) = torch.autograd.grad(loss_N.sum(), rows)
                    sums[:, 1:-1] += slope.double().cpu().numpy()
            sums[:, 0] += loss_N.detach().double().cpu().numpy()
            sums[:, -1] += lesson.has_N / self.share.world
        sums = self.share.add(sums)
        count = np.maximum(1, np.round(sums[:, -1:]))
        return sums[:, 0] / count[:, 0], sums[:, 1:-1] / count

    def losses(self, group: Sequence[Lesson], rows_ND: Values) -> tuple[Values, Values]:
        """Loss of each token with its gradient, both jobs where one row has them."""
        loss_N, slope_ND = self._read(group, rows_ND, wants_slopes=True)
        if self.write_N is None or self.writing is None:
            return loss_N, slope_ND
        written = self.model.written
        loss_N, slope_ND = self.read * loss_N, self.read * slope_ND
        # A token without a window in these lessons is not moved by them.
        for n in np.flatnonzero(np.any([lesson.has_N for lesson in group], axis=0)).tolist():
            loss, slope = loss_and_gradient(written, self.writing.fit[n], rows_ND[n])
            loss_N[n] += self.write_N[n] * loss
            slope_ND[n] += self.write_N[n] * slope
        return loss_N, slope_ND

    def validated(self, rows_ND: Values) -> Values:
        loss_N, _ = self._read(self.held_out, rows_ND, wants_slopes=False)
        if self.write_N is not None and self.writing is not None:
            held = enumerate(self.writing.held_out)
            of = [divergence(self.model.written, s, rows_ND[n]) for n, s in held]
            loss_N = self.read * loss_N + self.write_N * np.array(of)
        return loss_N


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
