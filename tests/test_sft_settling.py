"""Output rows that are solved behind a supervised training."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("trl", reason="needs tokengraft[train]")

import tiny
from sft_jobs import conversations, job, write_rows
from tokengraft.training import sft_settling, sft_stage
from tokengraft.training.language_model import Written
from tokengraft.training.sft_settling import States, loss, solved

pytestmark = pytest.mark.filterwarnings("ignore")  # libraries on what they will change one day
FEW = ("train.sft.steps=4", "train.sft.batch=8", "train.sft.checkpoints=0")


def made_up(n_states: int = 600, width: int = 8, seed: int = 0) -> tuple[States, np.ndarray]:
    """States of which two directions say which of two new tokens comes; the rest is chance."""
    drawn = np.random.default_rng(seed)
    hidden_CD = drawn.normal(size=(n_states, width))
    hidden_CD[:, -1] = 1.0  # by which a row can be said seldom
    due_CN = np.stack([hidden_CD[:, 0] > 1.2, hidden_CD[:, 1] > 1.2], axis=1)
    due_CN[:, 1] &= ~due_CN[:, 0]
    own_C = np.where(due_CN.any(axis=1), -np.inf, -0.1)
    start_ND = 0.1 * drawn.normal(size=(2, width))
    return States(hidden_CD, np.zeros(n_states), hidden_CD @ start_ND.T, due_CN, own_C), start_ND


def quiet_text(at: float = 0.0) -> States:
    """Text in which no token is due, with states that stand there along the last but one direction."""
    drawn = np.random.default_rng(2)
    hidden_CD = 0.1 * drawn.normal(size=(200, 8))
    hidden_CD[:, -2:] = (at, 1.0)
    never_CN = np.zeros((200, 2), np.bool_)
    return States(hidden_CD, np.zeros(200), np.zeros((200, 2)), never_CN, np.full(200, -0.1))


def test_solved_rows_say_what_comes_next() -> None:
    states, start_ND = made_up()
    rows_ND = solved(Written(), states, quiet_text(), start_ND)
    assert loss(Written(), states, rows_ND) < 0.5 * loss(Written(), states, start_ND)
    other, _ = made_up(seed=1)
    said_CN = other.hidden_CD @ rows_ND.T > other.log_norm_C[:, None]
    assert (said_CN == other.due_CN).mean() > 0.9
    assert (said_CN == other.due_CN).mean() > (other.due_CN == 0).mean()


def test_text_of_the_model_keeps_rows_out_of_what_the_data_never_show() -> None:
    states, start_ND = made_up()
    states.hidden_CD[:, -2] = 0.0  # the data say nothing of this direction
    start_ND[:, -2] = 1.0
    text = quiet_text(at=4.0)
    rows_ND = solved(Written(), states, text, start_ND)
    assert (text.hidden_CD @ start_ND.T).min() > 2
    assert (text.hidden_CD @ rows_ND.T).max() < -2


def test_a_token_that_never_comes_keeps_its_row() -> None:
    states, start_ND = made_up()
    states.due_CN[:, 1] = False
    rows_ND = solved(Written(), states, quiet_text(), start_ND)
    assert np.array_equal(rows_ND[1], start_ND[1])
    assert not np.array_equal(rows_ND[0], start_ND[0])


def test_training_ends_with_it_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(tmp_path / "data.jsonl", conversations(40))
    made = job(tmp_path, overrides=(*FEW, "train.sft.validation=0.2"), work="settled")
    result = sft_stage.run(made)
    assert "held-out rows cost" in result.notes[-1]
    after, before = map(float, re.findall(r"\d\.\d{4}", result.notes[-1]))
    assert after < before
    monkeypatch.setattr(sft_settling, "MOST_TOKENS", 2)  # the recipe has three
    plain = sft_stage.run(job(tmp_path, overrides=(*FEW, "train.sft.validation=0.2"), work="plain"))
    assert not any("solved" in note for note in plain.notes)
    assert np.array_equal(plain.rows.input_ND, result.rows.input_ND)
    assert plain.rows.output_ND is not None
    assert result.rows.output_ND is not None
    moved_N = np.abs(plain.rows.output_ND - result.rows.output_ND).max(axis=1)
    assert moved_N[:2].min() > 1e-4
    assert moved_N[2] == 0  # the data never write the pad token


def test_one_matrix_that_does_both_jobs_is_left_as_trained(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True)
    (tmp_path / "data.jsonl").write_text('{"text": "<|new|> Hello <|new|>"}\n' * 4)
    recipe = 'version = 1\n[[add]]\ntext = "<|new|>"\n[train]\ndata = "data.jsonl"\n'
    few = ("train.sft.steps=2", "train.sft.batch=2", "train.sft.validation=0")
    result = sft_stage.run(job(tmp_path, base=base, recipe=recipe, overrides=few))
    assert not any("solved" in note for note in result.notes)
