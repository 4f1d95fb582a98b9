"""What an audit may be pointed at: folders, files, nothing, pointers of Git LFS, folders of a repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import tiny
from tokengraft.cli.app import app
from tokengraft.errors import MalformedFile, RecipeError, UsageError
from tokengraft.flow import making, recipes

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def test_a_file_is_answered_with_its_folder(tmp_path: Path) -> None:
    folder = tiny.build(tmp_path / "my model")
    with pytest.raises(UsageError, match="is a file") as raised:
        making.audit(str(folder / "config.json"))
    assert f"'{folder}'" in raised.value.hint


@pytest.mark.parametrize("source", ["", "  "])
def test_an_empty_source_is_not_the_current_folder(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.build(tmp_path / "a"))
    with pytest.raises(UsageError, match="empty"):
        making.audit(source)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "merges.txt"])
def test_a_pointer_of_git_lfs_is_called_by_its_name(name: str, tmp_path: Path) -> None:
    folder = tiny.build(tmp_path / "a", legacy=True)
    (folder / name).write_text(POINTER)
    with pytest.raises(MalformedFile, match="pointer of Git LFS") as raised:
        making.audit(str(folder))
    assert (name, True) == (raised.value.subject, raised.value.hint.startswith("git lfs pull"))


@pytest.mark.parametrize("preset", recipes.PRESETS)
def test_every_preset_is_written_for_a_folder_without_a_tokenizer(
    preset: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    assert recipes.new_recipe(str(tmp_path), [preset]).startswith("version = 1\n")


def test_no_plan_is_made_where_no_file_lists_tokens(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('version = 1\n[[add]]\ntext = "<|a|>"\nuse = "role"\n')
    with pytest.raises(RecipeError, match="lists no tokens"):
        making.make_plan(str(base), recipe)


def test_annotations_name_files_below_the_folder_where_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.build(tmp_path / "models" / "base", base=True)
    monkeypatch.chdir(tmp_path)
    for source in ("models/base", str(tmp_path / "models" / "base")):
        told = CliRunner().invoke(app, ["audit", source, "--format", "github", "-q"]).stdout
        assert "::error file=models/base/generation_config.json,title=R301 " in told
    monkeypatch.chdir(tmp_path / "models" / "base")
    told = CliRunner().invoke(app, ["audit", ".", "--format", "github", "-q"]).stdout
    assert "::error file=generation_config.json,title=R301 " in told
