"""Output rows that are solved behind a supervised training."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("trl", reason="needs tokengraft[train]")

from datasets import Dataset

import tiny
from sft_jobs import CITIES, conversations, job, write_rows
from tokengraft.training import sft_settling, sft_stage
from tokengraft.training.continuing import continued
from tokengraft.training.language_model import LanguageModel, Written
from tokengraft.training.sft_data import TRAIN
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
    logits_CN, flat_C = hidden_CD @ start_ND.T, np.zeros(n_states)
    return States(hidden_CD, flat_C, logits_CN, due_CN, own_C, flat_C), start_ND


def quiet_text(at: float = 0.0) -> States:
    """Text in which no token is due, with states that stand there along the last but one direction."""
    drawn = np.random.default_rng(2)
    hidden_CD = 0.1 * drawn.normal(size=(200, 8))
    hidden_CD[:, -2:] = (at, 1.0)
    never_CN = np.zeros((200, 2), np.bool_)
    flat_C = np.zeros(200)
    return States(hidden_CD, flat_C, np.zeros((200, 2)), never_CN, np.full(200, -0.1), flat_C)


def shared_states(share_due: float) -> States:
    """One state in which two tokens are due by chance, and others in which none is."""
    hidden_CD = np.tile(np.array([1.0, 0.0, 0, 0, 0, 0, 0, 1.0]), (400, 1))
    hidden_CD[200:, 0] = -1.0
    due_CN = np.zeros((400, 2), np.bool_)
    due_CN[: round(200 * share_due), 0] = True
    flat_C = np.zeros(400)
    own_C = np.where(due_CN.any(axis=1), -np.inf, -0.1)
    return States(hidden_CD, flat_C, np.zeros((400, 2)), due_CN, own_C, flat_C)


def test_solved_rows_say_what_comes_next() -> None:
    states, start_ND = made_up()
    rows_ND = solved(Written(), states, quiet_text(), start_ND, states)
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
    rows_ND = solved(Written(), states, text, start_ND, states)
    assert (text.hidden_CD @ start_ND.T).min() > 2
    assert (text.hidden_CD @ rows_ND.T).max() < -2


def test_a_token_that_never_comes_keeps_its_row() -> None:
    states, start_ND = made_up()
    states.due_CN[:, 1] = False
    rows_ND = solved(Written(), states, quiet_text(), start_ND, states)
    assert np.array_equal(rows_ND[1], start_ND[1])
    assert not np.array_equal(rows_ND[0], start_ND[0])


def test_held_out_states_say_how_much_a_place_of_a_token_weighs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen, start_ND = shared_states(0.4), np.zeros((2, 8))
    start_ND[:, -1] = -4.0
    often, seldom = shared_states(0.7), shared_states(0.1)
    heard = {
        label: solved(Written(), seen, quiet_text(), start_ND, judged)
        for label, judged in (("often", often), ("seldom", seldom))
    }
    monkeypatch.setattr(sft_settling, "WEIGHTS", (1.0,))
    plain = solved(Written(), seen, quiet_text(), start_ND, often)
    assert seen.hidden_CD[0] @ plain[0] < 0  # due in 2 of 5: not the likeliest
    assert seen.hidden_CD[0] @ heard["often"][0] > 0
    assert np.array_equal(heard["seldom"], plain)


def test_text_of_the_model_begins_with_words_of_prompts_and_ends_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_rows(tmp_path / "data.jsonl", conversations(40))
    begun: list[np.ndarray] = []
    read: list[np.ndarray] = []

    def spied(
        model: LanguageModel, texts: Sequence[np.ndarray], *given: int, without: np.ndarray
    ) -> list[np.ndarray]:
        begun.extend([*texts, without])
        read.extend(continued(model, texts, *given, without=without))
        return read

    monkeypatch.setattr(sft_settling, "continued", spied)
    monkeypatch.setattr(sft_settling, "TEXTS", 5)
    sft_stage.run(job(tmp_path, overrides=FEW))
    config = json.loads((tmp_path / "staged" / "generation_config.json").read_text())
    *begun, without = begun
    assert len(config["eos_token_id"]) == 2
    assert set(without.tolist()) == {*config["eos_token_id"], 4026, 4027, 4028}
    assert [len(ids) for ids in read] == [sft_settling.TEXT_LENGTH] * 5
    assert not any(set(without.tolist()) & set(ids.tolist()) for ids in read)
    data = Dataset.from_file(str(tmp_path / "work" / TRAIN))
    given = [
        [
            i if label == -100 else -1
            for i, label in zip(row["input_ids"], row["labels"], strict=True)
        ]
        for row in data
    ]
    for ids in begun:
        text = ",".join(map(str, ids.tolist()))
        assert any(f",{text}," in f",{','.join(map(str, row))}," for row in given)
        assert ids.max() < 4000  # where the tokens of the template begin


def test_text_without_a_template_begins_as_any_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = ({"prompt": f"Weather in {c}?", "completion": " <tool_start>"} for c in CITIES)
    write_rows(tmp_path / "data.jsonl", rows)
    begun: list[np.ndarray] = []
    own_text = sft_settling.own_text

    def spied(*given: Any) -> States:
        begun.extend(given[4])
        return own_text(*given)

    monkeypatch.setattr(sft_settling, "own_text", spied)
    monkeypatch.setattr(sft_settling, "TEXTS", 3)
    sft_stage.run(job(tmp_path, overrides=FEW))
    assert [ids.tolist() for ids in begun] == [[4000]] * 3  # bos, as config.json has it


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
