"""Rows that are trained to be read and written: what is written is looked at where it is written now."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from benchmarks.rows.cases import context
from benchmarks.rows.ours import evidence
from benchmarks.rows.strata import choose

from row_subjects import Stopped, few, small_subject, stopped_after
from test_fitting import small
from tokengraft.recipes import Distillation
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training import distilling, refining
from tokengraft.training.fitting import fit_tied
from tokengraft.training.language_model import Written, language_model
from tokengraft.training.output_fits import MOVED, Drawn, prepare_writing
from tokengraft.training.output_rows import Samples, leak_and_harm
from tokengraft.training.output_samples import choose_neutral
from tokengraft.training.refining import SecondJob, _State
from tokengraft.training.row_descent import RowLbfgs
from tokengraft.training.row_losses import Losses
from tokengraft.training.states import Neutral, neutral_states
from tokengraft.training.windows import Evidence, Phrase

torch.set_num_threads(1)
Values = np.ndarray


def test_states_are_drawn_by_every_row_that_is_known() -> None:
    model, rng = language_model(small("llama")), np.random.default_rng(2)
    ids = rng.integers(3, 120, (60, 14))
    phrases = (Phrase("a", (10, 11)),)
    neutral = neutral_states(model, ids, np.ones(ids.shape, np.bool_), phrases)
    unlikely = np.argsort(neutral.log_first_NP[0])[:2].tolist()
    rows = [_written_at(neutral, where, model.width) for where in unlikely]
    every = np.ones(len(neutral.at_P), np.bool_)
    sizes = []
    for known in (rows[:1], rows):
        for _ in range(20):
            (chosen,) = choose_neutral(model, neutral, phrases, every, rng, *known)
            assert set(unlikely[: len(known)]) <= set(chosen.place_C.tolist())
        assert chosen.weight_C.sum() == pytest.approx(1)
        sizes.append(len(chosen.place_C))
    assert sizes[1] > 1.3 * sizes[0]  # each of them draws


def _written_at(neutral: Neutral, where: int, width: int) -> Values:
    row = np.zeros((1, width))
    row[0] = 40 * neutral.hidden_PD[where] / np.square(neutral.hidden_PD[where]).sum()
    return row


def test_the_solved_rows_and_the_last_ones_draw() -> None:
    nothing: Any = None
    drawn = Drawn(nothing, (), nothing, nothing, np.zeros(0), nothing)
    for n in range(5):
        drawn = drawn.by(np.full((1, 1), float(n)))
    assert [rows.item() for rows in drawn.rows] == [0.0, 3.0, 4.0]
    assert len(drawn.rows) == 1 + MOVED


# ── refined ──────────────────────────────────────────────────────────────────────────────────────


def _samples(*states: Sequence[float]) -> tuple[Samples]:
    """Of one token that is due nowhere."""
    hidden, n = np.array(states), len(states)
    return (Samples(hidden, np.zeros(n), np.full(n, 1e-6), np.full(n, 1 / n)),)


def test_a_row_that_is_written_where_no_sample_was_gives_way_to_one_that_is_not() -> None:
    """Reading likes the second row; it is written in a state that only the new samples have."""
    moved = np.array([[0.0, 8.0]])
    asked: list[Values] = []

    def judge(rows_ND: Values) -> tuple[Values, Values]:
        return np.full((1, 1, 2), rows_ND[0, 1]), np.array([1.0 - rows_ND[0, 1] / 10])

    def drawn(rows_ND: Values) -> Sequence[Samples]:
        asked.append(rows_ND)
        return _samples((1.0, 0.0), (0.0, 1.0))

    second = SecondJob(Written(), _samples((-1.0, 0.0)), 1.0, np.ones(1), drawn)
    judged: Any = _Judge(judge)
    state = _State(judged, second, -moved)
    state.take(moved)
    assert np.array_equal(state.rows_ND, moved)
    lost = state.loss_N
    state.draw_anew()
    assert np.array_equal(asked[0], moved)
    assert np.array_equal(state.rows_ND, -moved)
    assert state.loss_N[0] > lost[0]  # what was not seen was not less
    assert state.states_WAD[0, 0, 0] == -8.0


class _Judge:
    """States and losses as a function gives them, for one window of one token."""

    def __init__(self, judge: Any) -> None:
        self.judge, self.windows = judge, SimpleNamespace(token_W=np.zeros(1, int))

    def __call__(self, rows_ND: Values) -> Any:
        return self.judge(rows_ND)


@pytest.fixture(scope="module")
def asked() -> tuple[Any, Any, Evidence]:
    """A tied model, matrices and what is known of three words."""
    with pytest.MonkeyPatch.context() as patch:
        few(patch)
        subject = small_subject()
        given = context(subject, choose(subject, "S2", background=3000, wanted=3), 0)
        return replace(subject.model, tied=True), given, evidence(given, has_known=False)


def test_one_row_for_two_jobs_is_judged_where_it_is_written(
    asked: tuple[Any, Any, Evidence], monkeypatch: pytest.MonkeyPatch
) -> None:
    few(monkeypatch)
    monkeypatch.setattr(refining, "ROUNDS", 3)
    model, given, told = asked
    rng = np.random.default_rng(0)
    first = prepare_writing(model, told, given.output_VD, rng)
    _, refined, last = fit_tied(model, told, first, given.input_VD, rng)
    assert first.drawn is not None
    assert last.drawn is not None
    assert len(first.drawn.rows) == 1
    assert len(last.drawn.rows) == 1 + MOVED
    assert last.drawn.rows[0] is first.drawn.rows[0]
    neutral = last.drawn.neutral
    for n, samples in enumerate(last.every):
        products = neutral.hidden_PD.astype(np.float64) @ refined.rows_ND[n]
        odds = model.written.logits(products) - neutral.log_norm_P
        whole = float(np.mean(np.exp(-np.logaddexp(0.0, -odds))))
        seen = samples.weight_C * np.exp(
            -np.logaddexp(0.0, -samples.log_odds(model.written, refined.rows_ND[n]))
        )
        of_neutral = seen[np.isin(samples.log_norm_C, neutral.log_norm_P)].sum()
        assert of_neutral == pytest.approx(whole, rel=0.5)
        assert np.isfinite(leak_and_harm(model.written, samples, refined.rows_ND[n])[0])


# ── trained ──────────────────────────────────────────────────────────────────────────────────────


def test_a_loss_that_is_another_one_is_asked_again_at_the_same_rows() -> None:
    descent = RowLbfgs(np.zeros((1, 3)), np.eye(3))
    target = np.array([[1.0, -2.0, 3.0]])
    for shift in (0.0, 100.0):  # the second loss is higher everywhere
        for _ in range(12):
            apart = descent.asked_ND - target
            descent.told(shift + np.square(apart).sum(axis=1), 2 * apart)
        assert descent.loss_N == pytest.approx(shift, abs=1e-6)
        assert descent.rows_ND == pytest.approx(target, abs=1e-3)
        descent.renew()
        assert np.array_equal(descent.asked_ND, descent.rows_ND)
        target = target + 1


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_training_of_both_jobs_draws_anew_and_goes_on_after_a_stop(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: tuple[Any, Any, Evidence],
    optimizer: Any,
) -> None:
    monkeypatch.setattr(distilling, "SAVE_SECONDS", 0.0)

    model, given, told = asked
    texts = tuple(phrase.text for phrase in told.phrases)
    start_ND = given.mean_of_all(given.input_VD)
    start = RowSet(texts, start_ND, None, (RowsMade("start", "start"),) * len(texts))
    wish = Distillation(optimizer=optimizer, passes=8, batch=8, patience=9)
    drawn: list[tuple[int, int]] = []
    draw_anew = Losses.draw_anew

    def spied(losses: Any, rows: Sequence[Values], number: int) -> None:
        drawn.append((number, len(rows)))
        draw_anew(losses, rows, number)
        assert len(losses.writing.drawn.rows) == 1 + len(rows)

    monkeypatch.setattr(Losses, "draw_anew", spied)
    whole = distilling.distil_rows(model, told, start, wish, work=tmp_path / "whole")
    assert drawn == [(2, 1), (4, 2), (6, 2)]
    work = tmp_path / "stopped"
    with pytest.raises(Stopped):
        distilling.distil_rows(model, told, start, wish, work=work, listen=stopped_after(5))
    again = distilling.distil_rows(model, told, start, wish, work=work)
    assert drawn[-2:] == [(4, 2), (6, 2)]  # what was drawn before the stop, and what comes after it
    assert np.array_equal(whole.input_ND, again.input_ND)
    assert whole.figures == again.figures
