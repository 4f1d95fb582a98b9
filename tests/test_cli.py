"""The command line: streams, exit codes, and what commands ask of the flow."""

from __future__ import annotations

import email.message
import json
import shlex
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

import samples
from fake_flow import (
    BY_KIND,
    COMMANDS,
    FAKE,
    PLANNED,
    Flow,
    ask,
    furnish,
    install,
    name_of,
    python,
)
from tokengraft import events
from tokengraft.cli import next_commands, table
from tokengraft.cli.app import app
from tokengraft.reporting import schemas


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> Flow:
    return install(monkeypatch)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return furnish(tmp_path, monkeypatch)


# ── streams ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("arguments", COMMANDS, ids=name_of)
def test_json_is_one_document_of_its_schema(
    arguments: tuple[str, ...], flow: Flow, here: Path
) -> None:
    result = ask(*arguments, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    kind = COMMANDS[arguments]
    assert document["schema"] == f"tokengraft/{kind}"
    jsonschema.validate(document, schemas.schema(BY_KIND[kind]))


def test_one_process_of_a_launch_tells_what_a_training_needs(flow: Flow, here: Path) -> None:
    asked = ("train", "base", "recipe.toml", "--estimate")
    assert ask(*asked).stdout
    flow.answers["is_follower"] = True
    result = ask(*asked)
    assert (result.exit_code, result.output) == (0, "")


@pytest.mark.parametrize("arguments", COMMANDS, ids=name_of)
def test_the_common_options_stand_anywhere(
    arguments: tuple[str, ...], flow: Flow, here: Path
) -> None:
    wanted = ("--json", "-q", "--color", "never", "--lang", "ru")
    after = ask(*arguments, *wanted)
    assert after.exit_code == 0, after.output
    assert after.stderr == ""
    for path in (here / "new.toml",):
        path.unlink(missing_ok=True)
    before = ask(*wanted, *arguments)
    assert before.exit_code == 0, before.output
    assert json.loads(after.stdout).keys() == json.loads(before.stdout).keys()


@pytest.mark.parametrize("arguments", COMMANDS, ids=name_of)
def test_a_view_for_people_ends_with_a_command_of_ours(
    arguments: tuple[str, ...], flow: Flow, here: Path
) -> None:
    result = ask(*arguments)
    assert result.exit_code == 0, result.output
    if arguments == ("recipe", "new", "base"):
        assert result.stdout == "version = 1\n"  # to be redirected: the recipe and nothing else
        return
    *_, heading, command = result.stdout.splitlines()
    assert heading == "Next"
    program, name, *rest = shlex.split(command)
    assert program == "tokengraft"
    assert name in table.COMMANDS
    made = app.get_command(click.Context(app), name)
    assert made is not None
    if not isinstance(made, click.Group):
        made.make_context(name, rest, resilient_parsing=True)


def test_progress_and_notes_go_to_stderr(flow: Flow, here: Path) -> None:
    def audit(source: str, *, goal: Any, deep: bool, listen: events.Listen) -> Any:
        listen(events.Started("read", f"{source}\x1b[2J", 1000))
        listen(events.Note("read", "slow disk"))
        listen(events.Done("read"))
        return samples.AUDIT

    flow.answers["audit"] = audit
    result = ask("audit", "base", "--json")
    assert result.stderr == "read: base\\x1b[2J (1.0 kB)\nread: slow disk\n"
    json.loads(result.stdout)
    assert ask("audit", "base", "-q").stderr == ""


def test_next_commands_can_be_pasted(flow: Flow, here: Path) -> None:
    odd = "a b'; rm -rf $HOME #"
    Path(odd).write_text("version = 1\n", encoding="utf-8")
    last = ask("plan", "hf://org/name@v1", odd, "--set", "pad.token=a b").stdout.splitlines()[-1]
    assert shlex.split(last) == [
        *("tokengraft", "apply", odd, "--base", "hf://org/name@v1"),
        *("--set", "pad.token=a b", "-o", "name-grafted"),
    ]


def test_the_base_is_taken_from_the_plan_or_its_recipe() -> None:
    plan = samples.PLAN.model_copy(update={"base_name": "", "recipe": 'base = "org/a"\n'})
    assert next_commands.base_of(samples.PLAN) == "Qwen/Qwen3-30B-A3B-Base"
    assert next_commands.base_of(plan) == "org/a"
    assert next_commands.base_of(plan.model_copy(update={"recipe": "= broken"})) is None


def test_a_proposed_folder_is_one_that_is_not_there(here: Path) -> None:
    Path("base-grafted").mkdir()
    assert next_commands.beside("some/base/") == "base-grafted-2"
    assert next_commands.beside(None) == "model-grafted"
    assert next_commands.beside(".") == "model-grafted"


def test_an_unencodable_stdout_gets_escapes_and_ascii_signs(here: Path) -> None:
    ran = python(
        FAKE + "answers['verify'] = samples.VERIFIED\ngo('verify', 'x', '--lang', 'ru')",
        here,
        PYTHONIOENCODING="ascii",
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.isascii()
    assert "  +  " in ran.stdout
    data = python(FAKE + "go('tokens', 'base', 'x', '--json')", here, PYTHONIOENCODING="ascii")
    assert json.loads(data.stdout)["pieces"][1]["token"] == "Ċ"


def test_colour_follows_option_then_environment_then_terminal(
    monkeypatch: pytest.MonkeyPatch, flow: Flow, here: Path
) -> None:
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b[" not in ask("verify", "out").stdout
    assert "\x1b[" in ask("verify", "out", "--color", "always").stdout
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in ask("verify", "out").stdout
    assert "\x1b[" not in ask("verify", "out", "--color", "never").stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in ask("verify", "out").stdout


def test_the_language_can_be_a_habit(
    monkeypatch: pytest.MonkeyPatch, flow: Flow, here: Path
) -> None:
    monkeypatch.setenv("TOKENGRAFT_LANG", "ru")
    assert ask("verify", "out").stdout.startswith("ПРОВЕРЕНО")
    assert ask("verify", "out", "--lang", "en").stdout.startswith("VERIFIED")


# ── what commands ask of the flow ────────────────────────────────────────────────────────────────


def test_settings_reach_the_flow(flow: Flow, here: Path) -> None:
    given = ("--base", "b", "--copy", "link", "--replace", "--set", "a.b=1", "--set", "c=2")
    for name, file in (("apply", "plan.json"), ("run", "recipe.toml")):
        assert ask(name, file, "-o", "out", *given).exit_code == 0
        asked = flow.asked(name)
        assert asked.pop("listen")
        assert asked.pop("language", "en") == "en"
        assert asked == {
            "base": "b",
            "out": Path("out"),
            "copy": "link",
            "replace": True,
            "overrides": ("a.b=1", "c=2"),
        }
    assert (
        ask("verify", "out", "--against", "b", "--deep", "--with", "a,b", "--with", "c").exit_code
        == 0
    )
    asked = flow.asked("verify")
    assert (asked["against"], asked["deep"], asked["witnesses"]) == ("b", True, ("a", "b", "c"))
    flow.calls.clear()
    asked_more = ("--behaviour", "suite.jsonl", "--before", "older", "-o", "behaviour.json")
    assert ask("verify", "out", *asked_more).exit_code == 0
    asked = flow.asked("verify")
    told = (asked["behaviour"], asked["before"], asked["record"])
    assert told == ("suite.jsonl", "older", Path("behaviour.json"))
    assert ask("audit", "base", "--goal", "roles", "--fail-on", "never").exit_code == 0
    assert flow.asked("audit")["goal"] == "roles"


def test_a_plan_is_written_only_where_asked(flow: Flow, here: Path) -> None:
    assert ask("plan", "base", "recipe.toml").exit_code == 0
    assert "write_plan" not in [name for name, _, _ in flow.calls]
    assert ask("plan", "base", "recipe.toml", "-o", "p.json").exit_code == 0
    assert ("write_plan", (PLANNED, Path("p.json")), {}) in flow.calls


def test_a_receipt_says_how_long_it_took_and_what_is_undone(flow: Flow, here: Path) -> None:
    document = json.loads(ask("apply", "plan.json", "-o", "out", "--json").stdout)
    assert document["undone"] == ["[train] is left"]
    assert document["seconds"] >= 0
    assert "! [train] is left" in ask("apply", "plan.json", "-o", "out").stdout


def test_recipes_are_never_overwritten(flow: Flow, here: Path) -> None:
    for command in (("recipe", "new", "base", "-o"), ("audit", "base", "--write-recipe")):
        result = ask(*command, "recipe.toml", "--json")
        assert result.exit_code == 4
        assert json.loads(result.stdout)["code"] == "TargetExists"
    assert Path("recipe.toml").read_text("utf-8") == "version = 1\n"
    assert ask("recipe", "new", "base", "-o", "no/such/folder.toml").exit_code == 5


def test_audit_writes_a_recipe_of_its_fixes(flow: Flow, here: Path) -> None:
    result = ask("audit", "my base", "--write-recipe", "fix.toml")
    assert result.exit_code == 1
    assert result.stdout.endswith("Next\n  tokengraft plan 'my base' fix.toml\n")
    text = Path("fix.toml").read_text("utf-8")
    assert 'base = "my base"' in text
    assert "[stop]" in text


@pytest.mark.parametrize("form", ["sarif", "github"])
def test_audit_speaks_to_code_scanning(form: str, flow: Flow, here: Path) -> None:
    result = ask("audit", "base", "--format", form)
    assert result.exit_code == 1
    if form == "sarif":
        assert json.loads(result.stdout)["runs"][0]["results"]
    else:
        assert result.stdout.startswith("::error file=")


def test_rules_in_sarif_lead_to_the_documentation_that_the_package_names(
    flow: Flow, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def address() -> object:
        log = json.loads(ask("audit", "base", "--format", "sarif").stdout)
        return log["runs"][0]["tool"]["driver"]["rules"][0].get("helpUri")

    installed = email.message.Message()
    monkeypatch.setattr("importlib.metadata.metadata", lambda _: installed)
    assert address() is None
    installed["Project-URL"] = "Source, https://example.org"
    installed["Project-URL"] = "Documentation, https://example.org/docs"
    assert address() == "https://example.org/docs/reference/rules/T101.md"


def test_a_text_can_come_from_stdin(flow: Flow, here: Path) -> None:
    assert ask("tokens", "base", "-", given="привет\r\n").exit_code == 0
    assert flow.calls[-1][1][:2] == ("base", "привет\r\n")


def test_the_schema_of_recipes_is_data(flow: Flow, here: Path) -> None:
    assert json.loads(ask("recipe", "schema").stdout)["type"] == "object"


def test_the_demo_tells_chapter_by_chapter(flow: Flow, here: Path) -> None:
    result = ask("demo", "-o", "demo")
    assert "1. Look\n$ tokengraft audit base\n\nVERDICT" in result.stdout
    assert "2. Wish\n$ cat recipe.toml\n\nversion = 1\n" in result.stdout
    document = json.loads(ask("demo", "-o", "demo", "--json").stdout)
    assert [chapter["title"] for chapter in document["chapters"]] == ["Look", "Wish"]
    assert document["chapters"][0]["answer"]["schema"] == "tokengraft/audit"
