"""Training of a tied model that the recipe gives a second matrix: stages yield two rows a token."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

import tiny
from raw_tensors import tensor_bytes, write_weights
from sft_jobs import job
from test_training import BASE, INPUT, OUTPUT, _few, rows, write
from tokengraft import flow
from tokengraft.formats.plan_files import read_plan
from tokengraft.planning.trained import Trained
from tokengraft.training import sft_stage
from tokengraft.training.subject import open_subject

pytestmark = pytest.mark.filterwarnings("ignore")  # libraries on what they will change one day
RECIPE = """version = 1
[[add]]
text = " barometer"
use = "word"
[[add]]
text = "<|plan|>"
use = "thinking"
meaning = "the plan is this"
[[add]]
text = "<|mark|>"
init = "gaussian"
[train]
stages = STAGES
data = "text.txt"
"""


@pytest.fixture
def tied(tmp_path: Path) -> Path:
    """The repository's model with one matrix: what it writes is noise, and rows are trained all the same."""
    folder = tmp_path / "tied"
    shutil.copytree(BASE, folder, copy_function=shutil.copyfile)
    tensors = {name: t for name, t in tensor_bytes(BASE).items() if name != OUTPUT}
    for path in folder.glob("model*"):
        path.unlink()
    write_weights(folder, tensors, shards=1)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["tie_word_embeddings"] = True
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize("untied", [False, True], ids=["one row", "two rows"])
def test_fit_and_distil_follow_the_plan(
    tied: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    untied: bool,
) -> None:
    _few(monkeypatch)
    stages = '["fit", "distil"]' if untied else '["fit"]'
    wish = RECIPE.replace("STAGES", stages) + f"[rows]\nuntie = {str(untied).lower()}\n"
    recipe = write(tmp_path / "r", wish)
    out = tmp_path / "out"
    done = flow.train(str(tied), recipe, out=out)
    plan = read_plan(out / "tokengraft" / "plan.json").plan
    ids = [token.id for token in plan.tokens if token.init == "trained"]
    assert len(ids) == 2
    read_ND = rows(out, INPUT, ids)
    why = {token.text: token.why for token in plan.tokens}
    offers = [note for note in done.tokens.notes if "[rows] untie = true" in note]
    if untied:
        assert not np.array_equal(read_ND, rows(out, OUTPUT, ids))
        assert "written solved" in why[" barometer"]
        assert offers == []
    else:
        assert OUTPUT not in tensor_bytes(out)
        assert "compromise" in why[" barometer"]
        assert len(offers) == 1
    proved = flow.verify(out, against=str(tied))
    assert proved.passed
    word = next(token for token in done.tokens.tokens if token.text == " barometer")
    assert None not in (word.read, word.write)


def test_a_subject_with_two_rows_shares_the_old_ones(tied: Path) -> None:
    one, two = open_subject(tied), open_subject(tied, two_rows=True)
    assert (True, False) == (one.model.tied, two.model.tied)
    assert np.array_equal(two.model.input_VD(), two.model.output_VD())


def test_supervised_training_moves_both_rows_and_the_plan_takes_both(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True)
    (tmp_path / "data.jsonl").write_text('{"text": "<|new|> Hello <|new|>"}\n' * 4)
    recipe = 'version = 1\n[[add]]\ntext = "<|new|>"\n[rows]\nuntie = true\n[train]\ndata = "data.jsonl"\n'
    few = ("train.sft.steps=2", "train.sft.batch=2", "train.sft.validation=0")
    made = job(tmp_path, base=base, recipe=recipe, overrides=few)
    assert made.rows.output_ND is not None
    result = sft_stage.run(made)
    assert result.rows.output_ND is not None
    assert np.abs(result.rows.input_ND - made.rows.input_ND).max() > 1e-4
    assert np.abs(result.rows.output_ND - made.rows.output_ND).max() > 1e-4
    planned = flow.making.plan_recipe(
        flow.load(str(base)),
        made.recipe,
        text=recipe,
        source=str(base),
        trained=Trained(result.rows),
    )
    assert {INPUT, OUTPUT} == set(planned.values)
