"""What somebody would lose: nothing is replaced that tokengraft did not make, or that was used since."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from test_planning import add, planned, problems
from tiny import build
from tokengraft.errors import TargetExists, UsageError
from tokengraft.events import Event, Note
from tokengraft.flow import check_recipe, making, new_recipe


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return build(tmp_path / "base")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text('version = 1\n[[add]]\ntext = "<|x|>"\n', encoding="utf-8")
    return path


def test_a_plan_is_not_written_into_its_source(base: Path, recipe: Path) -> None:
    made = making.make_plan(str(base), recipe)
    before = (base / "config.json").read_bytes()
    for name in ("config.json", "plan.json"):
        with pytest.raises(UsageError, match="inside the source"):
            making.write_plan(made, base / name)
    assert before == (base / "config.json").read_bytes()
    assert not (base / "plan.json").exists()


def test_a_plan_replaces_a_plan_and_nothing_else(base: Path, recipe: Path, tmp_path: Path) -> None:
    made = making.make_plan(str(base), recipe)
    with pytest.raises(TargetExists, match="is no plan"):
        making.write_plan(made, recipe)
    assert recipe.read_text(encoding="utf-8").startswith("version = 1")
    place = tmp_path / "plan.json"
    making.write_plan(made, place)
    making.write_plan(made, place)
    other = tmp_path / "other.rows.safetensors"
    other.write_bytes(b"somebody's rows")
    with pytest.raises(TargetExists):
        making.write_plan(made, tmp_path / "other.json")


def test_an_output_that_was_worked_in_is_not_replaced(
    base: Path, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    making.apply(recipe, base=str(base), out=out)
    making.apply(recipe, base=str(base), out=out, replace=True)  # as it was made: it may go
    (out / "checkpoint-500").mkdir()
    (out / "checkpoint-500" / "adapter.safetensors").write_bytes(b"days of work")
    with pytest.raises(TargetExists, match="work that would be lost") as caught:
        making.apply(recipe, base=str(base), out=out, replace=True)
    assert "checkpoint-500/adapter.safetensors" in caught.value.detail
    (out / "checkpoint-500" / "adapter.safetensors").unlink()
    config = out / "config.json"
    config.write_bytes(config.read_bytes() + b" ")
    later = (out / "MANIFEST.sha256").stat().st_mtime_ns + 1_000_000_000
    os.utime(config, ns=(later, later))
    with pytest.raises(TargetExists, match="work that would be lost"):
        making.apply(recipe, base=str(base), out=out, replace=True)


def test_links_are_told_where_they_are_made(base: Path, recipe: Path, tmp_path: Path) -> None:
    heard: list[Event] = []
    making.apply(recipe, base=str(base), out=tmp_path / "a", copy="link", listen=heard.append)
    assert any(isinstance(event, Note) and "hard links" in event.text for event in heard)
    heard.clear()
    making.apply(recipe, base=str(base), out=tmp_path / "b", copy="copy", listen=heard.append)
    assert not any(isinstance(event, Note) and "hard links" in event.text for event in heard)


def test_the_current_folder_is_no_output(base: Path, recipe: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the output folder"):
        making.apply(recipe, base=str(base), out=Path())


def test_the_token_that_ends_turns_is_refused_as_pad(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", base=True)
    assert "ends the turns" in problems(folder, '[pad]\ntoken = "<|im_end|>"\n')


def test_plain_text_as_a_token_is_noted(base: Path) -> None:
    made = planned(base, add("Zebra")).plan
    assert any("inside longer words too" in note for note in made.notes)


def test_an_adapter_is_looked_at_without_a_base_too(tmp_path: Path) -> None:
    path = tmp_path / "lora.toml"
    path.write_text('version = 1\n[lora]\nadapter = "adapter"\n', encoding="utf-8")
    assert ["[lora]"] == [problem.where for problem in check_recipe(path, None)]


def test_presets_that_make_no_sense_say_so_instead(tmp_path: Path) -> None:
    folder = build(
        tmp_path / "src",
        template=False,
        files={"config.json": {"model_type": "gpt2", "max_position_embeddings": None}},
    )
    text = new_recipe(str(folder), ["context", "protocol"])
    assert "[context]" not in text
    assert "[[rename]]" not in text
    assert "cannot be lengthened" in text
