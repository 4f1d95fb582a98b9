"""`recipe check` says everything at once, each with its place; what `recipe new` writes passes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tiny import build
from tokengraft.documents import Problem
from tokengraft.errors import ConflictingFiles
from tokengraft.flow.recipes import PRESETS, check_recipe, new_recipe
from tokengraft.formats.recipe_file import parse_recipe

SECTIONS = ("add", "roles", "tools", "thinking", "protocol", "rename", "pad", "context")


def checked(home: Path, recipe: str, source: Path | None = None) -> tuple[Problem, ...]:
    path = home / "recipe.toml"
    path.write_text(f"version = 1\n{recipe}", encoding="utf-8")
    return check_recipe(path, None if source is None else str(source))


def test_a_place_may_hold_a_colon_and_suggestions_stand_apart(tmp_path: Path) -> None:
    recipe = '[[add]]\ntext = "<|a: b|>"\nlike = "<|c: d|>"\n[pad]\ntoken = "<|im_end|>"\n'
    pad, like = checked(tmp_path, recipe, build(tmp_path / "src"))
    assert (pad.where, pad.suggestion) == ("pad.token", 'token = "auto" takes another one')
    assert like.where == "add '<|a: b|>': like"
    assert like.what == "'<|c: d|>' is no token of the base"


def test_sections_that_can_be_read_are_checked_beside_those_that_cannot(tmp_path: Path) -> None:
    recipe = (
        '[[add]]\ntext = "<|x|>"\nuse = "rol"\n[context]\nmethod = "yarm"\nlength = 9\n'
        '[[rename]]\nfrom = "<|nope|>"\nto = "<|y|>"\n[pad]\ntoken = "<|im_end|>"\n'
    )
    found = checked(tmp_path, recipe, build(tmp_path / "src"))
    assert [(p.where, p.suggestion) for p in found[:2]] == [
        ("add[0].use", "did you mean 'role'?"),
        ("context.method", "did you mean 'yarn'?"),
    ]
    assert [p.where for p in found[2:]] == ["rename[0].from", "pad.token"]


@pytest.mark.parametrize(
    "wrong", ['[[rename]]\nfrom = "<|im_end|>"\n', "nonsense = 1\nversion = 2\n"]
)
def test_nothing_is_said_of_the_rest_where_it_hangs_on_what_cannot_be_read(
    wrong: str, tmp_path: Path
) -> None:
    recipe = '[[add]]\ntext = "<|im_end|>"\nspecial = false\n'
    path = tmp_path / "recipe.toml"
    head = "" if "version" in wrong else "version = 1\n"
    path.write_text(f"{head}{wrong}{recipe}", encoding="utf-8")
    found = check_recipe(path, str(build(tmp_path / "src")))
    assert not any(problem.where.startswith("add") for problem in found)
    assert found


def test_contradictions_need_no_checkpoint(tmp_path: Path) -> None:
    recipe = (
        '[[add]]\ntext = "<|x|>"\n[[add]]\ntext = "<|y|>"\n[[add]]\ntext = "<|x|>"\nuse = "role"\n'
        '[protocol]\nturn_start = "<|t|>"\nturn_end = "<|t|>"\n'
    )
    wanted = ("'<|x|>' is asked for twice", "'<|t|>' cannot both open and end a turn")
    for source in (None, build(tmp_path / "src")):
        found = checked(tmp_path, recipe, source)
        assert [p.where for p in found] == ["add[2].text", "protocol.turn_end"]
        assert tuple(p.what for p in found) == wanted
        assert found[0].suggestion == "it stands in add[0]"


def test_what_is_no_toml_is_one_problem_with_its_line(tmp_path: Path) -> None:
    (problem,) = checked(tmp_path, "x = 1\nx = 2\n")
    assert "is not TOML" in problem.what
    assert "line 3" in problem.suggestion


FOLDERS = {
    "tokenizers": ("gpt2", "minimind", "roberta", "qwen3-30b-a3b-base"),
    "edge": ("qwen2-boundless-crlf", "qwen3-bitdance", "qwen3-pilot-tts"),
    "models": ("stories260K",),
}


@pytest.mark.parametrize("name", ["minimind", "stories260K", "qwen3-pilot-tts"])
def test_recipes_that_are_written_pass(name: str, data: Path, tmp_path: Path) -> None:
    presets_pass(name, data, tmp_path)


def presets_pass(name: str, data: Path, home: Path) -> None:
    """Each preset alone: it passes `recipe check`, which plans; or its comment says why it is empty."""
    kind = next(kind for kind, names in FOLDERS.items() if name in names)
    source = data / kind / name
    for preset in PRESETS:
        text = new_recipe(str(source), [preset])
        wish, _ = parse_recipe(text)
        (home / "recipe.toml").write_text(text, encoding="utf-8")
        assert check_recipe(home / "recipe.toml", str(source)) == (), (name, preset)
        if not any(getattr(wish, section) for section in SECTIONS):
            comments = [line for line in text.splitlines() if line.startswith("#")]
            why = ("no chat template", "cannot be lengthened", "scaled already")
            assert any(reason in line for line in comments for reason in why), text


def test_a_recipe_for_a_folder_that_cannot_be_planned_says_why(data: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copyfile(data / "tokenizers" / "qwen3-8b" / "config.json", bare / "config.json")
    text = new_recipe(str(bare), ["pad"])
    assert "# Nothing can be planned before this is mended: the folder has no tokenizer." in text
    (problem,) = checked(tmp_path, text.replace("version = 1\n", "", 1), bare)
    assert problem.what == "the folder has no tokenizer"
    torn = data / "edge" / "ort-added-tokens"
    text = new_recipe(str(torn), ["pad"])
    assert "mended: the tokenizer's files contradict each other" in text
    with pytest.raises(ConflictingFiles):
        checked(tmp_path, text.replace("version = 1\n", "", 1), torn)
