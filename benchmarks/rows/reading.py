"""How a new token is read: what the model makes of the text behind it.

T is the model with the pieces, S the model with the token. Both are asked at the same places of the
same text, and both about old tokens only, so that output rows play no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.language_model import LanguageModel
from tokengraft.training.states import FINAL, left_out, masked_logits, states_at
from tokengraft.training.windows import Ids, Phrase, Windows

Values = NDArray[np.float64]
Singles = NDArray[np.float32]

_LOGITS_AT_ONCE = 1 << 23


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What the model does with the pieces, at the places behind them: [W, A] places.

    Attributes:
        final, third: hidden states, after the last layer (normed) and after a third of them.
        targets: what comes next there.
        exists: which places there are.
    """

    windows: Windows
    final_WAD: Singles
    third_WAD: Singles
    targets_WA: Ids
    exists_WA: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Sums over each token's places.

    Attributes:
        kl: KL(T || S) in nats, mean over places, then over windows.
        nats: NLL of S minus that of T on what follows, summed; `size`: its bytes.
        final, third: squared distance of hidden states, summed.
        own_nats: NLL of S alone, summed.
    """

    kl_N: Values
    nats_N: Values
    size_N: Values
    final_N: Values
    third_N: Values
    own_nats_N: Values


def third(model: LanguageModel) -> int:
    """The layer after a third of all."""
    return max(1, round(model.n_layers / 3))


def expected(model: LanguageModel, windows: Windows) -> Expected:
    """One pass over the windows with the pieces."""
    places, exists = windows.following()
    final, early = states_at(model, windows.ids_WT, places, layers=(FINAL, third(model)))
    targets = np.take_along_axis(windows.ids_WT, np.where(exists, places + 1, 0), axis=1)
    return Expected(windows, final, early, targets, exists)


def merged_states(
    model: LanguageModel, windows: Windows, rows_ND: Values, layers: Sequence[int]
) -> list[Singles]:
    """States at the same places with the token in the place of the pieces."""
    places, exists = windows.following()
    places = np.where(exists, places - (windows.n_pieces_W - 1)[:, None], 0)
    return states_at(model, windows.merged(model.n_rows), places, rows_ND, layers)


def read(
    model: LanguageModel,
    told: Expected,
    phrases: Sequence[Phrase],
    rows_ND: Values,
    sizes_V: NDArray[np.int64],
) -> Read:
    """Measure the reading of rows."""
    final, early = merged_states(model, told.windows, rows_ND, (FINAL, third(model)))
    kl, nll_t, nll_s = compared(model, told, phrases, final)
    token_W, exists = told.windows.token_W, told.exists_WA
    n = len(phrases)
    windows = np.bincount(token_W, minlength=n)
    a_window = kl.sum(axis=1) / np.maximum(1, exists.sum(axis=1))

    def summed(values_WA: NDArray[np.floating]) -> Values:
        sums = np.where(exists, values_WA, 0).sum(axis=1)
        return np.bincount(token_W, sums, minlength=n)

    return Read(
        kl_N=np.bincount(token_W, a_window, minlength=n) / np.maximum(1, windows),
        nats_N=summed(nll_s - nll_t),
        size_N=summed(sizes_V[told.targets_WA].astype(np.float64)),
        final_N=summed(((final - told.final_WAD) ** 2).sum(axis=2)),
        third_N=summed(((early - told.third_WAD) ** 2).sum(axis=2)),
        own_nats_N=summed(nll_s),
    )


def compared(
    model: LanguageModel, told: Expected, phrases: Sequence[Phrase], final_WAD: Singles
) -> tuple[Values, Values, Values]:
    """KL(T || S), NLL of T and NLL of S at each place [W, A]; 0 where there is none."""
    import torch

    w, a = np.nonzero(told.exists_WA)
    out = np.zeros((3, *told.exists_WA.shape))
    without = left_out(phrases, told.windows.token_W)[w]
    step = max(1, _LOGITS_AT_ONCE // model.n_rows)
    with torch.inference_mode():
        for first in range(0, len(w), step):
            here = slice(first, first + step)
            at = (w[here], a[here])
            logs_t, logs_s = (
                torch.log_softmax(masked_logits(model, states[at], without[here]), dim=-1)
                for states in (told.final_WAD, final_WAD)
            )
            apart = torch.nan_to_num(logs_t - logs_s, nan=0.0)  # of the id that is left out
            target = torch.from_numpy(told.targets_WA[at])[:, None]
            out[(0, *at)] = (logs_t.exp() * apart).sum(dim=-1).double().numpy()
            out[(1, *at)] = -logs_t.gather(1, target)[:, 0].double().numpy()
            out[(2, *at)] = -logs_s.gather(1, target)[:, 0].double().numpy()
    # A word whose id is left out may stand in the text again: it has no probability there.
    out[~np.isfinite(out)] = 0.0
    return out[0], out[1], out[2]


def divergences(
    model: LanguageModel, windows: Windows, phrases: Sequence[Phrase], rows_ND: Values
) -> Values:
    """KL(T || S) a window, mean over its places: what a method may choose by."""
    told = expected(model, windows)
    (final,) = merged_states(model, windows, rows_ND, (FINAL,))
    kl, _, _ = compared(model, told, phrases, final)
    return np.asarray(kl.sum(axis=1) / np.maximum(1, told.exists_WA.sum(axis=1)))
