"""`--write-recipe`: a recipe that can be planned, and that mends what it says it mends."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

import tiny
from small_qwen import cut
from tokengraft.auditing import audit, find
from tokengraft.cli.app import app
from tokengraft.findings import GOALS, Goal
from tokengraft.flow import making, recipes
from tokengraft.formats.loading import load
from tokengraft.formats.recipe_file import read_recipe

ADDS = ("roles", "tools", "thinking")
REPO = Path(__file__).resolve().parents[2]
TINY: dict[str, dict[str, object]] = {
    "in step": {},
    "base": {"base": True},
    "out of step": {"base": True, "out_of_step": True},
    "legacy": {"base": True, "legacy": True, "merges": "pairs", "tied": True},
    "byte fallback": {"kind": "byte-fallback", "base": True},
    "small files": {"base": True, "shards": 0, "template": "jinja"},
    "no pad": {"files": {"tokenizer_config.json": {"pad_token": None}}},
    "pad is no token": {"files": {"tokenizer_config.json": {"pad_token": "<|pad|>"}}},
    "full": {"base": True, "n_rows": 294},
}
CUT: dict[str, tuple[Goal, ...]] = {  # the size of their vocabulary is not the point
    "qwen3-30b-a3b-base": GOALS,
    "qwen3-30b-a3b": ("inference", "context"),
}
REAL: dict[str, tuple[Goal, ...]] = {
    "tokenizers/qwen3-30b-a3b-base": ("tools",),
    "tokenizers/gpt2": ("pad", "tools"),
    "tokenizers/phi-2": ("pad",),
    "tokenizers/minimind": ("thinking", "context", "protocol"),
    "tokenizers/roberta": ("pad",),
    "models/stories260K": GOALS,
    "edge/qwen2-boundless-crlf": ("protocol",),
    "edge/qwen3-bitdance": ("pad", "roles"),
    "edge/qwen3-pilot-tts": ("thinking", "protocol"),
}


def _holds(source: Path, goal: Goal, recipe: Path) -> None:
    """Write the recipe of a goal, check it, plan it, and compare what was promised."""
    arguments = ["audit", str(source), "--goal", goal, "--write-recipe", str(recipe), "-q"]
    told = CliRunner().invoke(app, [*arguments, "--fail-on", "never"])
    assert told.exit_code == 0, told.output
    assert () == recipes.check_recipe(recipe, str(source))
    checkpoint = load(source)
    promised = {(f.rule, f.subject) for f in find(checkpoint) if f.fix and f.safety == "safe"}
    wish, text = read_recipe(recipe)
    answer = audit(checkpoint, goal=goal, source="SRC").verdict
    assert ("[[add]]" in text) == (goal in ADDS and answer == "needs-training")
    planned = making.plan_recipe(checkpoint, wish, text=text, source="SRC")
    left = {(finding.rule, finding.subject) for finding in planned.plan.predicted}
    assert set() == left & promised


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("name", TINY)
def test_the_recipe_of_a_goal_can_be_planned_and_mends_what_it_names(
    name: str, goal: Goal, tmp_path: Path
) -> None:
    _holds(tiny.build(tmp_path / "a", **TINY[name]), goal, tmp_path / "recipe.toml")


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("name", ["tiny-qwen3-moe-base", "tiny-qwen3-moe-chat"])
def test_the_recipes_of_the_small_models_can_be_planned(
    name: str, goal: Goal, tmp_path: Path
) -> None:
    _holds(REPO / "models" / name, goal, tmp_path / "recipe.toml")


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_the_recipes_of_real_folders_can_be_planned(name: str, data: Path, tmp_path: Path) -> None:
    for goal in REAL[name]:
        _holds(data / name, goal, tmp_path / f"{goal}.toml")


@pytest.mark.parametrize("name", CUT)
def test_the_recipes_of_real_files_with_fewer_pieces_can_be_planned(
    name: str, data: Path, tmp_path: Path
) -> None:
    source = cut(data / "tokenizers" / name, tmp_path / name)
    for goal in CUT[name]:
        _holds(source, goal, tmp_path / f"{goal}.toml")


@pytest.mark.parametrize("goal", GOALS)
def test_nothing_is_asked_for_where_the_answer_is_do_not(
    goal: Goal, data: Path, tmp_path: Path
) -> None:
    source, recipe = data / "edge" / "ort-added-tokens", tmp_path / "recipe.toml"
    arguments = ["audit", str(source), "--goal", goal, "--write-recipe", str(recipe), "-q"]
    assert CliRunner().invoke(app, arguments).exit_code == 1
    wish, text = read_recipe(recipe)
    assert "do-not" in text
    assert not any(getattr(wish, name) for name in ("add", "rename", "pad", "context"))
