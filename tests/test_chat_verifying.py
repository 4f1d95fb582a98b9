"""`verify` renders what a recipe's chat sections are about, and fails where it does not hold."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chat_templates import shipped
from tiny import build
from tokengraft.flow import making
from tokengraft.results import Check
from tokengraft.verifying import verify
from tokengraft.verifying.chats import check_chats
from tokengraft.verifying.chats_witness import ask_about_chats
from tokengraft.verifying.records import read_graft

RECIPE = """version = 1
[roles]
my_agi_mode = "<|my_agi_mode|>"
planner = { token = "<|planner|>", side = "output" }
[tools]
open = "<tool_start>"
close = "</tool_end>"
[thinking]
modules = ["<|recursion|>", "<|think|>"]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chats")
    files = {"tokenizer_config.json": {"chat_template": shipped()}}
    base = build(folder / "base", files=files, shards=0)
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    making.apply(folder / "recipe.toml", base=str(base), out=folder / "out")
    return folder / "out"


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(made, tmp_path / "out"))


def edit_template(out: Path, edit: Callable[[str], str]) -> None:
    place = out / "chat_template.jinja"
    text = edit(place.read_text(encoding="utf-8"))
    place.write_text(text, encoding="utf-8")
    edit_config(out, "chat_template", text)


def edit_config(out: Path, key: str, value: object) -> None:
    place = out / "tokenizer_config.json"
    document = json.loads(place.read_bytes())
    document[key] = value
    place.write_text(json.dumps(document), encoding="utf-8")


def checked(out: Path) -> Check:
    (check,) = check_chats(read_graft(out))
    return check


def test_the_new_turns_are_rendered_and_marked(made: Path) -> None:
    check = checked(made)
    assert (check.name, check.status) == ("chat-template", "pass")
    assert "a turn of my_agi_mode, a turn of planner, thoughts, calls of tools" in check.evidence
    assert "chat-template" in [c.name for c in verify(made).checks if c.status == "pass"]


def test_a_recipe_without_chats_is_not_asked(tmp_path: Path) -> None:
    base = build(tmp_path / "base", shards=0)
    (tmp_path / "recipe.toml").write_text(
        'version = 1\n[[add]]\ntext = "<|x|>"\n', encoding="utf-8"
    )
    making.apply(tmp_path / "recipe.toml", base=str(base), out=tmp_path / "out")
    assert [] == list(check_chats(read_graft(tmp_path / "out")))
    assert [] == list(ask_about_chats(read_graft(tmp_path / "out")))


DEFECTS: dict[str, tuple[Callable[[str], str], str]] = {
    "the old template": (
        lambda _: shipped(),
        "a turn of my_agi_mode: '<|my_agi_mode|>' is not written",
    ),
    "one that raises": (
        lambda text: "{{ raise_exception('no') }}" + text,
        "a turn of my_agi_mode: line 1",
    ),
    "no marks": (
        lambda text: text.replace("{% generation %}", "").replace("{% endgeneration %}", ""),
        "a turn of planner: nothing is marked as said by the model",
    ),
    "marks around less": (
        lambda text: text.replace(
            "{% generation %}{{ graft_said + ", "{{ graft_said }}{% generation %}{{ "
        ),
        "a turn of planner: '<|planner|>' is not marked as said",
    ),
    "another prompt": (
        lambda text: text.replace(
            "{{- '<|im_start|>assistant\\n' }}\n    {%- if enable", "{{- 'x' }}{%- if enable"
        ),
        "a turn of planner: the turn does not continue the generation prompt",
    ),
    "old calls": (
        lambda text: text.replace('<tool_start>\\n{"name": "\'', '<tool_call>\\n{"name": "\''),
        "calls of tools: '<tool_start>' is not marked as said",
    ),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_template_that_does_not_hold_fails(name: str, out: Path) -> None:
    edit, evidence = DEFECTS[name]
    before = (out / "chat_template.jinja").read_text(encoding="utf-8")
    edit_template(out, edit)
    assert before != (out / "chat_template.jinja").read_text(encoding="utf-8")
    check = checked(out)
    assert check.status == "fail"
    assert check.evidence.startswith(evidence)


def test_no_template_fails(out: Path) -> None:
    (out / "chat_template.jinja").unlink()
    edit_config(out, "chat_template", None)
    assert ("fail", "the folder has no chat template") == (
        checked(out).status,
        checked(out).evidence,
    )


def test_a_template_for_no_talk_of_the_recipe_fails(out: Path) -> None:
    template = (out / "chat_template.jinja").read_text(encoding="utf-8")
    (out / "chat_template.jinja").unlink()
    edit_config(out, "chat_template", [{"name": "rag", "template": template}])
    assert checked(out).status == "fail"
    (asked,) = ask_about_chats(read_graft(out))
    assert asked.status == "skipped"


# ── transformers ─────────────────────────────────────────────────────────────────────────────────


def asked(out: Path, python: Path) -> Check:
    (check,) = ask_about_chats(read_graft(out), python=str(python))
    return check


@pytest.mark.oracle5
def test_transformers_5_reads_everything_back(made: Path, tf5: Path) -> None:
    check = asked(made, tf5)
    assert check.status == "pass", check.evidence
    assert check.evidence.endswith("3 turns of the model are marked, and read back as they were")


@pytest.mark.oracle4
def test_transformers_4_renders_and_marks(made: Path, tf4: Path) -> None:
    check = asked(made, tf4)
    assert check.status == "pass", check.evidence
    assert "it is too old to read them back" in check.evidence


@pytest.mark.oracle5
def test_a_reading_that_loses_something_fails(out: Path, tf5: Path) -> None:
    place = out / "tokenizer_config.json"
    reading = json.loads(place.read_bytes())["response_template"]
    del reading["fields"]["role"]
    edit_config(out, "response_template", reading)
    check = asked(out, tf5)
    assert check.status == "fail"
    assert "reads a turn of planner back as" in check.evidence


def test_a_template_that_does_not_hold_is_not_shown_to_transformers(out: Path) -> None:
    edit_template(out, lambda _: shipped())
    check = asked(out, Path(sys.executable).with_name("no-such-python"))
    assert (check.status, check.evidence.partition(";")[2]) == ("skipped", " see chat-template")
