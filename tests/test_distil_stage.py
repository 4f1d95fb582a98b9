"""The stage `distil` from a recipe to a folder, with text and with what the model writes itself."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from test_training import BASE, RECIPE, few_passes, text, train, write
from tokengraft.events import Event, Progress
from tokengraft.flow import training
from tokengraft.formats.recipe_file import read_recipe
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training import distil_stage, evidence, fit_stage, sampling
from tokengraft.training.corpus import Corpus
from tokengraft.training.evidence import Part
from tokengraft.training.sampling import sampled_corpus
from tokengraft.training.stages import Job
from tokengraft.training.subject import open_subject
from tokengraft.training.training_settings import Settings
from tokengraft.training.windows import Phrase

torch.set_num_threads(1)
__all__ = ["few_passes"]  # a fixture: few windows, few rounds


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few passes, little text of the model's own."""
    monkeypatch.setattr(distil_stage, "Settings", lambda: Settings(passes=6))
    monkeypatch.setattr(sampling, "NEUTRAL", {"fit": 5, "validation": 5})
    monkeypatch.setattr(sampling, "PER_TOKEN", {"fit": 10, "validation": 4})


def test_rows_are_distilled_and_written(tmp_path: Path) -> None:
    recipe = write(tmp_path, RECIPE.replace('["fit"]', '["distil"]'))
    heard: list[Event] = []
    done = train(recipe, tmp_path / "out", heard)
    assert done.applied.receipt.files
    kept = tmp_path / "out.training"
    lines = [json.loads(line) for line in (kept / "curves.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {"distil"}
    assert lines[-1]["loss"] < lines[0]["loss"]
    seen = [event for event in heard if isinstance(event, Progress) and event.step == "distil"]
    assert seen[-1].done == 6
    records = [json.loads(path.read_text()) for path in kept.rglob("*.json")]
    made = [one for record in records if record.get("stage") == "distil" for one in record["made"]]
    by_text = {one["text"]: one for one in made}
    assert by_text[" barometer"]["write"] == "solved"
    assert any(one["read"] == "distilled" for one in made)
    assert by_text["<|mark|>"]["read"] == "start"  # nothing says what it stands for


def test_what_the_model_writes_is_the_same_for_a_seed_and_shows_every_phrase() -> None:
    subject = open_subject(BASE)
    ids = tuple(subject.tokenizer.encode(" barometer", add_special_tokens=False).ids)
    phrases = (Phrase(" barometer", ids), Phrase("<|plan|>", (5, 6), is_described=True))
    one, again = (sampled_corpus(subject, phrases, 1) for _ in "ab")
    same = zip(one.parts["fit"], again.parts["fit"], strict=True)
    assert all(np.array_equal(a, b) for a, b in same)
    part = evidence.part_of_corpus(subject, one, phrases, "fit", 0)
    assert (part.windows_N >= evidence.PER_TOKEN["fit"] // 2).all()
    assert part.has_neutral
    written = np.concatenate(one.parts["fit"])
    assert subject.used_V[written].all()  # no special token, and no end


def test_a_rare_token_is_left_out_and_the_text_is_looked_through_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subject = open_subject(BASE)
    encode = subject.tokenizer.encode
    phrases = [
        Phrase(word, tuple(encode(word, add_special_tokens=False).ids))
        for word in (" barometer", " never seen", " submarine")
    ]
    ids = [np.array(encode(text(seed)).ids) for seed in range(2)]
    corpus = Corpus({"fit": ids[:1], "validation": ids[1:]}, 1, 1, is_whole=True)
    looked: list[str] = []

    def look(*args: Any) -> Part:
        looked.append(args[3])
        return part_of_corpus(*args)

    part_of_corpus = fit_stage.part_of_corpus
    monkeypatch.setattr(fit_stage, "part_of_corpus", look)
    told = fit_stage.evidence_in(subject, corpus, phrases, 0, has_known=False)
    assert looked == ["fit", "validation"]
    assert told is not None
    assert [phrase.text for phrase in told.phrases] == [" barometer", " submarine"]
    for windows in (told.windows, told.validation):
        assert set(windows.token_W.tolist()) == {0, 1}
        for token, row, at in zip(windows.token_W, windows.ids_WT, windows.at_W, strict=True):
            pieces = told.phrases[token].pieces
            assert tuple(row[at : at + len(pieces)]) == pieces
    assert (told.frequency_N > 1e-3).all()


def test_a_stage_without_text_trains_on_the_models_own_and_says_so(tmp_path: Path) -> None:
    recipe = write(tmp_path, RECIPE.replace('data = "text.txt"\n', ""))
    asked = training.ask(str(BASE), recipe, out=tmp_path / "out")
    plan = asked.start.plan
    subject = open_subject(BASE)
    texts = tuple(token.text for token in plan.tokens)
    start = np.random.default_rng(0).normal(size=(len(texts), subject.model.width)) * 0.1
    made = (RowsMade("mean", "mean"),) * len(texts)
    written = None if subject.model.tied else start
    job = Job(
        base=BASE,
        staged=tmp_path / "none",
        plan=plan,
        recipe=read_recipe(recipe)[0],
        recipe_folder=tmp_path,
        rows=RowSet(texts, start, written, made),
        work=tmp_path / "work",
    )
    found = distil_stage.run(job)
    assert any(distil_stage.SAMPLED in note for note in found.notes)
    at = texts.index("<|mark|>")  # nothing says what it stands for
    assert found.rows.input_ND[at] == pytest.approx(start[at])
    assert found.rows.made[at].read == "mean"
    at = texts.index(" barometer")
    assert found.rows.made[at].notes == (distil_stage.SAMPLED,)
    assert np.abs(found.rows.input_ND[at] - start[at]).max() > 0
