"""Input rows refined by forward passes alone: how states answer to a row is measured, then inverted.

A few random changes of rows show how the states behind a token answer; one linear map for all tokens is
fitted to that, and corrected for each token by what its own steps showed (`secants`). What the pieces
leave in these states and the row does not is the residual; the map turned round says which change of the
row would take it away. Every step is tried on windows and kept token by token, only where the model's
predictions come nearer to those after the pieces.

The metric is the Fisher information of the output, so that a residual counts for what it does to
predictions and not for its size. Works on any stack that computes hidden states; no gradient.

Shapes: N tokens, D width, W windows, A places behind the phrase.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.language_model import LanguageModel, Written
from tokengraft.training.old_rows import BLOCK_ROWS
from tokengraft.training.output_rows import Samples, divergence, slopes
from tokengraft.training.resplitting import at_most
from tokengraft.training.secants import Answers, curvature_of_all, towards_and_curvature
from tokengraft.training.states import left_out, masked_logits, states_at
from tokengraft.training.windows import Phrase, Windows

Values = NDArray[np.float64]
Singles = NDArray[np.float32]

PLACES = 4  # behind the phrase, its own included, whose states are matched
SCORED = 16  # places whose predictions a step is judged by
WINDOWS = 25  # of a token, that steps are judged on
ROUNDS = 12
REDRAWN = 4  # rounds after which samples of a second job are drawn anew, where rows are written now
REMEASURED = 2  # rounds after which the answer is measured anew, at the rows that are there now
DAMPINGS = (0.3, 0.03, 0.003)
PROBES = 2.0  # random changes for each dimension, over all tokens together
PROBE_SIZE = 0.3  # of a change, in standard deviations of rows
PROBE_WINDOWS = 1  # a token
_LOGITS_AT_ONCE = 1 << 23
_FISHER_STATES = 96


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """Rows and what they were judged by, before and after: each token's loss.

    The loss is KL in nats a place; where a row has a second job, both losses on one scale.
    """

    rows_ND: Values
    before_N: Values
    after_N: Values


@dataclass(frozen=True, slots=True, eq=False)
class SecondJob:
    """That the same rows are written: samples of each token, and how much either job counts for.

    Attributes:
        read: weight of a nat of reading; `write_N`: of a nat of writing, of each token. One over
            what uninformed rows lose makes the two comparable.
        drawn: other samples, drawn where rows are written that are given.
    """

    written: Written
    samples: Sequence[Samples]
    read: float
    write_N: Values
    drawn: Callable[[Values], Sequence[Samples]]

    def losses(self, rows_ND: Values) -> Values:
        return np.array(
            [divergence(self.written, s, row) for s, row in zip(self.samples, rows_ND, strict=True)]
        )


def refine(  # noqa: PLR0913 - what is read, from where, and in which metric
    model: LanguageModel,
    windows: Windows,
    phrases: Sequence[Phrase],
    starts: Sequence[Values],
    rng: np.random.Generator,
    *,
    spread_DD: Values,
    second: SecondJob | None = None,
    rounds: int | None = None,
) -> Refined:
    """Refine rows on at most `WINDOWS` windows of each token.

    Args:
        starts: rows to start from, [N, D] each; every token takes the best of them.
        spread_DD: covariance of rows that are trained.
        second: where rows do both jobs.
        rounds: `ROUNDS` if None; 0 takes the best start and leaves it.
    """
    windows = at_most(windows, WINDOWS)
    judge = Judge(model, windows, phrases)
    told, exists = judge.told_WAD, judge.exists_WA
    state = _State(judge, second, starts[0])
    for start_ND in starts[1:]:
        state.take(start_ND, is_known=second is not None)
    start = state.rows_ND, state.read_N
    rounds = ROUNDS if rounds is None else rounds
    if rounds:
        _descend(state, told, exists, rng, spread_DD, rounds)
    state.draw_anew()
    return Refined(state.rows_ND, state.whole(*start), state.loss_N)


def _descend(
    state: _State,
    told: Singles,
    exists: NDArray[np.bool_],
    rng: np.random.Generator,
    spread_DD: Values,
    rounds: int,
) -> None:
    judge, width, n = state.judge, len(spread_DD), len(state.rows_ND)
    held_DD = np.linalg.inv(spread_DD + 1e-3 * np.trace(spread_DD) / width * np.eye(width))
    fisher_DD = fisher(judge.model, told[exists], rng)
    answers = Answers(_probe(judge, state, spread_DD, rng), held_DD)
    curved = _curvature(answers, fisher_DD, spread_DD)
    for number in range(rounds):
        if number % REDRAWN == 0:
            state.draw_anew()
        if number and number % REMEASURED == 0:
            answers.shared_ADD = _probe(judge, state, spread_DD, rng)
            curved = _curvature(answers, fisher_DD, spread_DD)
        for damping in DAMPINGS:
            residual = mean_over_windows(judge.windows, told - state.states_WAD, n)
            step_ND = _step(answers, curved, residual, damping, state)
            change_ND = step_ND / (1 + number % 2)
            at_first = state.states_WAD
            tried = state.take(state.rows_ND + change_ND)
            moved = mean_over_windows(judge.windows, tried - at_first, n)
            answers.learn(change_ND, moved)


@dataclass(frozen=True, slots=True, eq=False)
class _Curvature:
    """What the map of all tokens says of how losses curve, while it is not measured anew.

    Attributes:
        fisher_DD: metric of final states, by what they do to predictions.
        shared_DD: second-order KL of a change of a row; `held_DD` what holds rows to the way they
            spread, of the same size.
    """

    fisher_DD: Values
    shared_DD: Values
    held_DD: Values


def _curvature(answers: Answers, fisher_DD: Values, spread_DD: Values) -> _Curvature:
    shared_DD = curvature_of_all(answers, fisher_DD)
    size = float((shared_DD * spread_DD.T).sum()) / len(shared_DD)
    return _Curvature(fisher_DD, shared_DD, size * answers.held_DD)


class _State:
    """The best rows so far, token by token, with their states and losses.

    Attributes:
        read_N: the part of reading in the loss, not weighted.
        known: rows that were best for a while or could have been, with what they lose in reading:
            other samples of what is written may prefer them.
    """

    def __init__(self, judge: Judge, second: SecondJob | None, rows_ND: Values) -> None:
        self.judge, self.second = judge, second
        self.rows_ND = rows_ND
        self.states_WAD, self.read_N = judge(rows_ND)
        self.loss_N = self.whole(rows_ND, self.read_N)
        self.known = [(rows_ND, self.read_N)]

    def whole(self, rows_ND: Values, read_N: Values) -> Values:
        """The loss of rows that lose so much in reading."""
        if self.second is None:
            return read_N
        return self.second.read * read_N + self.second.write_N * self.second.losses(rows_ND)

    def take(self, rows_ND: Values, *, is_known: bool = False) -> Singles:
        """Take the rows of those tokens for which they are better; the states with all of them.

        Args:
            is_known: whether they stay known.
        """
        states, read_N = self.judge(rows_ND)
        better = self._choose(rows_ND, read_N)
        mine = better[self.judge.windows.token_W][:, None, None]
        self.states_WAD = np.where(mine, states, self.states_WAD)
        if is_known:
            self.known.append((rows_ND, read_N))
        return states

    def _choose(self, rows_ND: Values, read_N: Values) -> NDArray[np.bool_]:
        loss_N = self.whole(rows_ND, read_N)
        better = loss_N < self.loss_N
        self.rows_ND = np.where(better[:, None], rows_ND, self.rows_ND)
        self.read_N = np.where(better, read_N, self.read_N)
        self.loss_N = np.where(better, loss_N, self.loss_N)
        return better

    def draw_anew(self) -> None:
        """Where rows have a second job: draw samples by the rows that are there, and choose again."""
        if self.second is None:
            return
        self.known.append((self.rows_ND, self.read_N))
        self.second = replace(self.second, samples=self.second.drawn(self.rows_ND))
        self.loss_N = self.whole(self.rows_ND, self.read_N)
        changed = [self._choose(*one) for one in self.known]
        if np.any(changed):
            self.states_WAD, _ = self.judge(self.rows_ND)


def judged(
    model: LanguageModel, windows: Windows, phrases: Sequence[Phrase], rows_ND: Values
) -> Values:
    """Mean KL of each token's predictions from those after its pieces, in nats a place."""
    _, kl_N = Judge(model, windows, phrases)(rows_ND)
    return kl_N


def fisher(model: LanguageModel, states_PD: Singles, rng: np.random.Generator) -> Values:
    """Mean Fisher information of the prediction about the final state: U'(diag p - p p')U."""
    chosen = states_PD[rng.permutation(len(states_PD))[:_FISHER_STATES]]
    logits = masked_logits(model, chosen, None).double().cpu().numpy()
    p_PV = np.exp(logits - logits.max(axis=1, keepdims=True))
    p_PV /= p_PV.sum(axis=1, keepdims=True)
    means_PD = np.zeros((len(chosen), model.width))
    second_DD = np.zeros((model.width, model.width))
    output_VD = model.output_VD()
    for first in range(0, model.n_rows, BLOCK_ROWS):
        rows_BD = output_VD[first : first + BLOCK_ROWS].astype(np.float64) * model.written.scale
        p_PB = p_PV[:, first : first + BLOCK_ROWS]
        means_PD += p_PB @ rows_BD
        second_DD += (rows_BD * p_PB.sum(axis=0)[:, None]).T @ rows_BD
    return np.asarray((second_DD - means_PD.T @ means_PD) / len(chosen))


class Judge:
    """States behind tokens with some rows, and each token's mean KL from the pieces' predictions.

    Args:
        scored: places behind the phrase that count; None for all.
    """

    def __init__(
        self,
        model: LanguageModel,
        windows: Windows,
        phrases: Sequence[Phrase],
        scored: int | None = SCORED,
    ) -> None:
        places, exists = windows.following()
        self.model, self.windows, self.exists_WA = model, windows, exists[:, :scored]
        (self.told_WAD,) = states_at(model, windows.ids_WT, places[:, :scored])
        self.merged_WT = windows.merged(model.n_rows)
        self.places_WA = merged_places(windows, scored)
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
                kl[at] = (told.exp() * apart).sum(dim=-1).double().cpu().numpy()
        a_window = kl.sum(axis=1) / np.maximum(1, self.exists_WA.sum(axis=1))
        counts = np.maximum(1, np.bincount(self.windows.token_W, minlength=self.n))
        return np.asarray(np.bincount(self.windows.token_W, a_window, self.n) / counts)


def merged_places(windows: Windows, count: int | None) -> NDArray[np.int64]:
    """The places behind the token in the merged reading."""
    places, exists = windows.following()
    places, exists = places[:, :count], exists[:, :count]
    return np.where(exists, places - (windows.n_pieces_W - 1)[:, None], 0)


def _probe(judge: Judge, state: _State, spread_DD: Values, rng: np.random.Generator) -> Values:
    """How the first states behind a token answer to its row: [PLACES, D out, D in], over all tokens."""
    model, windows, rows_ND = judge.model, judge.windows, state.rows_ND
    few = np.zeros(len(windows), np.bool_)
    seen: dict[int, int] = {}
    for n, token in enumerate(windows.token_W.tolist()):
        few[n] = seen.get(token, 0) < PROBE_WINDOWS
        seen[token] = seen.get(token, 0) + 1
    chosen = windows.of(few)
    base = state.states_WAD[few][:, :PLACES].astype(np.float64)
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


def mean_over_windows(windows: Windows, states_WAD: Singles, n: int) -> Values:
    """States at the first places behind each token, mean over its windows: [N, PLACES, D]."""
    missing = states_WAD[:, :PLACES].astype(np.float64)
    sums = np.zeros((n, *missing.shape[1:]))
    np.add.at(sums, windows.token_W, missing)
    counts = np.maximum(1, np.bincount(windows.token_W, minlength=n))
    return np.asarray(sums / counts[:, None, None])


def _step(
    answers: Answers, curved: _Curvature, residual_NAD: Values, damping: float, state: _State
) -> Values:
    """The change that takes most of the residual away, held to the size that rows have.

    With a second job, a Newton step on the sum of both losses.
    """
    second = state.second
    steps = []
    for n, residual_AD in enumerate(residual_NAD):
        pull, curvature = towards_and_curvature(
            answers, n, residual_AD, curved.fisher_DD, curved.shared_DD
        )
        curvature = curvature + damping * curved.held_DD
        if second is not None:
            gradient, bent = slopes(second.written, second.samples[n], state.rows_ND[n])
            pull = second.read * pull - second.write_N[n] * gradient
            curvature = second.read * curvature + second.write_N[n] * bent
        steps.append(np.linalg.solve(curvature, pull))
    return np.array(steps)
