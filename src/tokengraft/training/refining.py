"""Input rows refined by forward passes alone: how states answer to a row is measured, then inverted.

A few random changes of rows show how the states behind a token answer; one linear map for all tokens is
fitted to that. What the pieces leave in these states and the row does not is the residual; the map
turned round says which change of the row would take it away. Every step is tried on windows and kept
token by token, only where the model's predictions come nearer to those after the pieces.

The metric is the Fisher information of the output, so that a residual counts for what it does to
predictions and not for its size. Works on any stack that computes hidden states; no gradient.

Shapes: N tokens, D width, W windows, A places behind the phrase.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.language_model import LanguageModel
from tokengraft.training.resplitting import at_most
from tokengraft.training.states import left_out, masked_logits, states_at
from tokengraft.training.windows import Phrase, Windows

Values = NDArray[np.float64]
Singles = NDArray[np.float32]

PLACES = 4  # behind the phrase, its own included, whose states are matched
SCORED = 8  # places whose predictions a step is judged by
WINDOWS = 10  # of a token, that steps are judged on
ROUNDS = 3
PROBES = 3.0  # random changes for each dimension, over all tokens together
PROBE_SIZE = 0.3  # of a change, in standard deviations of rows
PROBE_WINDOWS = 2  # a token
_LOGITS_AT_ONCE = 1 << 23
_FISHER_STATES = 96


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """Rows and what they were judged by, before and after: KL in nats a place, for each token."""

    rows_ND: Values
    before_N: Values
    after_N: Values
    answer_DD: Values  # how the prediction answers to a change of a row: a metric on rows


def refine(
    model: LanguageModel,
    windows: Windows,
    phrases: Sequence[Phrase],
    start_ND: Values,
    rng: np.random.Generator,
) -> Refined:
    """Refine rows on at most `WINDOWS` windows of each token."""
    windows = at_most(windows, WINDOWS)
    places, exists = windows.following()
    places, exists = places[:, :SCORED], exists[:, :SCORED]
    (told,) = states_at(model, windows.ids_WT, places)
    judge = _Judge(model, windows, phrases, told, exists)
    rows_ND = start_ND.copy()
    states, kl_N = judge(rows_ND)
    before = kl_N.copy()
    fisher_DD = fisher(model, told[exists], rng)
    spread_DD = np.cov(model.input_VD().astype(np.float64), rowvar=False)
    answers = _probe(model, windows, rows_ND, states, spread_DD, rng)
    metric = _metric(answers, fisher_DD)
    for _ in range(ROUNDS):
        residual = _mean_residual(windows, told, states, len(phrases))
        for damping in (1e-1, 1e-2, 1e-3):
            step_ND = _step(answers, fisher_DD, spread_DD, residual, damping)
            for length in (1.0, 0.4):
                tried = rows_ND + length * step_ND
                new_states, new_kl_N = judge(tried)
                better = new_kl_N < kl_N
                rows_ND = np.where(better[:, None], tried, rows_ND)
                kl_N = np.where(better, new_kl_N, kl_N)
                states = np.where(better[windows.token_W][:, None, None], new_states, states)
    return Refined(rows_ND, before, kl_N, metric)


def judged(
    model: LanguageModel, windows: Windows, phrases: Sequence[Phrase], rows_ND: Values
) -> Values:
    """Mean KL of each token's predictions from those after its pieces, in nats a place."""
    places, exists = windows.following()
    (told,) = states_at(model, windows.ids_WT, places[:, :SCORED])
    _, kl_N = _Judge(model, windows, phrases, told, exists[:, :SCORED])(rows_ND)
    return kl_N


def fisher(model: LanguageModel, states_PD: Singles, rng: np.random.Generator) -> Values:
    """Mean Fisher information of the prediction about the final state: U'(diag p - p p')U."""
    chosen = states_PD[rng.permutation(len(states_PD))[:_FISHER_STATES]]
    output_VD = model.output_VD().astype(np.float64) * model.written.scale
    logits = masked_logits(model, chosen, None).double().numpy()
    p_PV = np.exp(logits - logits.max(axis=1, keepdims=True))
    p_PV /= p_PV.sum(axis=1, keepdims=True)
    means_PD = p_PV @ output_VD
    second = (output_VD * p_PV.sum(axis=0)[:, None]).T @ output_VD
    return np.asarray((second - means_PD.T @ means_PD) / len(chosen))


class _Judge:
    """States behind tokens with some rows, and each token's mean KL from the pieces' predictions."""

    def __init__(
        self,
        model: LanguageModel,
        windows: Windows,
        phrases: Sequence[Phrase],
        told_WAD: Singles,
        exists_WA: NDArray[np.bool_],
    ) -> None:
        self.model, self.windows, self.exists_WA = model, windows, exists_WA
        self.told_WAD = told_WAD
        self.merged_WT = windows.merged(model.n_rows)
        self.places_WA = merged_places(windows, SCORED)
        self.without_W = left_out(phrases, windows.token_W)
        self.n = len(phrases)

    def __call__(self, rows_ND: Values) -> tuple[Singles, Values]:
        (states,) = states_at(self.model, self.merged_WT, self.places_WA, rows_ND)
        return states, self.divergence(states)

    def divergence(self, states_WAD: Singles) -> Values:
        import torch

        w, a = np.nonzero(self.exists_WA)
        kl = np.zeros(self.exists_WA.shape)
        step = max(1, _LOGITS_AT_ONCE // self.model.n_rows)
        with torch.inference_mode():
            for first in range(0, len(w), step):
                at = (w[first : first + step], a[first : first + step])
                told, found = (
                    torch.log_softmax(
                        masked_logits(self.model, states[at], self.without_W[at[0]]), dim=-1
                    )
                    for states in (self.told_WAD, states_WAD)
                )
                apart = torch.nan_to_num(told - found, nan=0.0)
                kl[at] = (told.exp() * apart).sum(dim=-1).double().numpy()
        a_window = kl.sum(axis=1) / np.maximum(1, self.exists_WA.sum(axis=1))
        counts = np.maximum(1, np.bincount(self.windows.token_W, minlength=self.n))
        return np.asarray(np.bincount(self.windows.token_W, a_window, self.n) / counts)


def merged_places(windows: Windows, count: int) -> NDArray[np.int64]:
    """The places behind the token in the merged reading."""
    places, exists = windows.following()
    places, exists = places[:, :count], exists[:, :count]
    return np.where(exists, places - (windows.n_pieces_W - 1)[:, None], 0)


def _probe(
    model: LanguageModel,
    windows: Windows,
    rows_ND: Values,
    states_WAD: Singles,
    spread_DD: Values,
    rng: np.random.Generator,
) -> Values:
    """How the first states behind a token answer to its row: [PLACES, D out, D in], over all tokens."""
    few = np.zeros(len(windows), np.bool_)
    seen: dict[int, int] = {}
    for n, token in enumerate(windows.token_W.tolist()):
        few[n] = seen.get(token, 0) < PROBE_WINDOWS
        seen[token] = seen.get(token, 0) + 1
    chosen = windows.of(few)
    base = states_WAD[few][:, :PLACES].astype(np.float64)
    width, n = model.width, len(rows_ND)
    times = max(2, int(np.ceil(PROBES * width / max(1, len(seen)))))
    root = np.linalg.cholesky(spread_DD + 1e-9 * np.trace(spread_DD) / width * np.eye(width))
    merged, places = chosen.merged(model.n_rows), merged_places(chosen, PLACES)
    counts = np.maximum(1, np.bincount(chosen.token_W, minlength=n))
    inputs, outputs = [], []
    for _ in range(times):
        change_ND = PROBE_SIZE * rng.standard_normal((n, width)) @ root.T
        (moved,) = states_at(model, merged, places, rows_ND + change_ND)
        answer = np.zeros((n, PLACES * width))
        np.add.at(answer, chosen.token_W, (moved - base).reshape(len(chosen), -1))
        has = np.bincount(chosen.token_W, minlength=n) > 0
        inputs.append(change_ND[has])
        outputs.append((answer / counts[:, None])[has])
    x, y = np.concatenate(inputs), np.concatenate(outputs)
    gram = x.T @ x
    ridge = 1e-2 * np.trace(gram) / width * np.eye(width)
    solved = np.linalg.solve(gram + ridge, x.T @ y)  # [D in, PLACES * D out]
    return np.ascontiguousarray(solved.reshape(width, PLACES, width).transpose(1, 2, 0))


def _metric(answers: Values, fisher_DD: Values) -> Values:
    """Second-order KL of a change of a row, summed over the places: sum_a J_a' F J_a."""
    return np.asarray(sum(a.T @ fisher_DD @ a for a in answers))


def _mean_residual(windows: Windows, told: Singles, states: Singles, n: int) -> Values:
    """What is missing at the first places behind each token, mean over windows: [N, PLACES, D]."""
    missing = (told - states)[:, :PLACES].astype(np.float64)
    sums = np.zeros((n, *missing.shape[1:]))
    np.add.at(sums, windows.token_W, missing)
    counts = np.maximum(1, np.bincount(windows.token_W, minlength=n))
    return np.asarray(sums / counts[:, None, None])


def _step(
    answers: Values, fisher_DD: Values, spread_DD: Values, residual: Values, damping: float
) -> Values:
    """The change that takes most of the residual away, held to the size that rows have."""
    curvature = _metric(answers, fisher_DD)
    towards = np.zeros((len(residual), answers.shape[2]))
    for place, answer in enumerate(answers):
        towards += residual[:, place] @ fisher_DD @ answer
    width = len(spread_DD)
    held = np.linalg.inv(spread_DD + 1e-3 * np.trace(spread_DD) / width * np.eye(width))
    share = damping * np.trace(curvature @ spread_DD) / width
    return np.asarray(np.linalg.solve(curvature + share * held, towards.T).T)
