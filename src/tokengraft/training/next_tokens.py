"""Cross-entropy of the next token in windows with their new token, beside distillation.

The loss is D + weight * CE, both as means over places, windows and tokens. With `auto` the weight of
each step is D / CE, through which no gradient goes, so that both losses count alike whatever they are
measured in (alpha NTP).

Source: Dobler et al. 2025, "Token Distillation" (2505.20133), and its authors' code, which takes both
losses as means over a batch.

Shapes: W windows, P places, N new tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.language_model import LanguageModel
from tokengraft.training.lessons import Lesson
from tokengraft.training.row_cross_entropy import cross_entropies
from tokengraft.training.windows import Phrase

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class NextTokens:
    """The loss of what is written in windows, over old and new tokens.

    Attributes:
        written_ND: a tensor: output rows, which stay as they are; None where the rows that are trained are
            written too. Then what is written before the token and in its place counts as well; the
            token of a description is due nowhere.
    """

    model: LanguageModel
    phrases: Sequence[Phrase]
    written_ND: Any

    def __call__(self, lesson: Lesson, behind_PD: Any, rows_ND: Any) -> tuple[Any, Values]:
        """The sum over tokens, with its gradient; and each token's share of it [N], without.

        Args:
            behind_PD: states as the output matrix reads them, at the places that count.
        """
        import torch

        group, device = lesson.group, behind_PD.device
        window_P, _ = np.nonzero(group.exists_WS)
        windows, targets, states = [window_P], [group.next_WS[group.exists_WS]], [behind_PD]
        if self.written_ND is None and group.before_WP.shape[1]:
            following = np.concatenate([group.before_WP[:, 1:], group.merged_WS[:, :1]], axis=1)
            counts_WP = group.is_there_WP.copy()
            described = np.array([phrase.is_described for phrase in self.phrases], np.bool_)
            counts_WP[described[lesson.token_W], -1] = False
            windows.append(np.nonzero(counts_WP)[0])
            targets.append(following[counts_WP])
            states.append(lesson.before_WPD[torch.from_numpy(counts_WP).to(device)])
        window_P = np.concatenate(windows)
        places_W = np.maximum(1, np.bincount(window_P, minlength=len(lesson.token_W)))
        weight_P = lesson.weight_W[window_P] / places_W[window_P]
        total, loss_P = cross_entropies(
            self.model,
            torch.cat(states),
            torch.from_numpy(np.concatenate(targets)).to(device),
            rows_ND if self.written_ND is None else self.written_ND,
            torch.from_numpy(weight_P.astype(np.float32)).to(device),
        )
        weighted_P = weight_P * loss_P.double().cpu().numpy()
        loss_N = np.bincount(lesson.token_W[window_P], weighted_P, len(self.phrases))
        return total, np.asarray(loss_N, np.float64)
