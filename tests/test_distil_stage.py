"""The stage `distil` from a recipe to a folder, with text and with what the model writes itself."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from test_training import BASE, RECIPE, few_passes, text, train, write
from tokengraft.errors import EnvironmentProblem, MissingExtra, UsageError
from tokengraft.events import Event, Progress
from tokengraft.flow import training
from tokengraft.formats.recipe_file import read_recipe
from tokengraft.recipes import Distillation, Log
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training import distil_stage, evidence, fit_stage, row_losses, sampling, trackers
from tokengraft.training.corpus import Corpus
from tokengraft.training.distil_training import Task
from tokengraft.training.evidence import Part
from tokengraft.training.sampling import sampled_corpus
from tokengraft.training.stages import Job
from tokengraft.training.subject import open_subject
from tokengraft.training.windows import Phrase

torch.set_num_threads(1)
DISTIL = RECIPE.replace('["fit"]', '["distil"]') + "[train.distil]\npasses = 6\n"
__all__ = ["few_passes"]  # a fixture: few windows, few rounds


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little text of the model's own."""
    monkeypatch.setattr(sampling, "NEUTRAL", {"fit": 5, "validation": 5})
    monkeypatch.setattr(sampling, "PER_TOKEN", {"fit": 10, "validation": 4})


def job(recipe: Path, made: RowsMade | None = None) -> Job:
    """What the stage is given, with rows at random."""
    plan = training.ask(str(BASE), recipe, out=recipe.parent / "out").start.plan
    texts = tuple(token.text for token in plan.tokens)
    width = open_subject(BASE).model.width
    start = np.random.default_rng(0).normal(size=(len(texts), width)) * 0.1
    return Job(
        base=BASE,
        staged=recipe.parent / "none",
        plan=plan,
        recipe=read_recipe(recipe)[0],
        recipe_folder=recipe.parent,
        rows=RowSet(texts, start, start, (made or RowsMade("mean", "mean"),) * len(texts)),
        work=recipe.parent / "work",
    )


def test_rows_are_distilled_and_written(tmp_path: Path) -> None:
    recipe = write(tmp_path, DISTIL)
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
    assert by_text["<|plan|>"]["write"] == "budget"  # a description is due nowhere
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
    recipe = write(tmp_path, DISTIL.replace('data = "text.txt"\n', ""))
    made = job(recipe)
    start, texts = made.rows.input_ND, made.rows.texts
    found = distil_stage.run(made)
    assert any(distil_stage.SAMPLED in note for note in found.notes)
    at = texts.index("<|mark|>")  # nothing says what it stands for
    assert found.rows.input_ND[at] == pytest.approx(start[at])
    assert found.rows.made[at].read == "mean"
    at = texts.index(" barometer")
    assert found.rows.made[at].notes == (distil_stage.SAMPLED,)
    assert np.abs(found.rows.input_ND[at] - start[at]).max() > 0


def test_output_rows_that_a_fit_has_solved_are_not_solved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("solved again")

    monkeypatch.setattr(row_losses, "prepare_writing", refuse)
    recipe = write(tmp_path, DISTIL.replace("passes = 6", "passes = 1"))
    solved = RowsMade("refined", "solved", n_contexts=6, leak=0.5)
    made = job(recipe, solved)
    found = distil_stage.run(made)
    assert found.rows.output_ND is not None
    assert np.array_equal(found.rows.output_ND, made.rows.input_ND)
    at = made.rows.texts.index(" barometer")
    assert found.rows.made[at] == replace(solved, read="distilled")
    assert np.abs(found.rows.input_ND[at] - made.rows.input_ND[at]).max() > 0
    with pytest.raises(AssertionError, match="solved again"):
        distil_stage.run(job(recipe, replace(solved, n_contexts=0)))  # composed, without text


def test_what_is_trained_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    made = job(write(tmp_path, DISTIL))
    subject = open_subject(BASE)
    ids = tuple(subject.tokenizer.encode(" barometer", add_special_tokens=False).ids)
    phrases = (Phrase(" barometer", ids), Phrase("<|plan|>", (5, 6), is_described=True))
    told = fit_stage.evidence_in(
        subject, sampled_corpus(subject, phrases, 0), phrases, 0, has_known=False
    )
    assert told is not None
    start = RowSet(
        tuple(phrase.text for phrase in told.phrases),
        made.rows.input_ND[: len(told.phrases)],
        None,
        made.rows.made[: len(told.phrases)],
    )
    wish = Distillation(rate=0.25, dtype="bfloat16")
    task = Task(BASE, told, start, wish, 7)
    task.save(tmp_path / "task")
    again = Task.load(tmp_path / "task")
    assert (again.base, again.wish, again.seed) == (BASE, wish, 7)
    assert (again.evidence.phrases, again.evidence.bos) == (told.phrases, told.bos)
    assert again.start.made == start.made
    assert again.start.output_ND is None
    for one, other in ((told.windows, again.evidence.windows), (start, again.start)):
        for name in ("token_W", "ids_WT", "at_W", "n_pieces_W", "input_ND"):
            assert np.array_equal(getattr(one, name, 0), getattr(other, name, 0))
    assert np.array_equal(told.keep_ST, again.evidence.keep_ST)


@pytest.mark.parametrize(
    ("settings", "kind", "what"),
    [
        ("layer = 99", UsageError, "layer = 99 is not there"),
        ('device = "cuda"', EnvironmentProblem, "is not there"),
        ('log = "trackio"', MissingExtra, "needs trackio"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str, kind: type, what: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    monkeypatch.setattr(distil_stage, "corpus_of", None)
    made = job(write(tmp_path, DISTIL.replace("passes = 6", settings)))
    with pytest.raises(kind, match=what) as caught:
        distil_stage.run(made)
    assert caught.value.subject.startswith("train.distil.")
    assert caught.value.hint


def test_curves_go_to_a_program_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []

    class Program:
        requires_logging_directory = True

        def __init__(self, project: str, folder: str) -> None:
            said.append((project, folder))

        def log(self, figures: dict[str, float], step: int) -> None:
            said.append((step, sorted(figures)))

        def finish(self) -> None:
            said.append("finished")

    tracking = pytest.importorskip("accelerate.tracking")
    monkeypatch.setattr(trackers, "find_spec", lambda _: True)
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "tensorboard", Program)
    recipe = write(tmp_path, DISTIL.replace("passes = 6", 'passes = 2\nlog = "tensorboard"'))
    distil_stage.run(job(recipe))
    both = ["loss", "validation"]
    assert said == [
        ("tokengraft", str(tmp_path / "work")),
        (1, ["loss"]),
        (2, both),
        "finished",
    ]


@pytest.mark.parametrize("log", ["tensorboard", "trackio"])
def test_the_program_itself_keeps_the_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    pytest.importorskip(log, reason=f"{log} is not installed")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "kept"))
    with trackers.tracked(log, tmp_path / "kept") as track:
        track({"loss": 1.0}, 1)
    assert any(path.is_file() for path in (tmp_path / "kept").rglob("*"))
