"""`train`: from a recipe to a verified folder with trained rows, resumed, held, refused."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

import grafts
from tokengraft import flow
from tokengraft.applying.locking import locked
from tokengraft.applying.syscalls import SYSTEM
from tokengraft.errors import (
    MalformedFile,
    TargetExists,
    TargetLocked,
    UnsupportedFormat,
    UsageError,
)
from tokengraft.events import Event, Note, Progress
from tokengraft.flow import stage_records, training
from tokengraft.flow.starting_rows import starting_rows
from tokengraft.formats.byte_ranges import RangeRows, source_of
from tokengraft.formats.loading import load
from tokengraft.formats.plan_files import read_plan
from tokengraft.plans import Stored
from tokengraft.training import evidence, input_rows, judging, refining, stages
from tokengraft.trainings import StageRecord, TokenVerdicts

BASE = Path(__file__).resolve().parents[1] / "models" / "tiny-qwen3-moe-base"
INPUT, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
WORDS = (" barometer", " submarine")
RECIPE = """version = 1
[[add]]
text = " barometer"
use = "word"
[[add]]
text = " submarine"
use = "word"
[[add]]
text = "<|plan|>"
use = "thinking"
meaning = "the plan is this"
[[add]]
text = "<|mark|>"
init = "gaussian"
[train]
stages = ["fit"]
data = "text.txt"
"""
PLAIN = """version = 1
[[add]]
text = "<|plan|>"
use = "thinking"
meaning = "the plan is this"
[[add]]
text = "<|mark|>"
init = "gaussian"
[[add]]
text = "<|all|>"
init = "mean"
[train]
stages = ["fit"]
"""


def text(seed: int = 3) -> str:
    """Documents about the two words, and about others."""
    of = random.Random(seed)
    people = ("the man", "a girl", "my brother", "the teacher", "an old woman")
    done = ("saw", "found", "painted", "sold", "looked at", "wrote about")
    things = (*(word.strip() for word in WORDS), "house", "river", "book", "garden", "table")
    where = ("near the sea", "in the town", "last summer", "before lunch", "with a smile")

    def sentence() -> str:
        return f"{of.choice(people)} {of.choice(done)} the {of.choice(things)} {of.choice(where)}."

    return "\n\n".join(" ".join(sentence() for _ in range(20)) for _ in range(60))


@pytest.fixture(autouse=True)
def few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    _few(monkeypatch)


def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few windows and rounds that a fit takes a second."""
    torch.set_num_threads(1)
    monkeypatch.setattr(evidence, "PER_TOKEN", {"fit": 6, "validation": 3, "test": 6})
    monkeypatch.setattr(evidence, "BACKGROUND", 3_000)
    monkeypatch.setattr(refining, "ROUNDS", 1)
    monkeypatch.setattr(refining, "PROBES", 0.3)
    monkeypatch.setattr(input_rows, "MOST_PIECES", 300)


def write(folder: Path, recipe: str = RECIPE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "text.txt").write_text(text(), encoding="utf-8")
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    return folder / "recipe.toml"


def train(recipe: Path, out: Path, events: list[Event] | None = None) -> training.TrainedOut:
    listen = (events if events is not None else []).append
    return flow.train(str(BASE), recipe, out=out, listen=listen)


@dataclass(frozen=True)
class Made:
    recipe: Path
    out: Path
    done: training.TrainedOut
    story: flow.Story
    events: list[Event]


@pytest.fixture(scope="module")
def _kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with pytest.MonkeyPatch.context() as patch:
        _few(patch)
        folder = tmp_path_factory.mktemp("trained")
        recipe = write(folder)
        events: list[Event] = []
        story = flow.run(recipe, base=str(BASE), out=folder / "out", listen=events.append)
        assert story.trained is not None
        yield Made(recipe, folder / "out", story.trained, story, events)


@pytest.fixture
def made(_kept: Made, tmp_path: Path) -> Made:
    """A training that is done, in a folder of the test's own."""
    folder = tmp_path / "own"
    shutil.copytree(_kept.recipe.parent, folder)
    return replace(_kept, recipe=folder / "recipe.toml", out=folder / "out")


def rows(folder: Path, tensor: str, ids: list[int]) -> np.ndarray:
    checkpoint = load(folder)
    assert checkpoint.tensors is not None
    ref = checkpoint.tensors.tensors[tensor]
    return RangeRows(source_of(checkpoint.files[ref.file]), ref).sample(ids)


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


# ── what comes out ───────────────────────────────────────────────────────────────────────────────


def test_trained_rows_are_in_the_plan_and_in_out_and_verify_passes(made: Made) -> None:
    assert made.story.verification.passed
    assert () == made.story.applied.undone
    plan = read_plan(made.out / "tokengraft" / "plan.json").plan
    assert made.recipe.read_text(encoding="utf-8") == plan.recipe
    tokens = {token.text: token for token in plan.tokens}
    assert dict.fromkeys(WORDS, "trained") == {w: tokens[w].init for w in WORDS}
    assert tokens[" barometer"].why == "fit: read refined, written solved"
    assert all(isinstance(row.source, Stored) for w in WORDS for row in tokens[w].rows)
    assert "gaussian" == tokens["<|mark|>"].init


def test_a_graft_that_was_trained_for_is_applied_elsewhere_with_its_rows(
    made: Made, tmp_path: Path
) -> None:
    plan = made.out / "tokengraft" / "plan.json"
    applied = flow.apply(plan, base=str(BASE), out=tmp_path / "again")
    assert () == applied.undone
    assert grafts.tree(made.out) == grafts.tree(tmp_path / "again")


def test_the_plan_says_what_words_save_before_anything_is_trained(made: Made) -> None:
    counts = ", ".join(f"{word!r} {text().count(word)}" for word in WORDS)
    (note,) = [note for note in made.done.planned.plan.notes if note.startswith("text.txt has")]
    assert note.endswith(f"which stand in it so often: {counts}")
    saved = {token.text: token.positions_saved for token in made.done.tokens.tokens}
    total = sum(saved[word] or 0 for word in WORDS)
    assert f"would have {total:,} fewer" in note
    counted = [e for e in made.events if isinstance(e, Progress) and e.step == "count"]
    assert 1 == sum(event.done == event.total for event in counted)  # for both plans


def test_every_token_has_a_verdict_with_its_reasons(made: Made) -> None:
    data = (made.out.parent / "out.training" / "tokens.json").read_text(encoding="utf-8")
    told = TokenVerdicts.from_dict(json.loads(data))
    assert told == made.done.tokens
    found = {token.text: token for token in told.tokens}
    word = found[" barometer"]
    assert word.read is not None
    assert word.write is not None
    assert word.write > 0.2
    assert word.uses == text().count(" barometer")
    assert word.positions_saved is not None
    assert word.positions_saved % word.uses == 0
    assert found["<|plan|>"].read is not None
    assert found["<|plan|>"].write is None
    assert found["<|mark|>"].verdict == "unknown"
    assert all(token.reasons for token in told.tokens)


def test_training_starts_from_the_rows_that_apply_writes(tmp_path: Path) -> None:
    recipe = write(tmp_path / "r", PLAIN)
    asked = training.ask(str(BASE), recipe, out=tmp_path / "out")
    start = starting_rows(asked.start)
    flow.apply(recipe, base=str(BASE), out=tmp_path / "out")
    ids = [token.id for token in asked.start.plan.tokens if token.rows]
    assert (rows(tmp_path / "out", INPUT, ids) == start.input_ND).all()
    assert (rows(tmp_path / "out", OUTPUT, ids) == start.output_ND).all()


# ── going on ─────────────────────────────────────────────────────────────────────────────────────


def _no_stage(name: str) -> object:
    raise AssertionError(f"{name} was run again")


def test_after_a_kill_it_goes_on_whatever_comments_say(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("plan.json", "recipe.toml", "receipt.json")  # which hold the recipe's text
    kept = {f"tokengraft/{name}" for name in names} | {"MANIFEST.sha256"}
    before = {k: v for k, v in grafts.tree(made.out).items() if k not in kept}
    shutil.rmtree(made.out)  # what a kill between the stage and the rename leaves
    (made.out.parent / "out.training" / "tokens.json").unlink()
    monkeypatch.setattr(stages, "stage_named", _no_stage)
    made.recipe.write_text(f"# why\n{RECIPE}", encoding="utf-8")  # comments change nothing
    done = train(made.recipe, made.out)
    assert before == {k: v for k, v in grafts.tree(made.out).items() if k not in kept}
    assert made.done.tokens == done.tokens


def test_what_a_killed_stage_left_is_there_again_for_the_same_training_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / "out.training").mkdir()
    place = stage_records.Place(tmp_path / "out.training")
    (place.begin("sft", "one") / "checkpoint").write_text("half", encoding="utf-8")
    assert "half" == (place.begin("sft", "one") / "checkpoint").read_text(encoding="utf-8")
    assert [] == list(place.begin("sft", "other").iterdir())


def test_verdicts_are_those_of_the_stage_that_they_were_given_after(tmp_path: Path) -> None:
    place = stage_records.Place(tmp_path)
    place.judge("one", TokenVerdicts(notes=("said",)))
    assert place.verdicts("one") == TokenVerdicts(notes=("said",))
    assert place.verdicts("other") is None


def test_what_an_earlier_training_left_for_readers_is_gone(tmp_path: Path) -> None:
    place = stage_records.Place(tmp_path)
    for name in ("curves.jsonl", "data.json", "held_out.jsonl"):
        (tmp_path / name).write_text("{}\n", encoding="utf-8")
    work = place.begin("fit", "one")
    (work / "curves.jsonl").write_text('{"stage": "fit"}\n', encoding="utf-8")
    place.gather(["fit"])
    assert (tmp_path / "curves.jsonl").read_text(encoding="utf-8") == '{"stage": "fit"}\n'
    assert not (tmp_path / "data.json").exists()
    assert not (tmp_path / "held_out.jsonl").exists()


def test_a_stage_whose_rows_cannot_be_read_is_not_finished(tmp_path: Path) -> None:
    place = stage_records.Place(tmp_path)
    record = StageRecord(stage="fit", key="one", seconds=1.0)
    place.begin("fit", "one")
    assert stage_records.finished(place, record) is None
    (tmp_path / "fit" / "rows.safetensors").write_bytes(b"half")
    assert stage_records.finished(place, record) is None


def test_a_stage_without_its_record_is_not_taken_for_finished(made: Made) -> None:
    place = stage_records.Place(made.out.parent / "out.training")
    assert stage_records.recorded(place, "fit") is not None
    (place.folder / "fit" / "stage.json").write_text("{", encoding="utf-8")
    assert stage_records.recorded(place, "fit") is None


def test_a_further_call_makes_nothing_and_a_changed_recipe_is_trained_anew(tmp_path: Path) -> None:
    recipe = write(tmp_path / "r", PLAIN)
    first = train(recipe, tmp_path / "out")
    made = grafts.tree(tmp_path / "out")
    again = train(recipe, tmp_path / "out")
    assert ("fit: finished before", "apply: OUT was made by this very plan before") == again.resumed
    assert made == grafts.tree(tmp_path / "out")
    recipe.write_text(PLAIN.replace("the plan is this", "the plan is that"), encoding="utf-8")
    shutil.rmtree(tmp_path / "out")
    events: list[Event] = []
    done = train(recipe, tmp_path / "out", events)
    assert not done.stages[0].resumed
    assert first.planned.text != done.planned.text
    assert "fit is trained anew: base, recipe, data or settings changed" in notes(events)


def test_changed_text_changes_the_key(tmp_path: Path) -> None:
    recipe = write(tmp_path / "r", f'{PLAIN}data = "text.txt"\n')
    asked = training.ask(str(BASE), recipe, out=tmp_path / "out")
    before = training._keys(asked)
    assert before == training._keys(asked)
    (recipe.parent / "text.txt").write_text(text(seed=4), encoding="utf-8")
    assert before != training._keys(asked)


# ── without text ─────────────────────────────────────────────────────────────────────────────────


def test_without_text_rows_are_composed_and_nothing_is_judged(tmp_path: Path) -> None:
    done = train(write(tmp_path / "r", PLAIN), tmp_path / "out")
    assert ("there is no local text to fit on: rows are composed of pieces",) == done.stages[
        0
    ].notes
    assert {"unknown"} == {token.verdict for token in done.tokens.tokens}
    plan = done.planned.plan
    why = {token.text: (token.init, token.why) for token in plan.tokens if token.rows}
    assert why["<|plan|>"] == ("trained", "fit: read mean, written budget")
    assert why["<|mark|>"][0] == "gaussian"


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────


def test_two_trainings_for_one_out_the_second_is_told(tmp_path: Path) -> None:
    import os

    recipe = write(tmp_path / "r", PLAIN)
    parent = os.open(tmp_path, os.O_RDONLY)
    with locked(parent, tmp_path / "out.training", SYSTEM), pytest.raises(TargetLocked) as caught:
        train(recipe, tmp_path / "out")
    os.close(parent)
    assert 4 == caught.value.exit_code


def test_an_out_that_exists_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "stage_named", _no_stage)
    (tmp_path / "out").mkdir()
    with pytest.raises(TargetExists, match="exists"):
        train(write(tmp_path / "r", PLAIN), tmp_path / "out")


def test_a_folder_of_records_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out.training").mkdir()
    (tmp_path / "out.training" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(TargetExists, match="holds no training of ours"):
        train(write(tmp_path / "r", PLAIN), tmp_path / "out")
    assert ["mine.txt"] == [path.name for path in (tmp_path / "out.training").iterdir()]


@pytest.mark.parametrize(
    ("recipe", "what"),
    [
        ('version = 1\n[[add]]\ntext = "<|a|>"\n', "the recipe asks for no training"),
        ('version = 1\n[train]\nstages = ["fit"]\n', "adds no token whose rows could be trained"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path: Path, recipe: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        train(write(tmp_path / "r", recipe), tmp_path / "out")


def test_data_that_no_stage_can_read_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    recipe = write(tmp_path, RECIPE.replace("text.txt", "text.json"))
    (tmp_path / "text.json").write_text('[{"text": "cut', encoding="utf-8")
    with pytest.raises(MalformedFile, match=r"text\.json is not JSON"):
        train(recipe, tmp_path / "out")
    assert {"recipe.toml", "text.txt", "text.json"} == {p.name for p in tmp_path.iterdir()}


def test_data_that_cannot_be_read_while_judging_leave_no_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write(tmp_path, PLAIN + 'data = "text.txt"\n')

    def refused(*_: object) -> None:
        raise MalformedFile("the table ends in the middle")

    monkeypatch.setattr(judging, "corpus_of", refused)
    with pytest.raises(MalformedFile, match="in the middle"):
        train(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    _few(monkeypatch)
    assert train(recipe, tmp_path / "out").resumed == ("fit: finished before",)


def test_a_stage_that_is_not_installed_is_named() -> None:
    with pytest.raises(UnsupportedFormat, match="has no stage 'dream'"):
        stages.stage_named("dream")
