"""Rows trained without touching the model: passes against whole ones, losses against plain ones."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
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
from tokengraft.events import Event, Progress
from tokengraft.recipes import Distillation
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training import distilling, objectives, refining
from tokengraft.training.distilling import distil_rows
from tokengraft.training.keeping_on import STATE
from tokengraft.training.language_model import LanguageModel, Written, language_model
from tokengraft.training.lessons import Keep, Share, dealt, lessons
from tokengraft.training.output_rows import Samples, divergence, loss_and_gradient, slopes
from tokengraft.training.partial_passes import (
    FINAL,
    aligned,
    is_shared_safely,
    read_behind,
    recomputing,
    states_after,
    taught,
)
from tokengraft.training.row_descent import Adam, RowLbfgs
from tokengraft.training.states import NOBODY, states_at
from tokengraft.training.windows import Evidence, Phrase, Windows

torch.set_num_threads(1)  # passes of these models are too short for two
PHRASES = (Phrase("a", (10, 11, 12)), Phrase("b", (20, 21), without=33), Phrase("c", (30,)))


def windows(n: int = 9, seed: int = 0) -> Windows:
    """Windows of different pasts and lengths around three phrases."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(40, 120, (n, 20))
    tokens = np.arange(n) % 3
    at, length = rng.integers(2, 8, n), rng.integers(16, 20, n)
    for row, token, place in zip(ids, tokens, at, strict=True):
        row[place : place + len(PHRASES[token].pieces)] = PHRASES[token].pieces
    sizes = np.array([len(PHRASES[t].pieces) for t in tokens])
    return Windows(tokens, ids, length, at, sizes, 6)


def told_of(model: LanguageModel, seen: Windows) -> Evidence:
    """Evidence of reading alone."""
    none = np.zeros((0, 4), np.int64)
    known = ((), seen.of(np.zeros(len(seen), bool)))
    ids = np.arange(3, model.n_rows)
    return Evidence(
        PHRASES, seen, windows(6, 1), none, none > 0, np.full(3, 1e-3), known, ids, None
    )


def started(model: LanguageModel, rows_ND: np.ndarray) -> RowSet:
    made = (RowsMade("mean", "mean"),) * len(rows_ND)
    output = None if model.tied else rows_ND.copy()
    return RowSet(tuple(p.text for p in PHRASES[: len(rows_ND)]), rows_ND, output, made)


def some_rows(model: LanguageModel, n: int = 3) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(n, model.width)) * model.input_VD().std()


# ── passes ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("layer", [1, FINAL])
@pytest.mark.parametrize("name", ["llama", "gemma2", "phi", "neox"])
def test_passes_from_the_token_on_give_what_whole_ones_give(name: str, layer: int) -> None:
    model = language_model(small(name))
    seen, rows = windows(), some_rows(model)
    group = aligned(seen, model.n_rows)
    known = taught(model, group, (layer,))
    (told,), past = known.told_LWSD, known.past
    given = torch.from_numpy(rows.astype(np.float32))
    (found,) = read_behind(model, group, past, given, (layer,))
    places, exists = seen.following()
    (expected,) = states_at(model, seen.ids_WT, places, layers=(layer,))
    assert told.numpy()[exists] == pytest.approx(expected[exists], abs=1e-4)
    at = np.where(exists, places - (seen.n_pieces_W - 1)[:, None], 0)
    (expected,) = states_at(model, seen.merged(model.n_rows), at, rows, layers=(layer,))
    assert exists.tolist() == group.exists_WS.tolist()
    assert found.detach().numpy()[exists] == pytest.approx(expected[exists], abs=1e-4)
    assert past is not None
    assert len(past.layers) == (1 if layer == 1 else model.n_layers)


def test_a_past_that_is_not_the_windows_own_is_noticed() -> None:
    model = language_model(small("llama"))
    group = aligned(windows(), model.n_rows)
    past = taught(model, group, (FINAL,)).past
    assert past is not None
    rows = torch.from_numpy(some_rows(model).astype(np.float32))
    assert is_shared_safely(model, group, past, rows, FINAL)
    wrong = replace(past, layers=tuple((keys, values.roll(1, 0)) for keys, values in past.layers))
    assert not is_shared_safely(model, group, wrong, rows, FINAL)


def test_a_pass_ends_at_its_layer() -> None:
    model = language_model(small("llama"))
    ids = torch.tensor([[5, 6, 7, 8]])
    ran: list[int] = []
    for n, layer in enumerate(model.network.base_model.layers):
        layer.register_forward_hook(lambda *_, n=n: ran.append(n))
    (states,) = states_after(model, model.embed(ids), (1,))
    assert ran == [0]
    (expected,) = model.hidden(ids, layers=(1,))
    assert torch.equal(states, expected)
    both = states_after(model, model.embed(ids), (1, FINAL))
    assert torch.equal(both[0], expected)
    assert torch.equal(both[1], model.hidden(ids)[0])


def test_states_that_are_computed_again_have_the_same_gradients() -> None:
    model = language_model(small("llama"))
    group = aligned(windows(), model.n_rows)
    slopes = []
    for how in (False, True):
        rows = torch.from_numpy(some_rows(model).astype(np.float32)).requires_grad_()
        if how:
            with recomputing(model):
                read_behind(model, group, None, rows, (1,))[0].square().sum().backward()
        else:
            read_behind(model, group, None, rows, (1,))[0].square().sum().backward()
        slopes.append(rows.grad)
    assert torch.allclose(*slopes, rtol=1e-4)
    assert not any(layer.training for layer in model.network.base_model.layers)


# ── losses ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["llama", "gemma2", "cohere", "phi"])
def test_a_loss_in_parts_is_the_plain_one_with_its_gradient(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objectives, "_LOGITS_AT_ONCE", 120 * 4)  # four places at a time
    model = language_model(small(name))
    rng = np.random.default_rng(0)
    told, found = (torch.from_numpy(rng.normal(size=(10, 32)).astype(np.float32)) for _ in "ab")
    found.requires_grad_()
    without = np.where(np.arange(10) % 2, 7, NOBODY)
    loss = objectives.predictions_loss(model)(told, found, without)
    (slope,) = torch.autograd.grad((loss * torch.arange(10)).sum(), found)
    kept = [n for n in range(model.n_rows) if n != 7]
    expected = torch.zeros(10)
    for n in range(10):
        ids = kept if without[n] == 7 else list(range(model.n_rows))
        logs_t = torch.log_softmax(model.logits(told[n])[ids], dim=-1)
        logs_s = torch.log_softmax(model.logits(found[n])[ids], dim=-1)
        expected[n] = (logs_t.exp() * (logs_t - logs_s)).sum()
    (plain,) = torch.autograd.grad((expected * torch.arange(10)).sum(), found)
    assert torch.allclose(loss, expected, atol=1e-5)
    assert torch.allclose(slope, plain, atol=1e-4)


def test_sensitivity_is_the_curvature_of_the_divergence() -> None:
    model = language_model(small("llama"))
    many = [windows(60, seed) for seed in range(4)]
    found = [
        objectives.sensitivity(model, aligned(w, model.n_rows), (FINAL,), n)[0]
        for n, w in enumerate(many)
    ]
    fisher = sum(f.sum_DD for f in found) / sum(f.count for f in found)
    states = []
    for seen in many:
        places, exists = seen.following()
        states.append(states_at(model, seen.ids_WT, places)[0][exists])
    exact = refining.fisher(model, np.concatenate(states)[::10], np.random.default_rng(0))
    assert float(np.trace(fisher)) == pytest.approx(float(np.trace(exact)), rel=0.1)
    assert float(np.linalg.norm(fisher - exact)) < 0.5 * float(np.linalg.norm(exact))


# ── descent ──────────────────────────────────────────────────────────────────────────────────────


def bowl(rows_ND: np.ndarray, goal_ND: np.ndarray, curve_D: np.ndarray) -> Any:
    apart = rows_ND - goal_ND
    return (curve_D * apart**2).sum(axis=1) / 2, curve_D * apart


def test_each_row_finds_its_own_minimum() -> None:
    rng = np.random.default_rng(0)
    goal, curve = rng.normal(size=(5, 20)), 10.0 ** rng.uniform(-2, 2, 20)
    descent = RowLbfgs(np.zeros((5, 20)), np.eye(20))
    for _ in range(150):
        descent.told(*bowl(descent.asked_ND, goal, curve))
    loss, _ = bowl(descent.rows_ND, goal, curve)
    assert (loss < 1e-6 * bowl(np.zeros((5, 20)), goal, curve)[0]).all()


def test_a_row_with_a_bad_loss_does_not_hold_the_others_back() -> None:
    rng = np.random.default_rng(0)
    goal, curve = rng.normal(size=(2, 8)), np.ones(8)
    alone, beside = RowLbfgs(np.zeros((1, 8)), np.eye(8)), RowLbfgs(np.zeros((2, 8)), np.eye(8))
    for _ in range(12):
        alone.told(*bowl(alone.asked_ND, goal[:1], curve))
        loss, slope = bowl(beside.asked_ND, goal, curve)
        loss[1] = np.nan
        beside.told(loss, slope)
    assert beside.rows_ND[0] == pytest.approx(alone.rows_ND[0])
    assert beside.rows_ND[1] == pytest.approx(np.zeros(8))


def test_adam_leaves_a_row_without_a_gradient_where_it_is() -> None:
    descent = Adam(np.zeros((2, 3)), 1.0, 0.1)
    descent.step(np.ones((2, 3)), np.array([True, True]), 1.0)
    before = descent.rows_ND.copy()
    assert before == pytest.approx(np.full((2, 3), -0.1))
    descent.step(np.zeros((2, 3)), np.array([True, False]), 1.0)
    assert descent.rows_ND[1] == pytest.approx(before[1])
    assert (descent.rows_ND[0] < before[0]).all()


def test_every_window_is_dealt_out_once_and_tokens_take_turns() -> None:
    seen = windows(30)
    groups = list(dealt(seen, 10))
    assert sorted(np.concatenate(groups).tolist()) == list(range(30))
    assert all(len(set(seen.token_W[group].tolist())) == 3 for group in groups)


def test_states_beyond_the_memory_lie_in_files(tmp_path: Path) -> None:
    model, seen = language_model(small("llama")), windows()
    kept = []
    for keep in (Keep(None), Keep(tmp_path / "states", most_bytes=0)):
        (lesson,) = lessons(model, seen, PHRASES, (1,), size=99, share=Share(), keep=keep)
        kept.append(lesson)
    assert len(list((tmp_path / "states").iterdir())) == 3  # states, keys, values
    assert torch.equal(kept[0].told_LWSD, kept[1].told_LWSD)
    assert torch.equal(kept[0].past.layers[0][1], kept[1].past.layers[0][1])


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────

HOW = {
    "predictions": Distillation(
        writing="keep", objective="predictions", optimizer="lbfgs", passes=40
    ),
    "last": Distillation(writing="keep", layer=-1, metric="plain", optimizer="lbfgs", passes=40),
    "layer": Distillation(writing="keep", optimizer="lbfgs", passes=40),
    "adam": Distillation(writing="keep", passes=60, batch=3),
}


@pytest.mark.parametrize("how", HOW)
def test_an_alias_of_a_token_is_read_like_it(how: str) -> None:
    model = language_model(small("llama"))
    seen = windows(24).of(windows(24).token_W == 2)
    told = told_of(model, seen)
    told = replace(told, validation=seen)
    start = started(model, np.repeat(model.input_VD().mean(axis=0)[None], 3, axis=0).astype(float))
    before = refining.judged(model, seen, PHRASES, start.input_ND)[2]
    found = distil_rows(model, told, start, HOW[how])
    after = refining.judged(model, seen, PHRASES, found.input_ND)[2]
    assert after < 0.05 * before
    assert found.input_ND[0] == pytest.approx(start.input_ND[0])  # no window: it stays


def test_an_alias_with_the_tokens_own_row_stays_what_it_is() -> None:
    model = language_model(small("llama"))
    seen = windows(24).of(windows(24).token_W == 2)
    told = replace(told_of(model, seen), validation=seen)
    own = np.repeat(model.input_VD()[30][None], 3, axis=0).astype(float)
    found = distil_rows(model, told, started(model, own), HOW["predictions"])
    assert refining.judged(model, seen, PHRASES, found.input_ND)[2] < 1e-6
    assert found.made[2].read == "mean"  # nothing got better


def test_training_begins_where_it_is_told_and_keeps_given_rows_that_validate_better() -> None:
    model = language_model(small("llama"))
    seen = windows(24).of(windows(24).token_W == 2)
    told = replace(told_of(model, seen), validation=seen)
    own, mean = (
        np.repeat(row[None], 3, axis=0).astype(float)
        for row in (model.input_VD()[30], model.input_VD().mean(axis=0))
    )
    brief = HOW["predictions"].model_copy(update={"passes": 1})
    kept = distil_rows(model, told, started(model, own), brief, begin_ND=mean)
    assert np.array_equal(kept.input_ND, own)
    assert kept.made[2].read == "mean"
    found = distil_rows(model, told, started(model, mean), brief, begin_ND=own)
    assert refining.judged(model, seen, PHRASES, found.input_ND)[2] < 1e-6
    assert found.made[2].read == "distilled"
    assert np.array_equal(found.input_ND[0], mean[0])  # no window: it stays as given


def test_a_training_that_was_stopped_ends_with_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distilling, "SAVE_SECONDS", 0.0)

    model = language_model(small("llama"))
    told, start = told_of(model, windows(24)), started(model, some_rows(model))
    for how in ("predictions", "adam"):
        wish = HOW[how].model_copy(update={"passes": 9})
        whole = distil_rows(model, told, start, wish, work=tmp_path / how / "whole")
        work = tmp_path / how / "stopped"
        with pytest.raises(Stopped):
            distil_rows(model, told, start, wish, work=work, listen=stopped_after(5))
        assert (work / STATE).is_file()
        again = distil_rows(model, told, start, wish, work=work)
        assert np.array_equal(whole.input_ND, again.input_ND)
        lines = [json.loads(line) for line in (work / "curves.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == list(range(1, 10))
        assert all(line["stage"] == "distil" for line in lines)
        assert lines[-1]["loss"] < lines[0]["loss"]
        # Another training does not go on from this one's state.
        other = distil_rows(model, told, start, wish, work=work, seed=1)
        assert other.figures["distil_passes"] == 9


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_a_small_models_rows_are_trained_and_it_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, *, tied: bool
) -> None:
    few(monkeypatch)
    subject = small_subject()
    given = context(subject, choose(subject, "S2", background=3000, wanted=3), 0)
    model = _tied(subject.model) if tied else subject.model
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    told = evidence(given)
    rows = given.pieces_mean(given.input_VD)
    made = (RowsMade("mean", "mean"),) * len(rows)
    texts = tuple(p.text for p in given.phrases)
    start = RowSet(texts, rows, None if tied else given.pieces_mean(given.output_VD), made)
    found = distil_rows(model, told, start, Distillation(passes=10))
    after = model.network.state_dict()
    assert all(torch.equal(before[name], value) for name, value in after.items())
    assert found.is_tied == tied
    assert found.figures["distil_loss_after"] < found.figures["distil_loss_before"]
    read = refining.judged(model, told.windows, told.phrases, found.input_ND)
    if not tied:
        uninformed = refining.judged(model, told.windows, told.phrases, start.input_ND)
        assert float(read.mean()) < float(uninformed.mean())
    for one in found.made:
        assert one.write == (one.read if tied else "solved")
        assert one.leak is not None


def _tied(model: LanguageModel) -> LanguageModel:
    return replace(model, tied=True)


def test_rows_are_the_same_for_every_listener(tmp_path: Path) -> None:
    model = language_model(small("llama"))
    told, start = told_of(model, windows(12)), started(model, some_rows(model))
    heard: list[Event] = []
    listeners: list[Callable[[Event], None]] = [heard.append, lambda _: None]
    few = HOW["layer"].model_copy(update={"passes": 3})
    rows = [distil_rows(model, told, start, few, listen=listen).input_ND for listen in listeners]
    assert np.array_equal(*rows)
    done = [event.done for event in heard if isinstance(event, Progress)]
    assert done == [1, 2, 3]


@pytest.mark.parametrize("limit", [None, 20.0], ids=["plain", "capped"])
def test_the_gradient_of_writing_is_that_of_its_divergence(limit: float | None) -> None:
    written = Written(scale=0.5, limit=limit)
    rng = np.random.default_rng(0)
    q = rng.uniform(0, 0.2, 30) * (np.arange(30) % 3 > 0)
    told = Samples(rng.normal(size=(30, 6)), 4 + rng.normal(size=30), q, np.full(30, 1 / 30))
    row = rng.normal(size=6)
    loss, gradient = loss_and_gradient(written, told, row)
    assert loss == pytest.approx(divergence(written, told, row))
    assert gradient == pytest.approx(slopes(written, told, row)[0])
