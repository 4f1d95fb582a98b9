"""Usage errors, help and progress of the command line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

import tokengraft
from fake_flow import (
    BY_KIND,
    Flow,
    ask,
    furnish,
    install,
    name_of,
    python,
)
from tokengraft import errors, events, findings
from tokengraft.cli import options, progress, table, terminal
from tokengraft.reporting import schemas


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> Flow:
    return install(monkeypatch)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return furnish(tmp_path, monkeypatch)


# ── usage ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit",),
        ("audit", "base", "--goal", "fame"),
        ("audit", "base", "--nonsense"),
        ("audit", "base", "more"),
        ("verify", "out", "--before", "other"),
        ("audit", "base", "--format", "sarif", "--json"),
        ("apply", "plan.json"),
        ("apply", "missing.json", "-o", "out"),
        ("recipe",),
        ("recipe", "bake"),
        ("nonsense",),
        (),
        *((name,) for name in table.LATER),
        *((name, "OUT", "--whatever") for name in table.LATER),
    ],
    ids=name_of,
)
def test_usage_errors_are_2_and_json_where_json_is_asked_for(
    arguments: tuple[str, ...], flow: Flow, here: Path
) -> None:
    people = ask(*arguments)
    assert people.exit_code == 2, people.output
    assert people.stdout == "" or "--json" in arguments
    program = ask(*arguments, "--json")
    assert program.exit_code == 2
    document = json.loads(program.stdout)
    jsonschema.validate(document, schemas.schema(BY_KIND["error"]))
    assert document["summary"]
    assert document["hint"]


@pytest.mark.parametrize("name", table.LATER)
def test_what_is_promised_says_what_does_it_now(name: str) -> None:
    result = ask(name, "OUT")
    assert " yet\n" in result.stderr
    assert "try: " in result.stderr
    assert name not in ask("--help").stdout.split("Commands:")[1].split()


def test_a_misspelt_command_is_guessed() -> None:
    assert "try: tokengraft verify" in ask("verfy", "out").stderr


def test_json_as_format_makes_errors_json_too(flow: Flow, here: Path) -> None:
    flow.answers["audit"] = errors.MalformedFile("no")
    assert json.loads(ask("audit", "base", "--format", "json").stdout)["code"] == "MalformedFile"
    assert json.loads(ask("audit", "base", "--format=json").stdout)["code"] == "MalformedFile"


def test_the_version_is_told() -> None:
    assert ask("--version").stdout == f"tokengraft {tokengraft.__version__}\n"
    document = json.loads(ask("--version", "--json").stdout)
    jsonschema.validate(document, schemas.schema(BY_KIND["version"]))


def _every_command() -> Iterator[tuple[str, ...]]:
    for name in table.COMMANDS:
        yield (name,)
    for name in ("new", "check", "schema"):
        yield ("recipe", name)


@pytest.mark.parametrize("names", [*_every_command()], ids=name_of)
def test_every_command_has_help_and_the_common_options(names: tuple[str, ...]) -> None:
    result = ask(*names, "--help")
    assert result.exit_code == 0
    if names != ("recipe",):
        for option in ("--json", "--quiet", "--color", "--lang"):
            assert option in result.stdout
    place = table.COMMANDS[names[0]]
    assert place.help.endswith((".", "?"))


def test_the_table_of_help_imports_no_command() -> None:
    code = (
        "import sys\n"
        "from tokengraft.cli.app import app\n"
        "try:\n    app.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'pydantic', 'numpy', 'rich', 'tokenizers', 'huggingface_hub', 'safetensors'}\n"
        "loaded = {m for m in sys.modules if m.startswith('tokengraft.cli.commands')}\n"
        "assert not loaded and not heavy & set(sys.modules), (loaded, heavy & set(sys.modules))\n"
    )
    ran = python(code, Path.cwd())
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("names", [*_every_command()], ids=name_of)
def test_help_of_a_command_imports_nothing_heavy(names: tuple[str, ...], here: Path) -> None:
    code = (
        "import sys\n"
        "from tokengraft.cli.app import app\n"
        f"try:\n    app.main([*{names!r}, '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'pydantic', 'numpy', 'rich', 'tokenizers', 'huggingface_hub', 'safetensors'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    ran = python(code, here)
    assert ran.returncode == 0, ran.stderr


def test_goals_spelled_out_are_the_goals() -> None:
    assert findings.GOALS == options.GOALS
    assert set(options.PRESETS) == set(findings.GOALS) - {"inference", "lora"}


# ── progress ─────────────────────────────────────────────────────────────────────────────────────


def test_a_log_gets_a_line_for_each_step_and_one_every_half_minute() -> None:
    said: list[str] = []
    now = [0.0]
    listen = progress.LineListener(said.append, lambda: now[0])
    listen(events.Started("apply", "out", 2_000_000))
    for second in range(65):
        now[0] = float(second)
        listen(events.Progress("apply", "a\x1b", second * 1000, 2_000_000))
    listen(events.Done("apply"))
    listen(events.Started("check"))
    assert said == [
        "apply: out (2.0 MB)\n",
        "apply: a\\x1b 30 kB of 2.0 MB\n",
        "apply: a\\x1b 60 kB of 2.0 MB\n",
        "check\n",
    ]


def test_a_terminal_gets_a_bar_with_amount_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with progress.listening(quiet=False, color="never") as listen:
        listen(events.Started("apply", "[/INST]\x1b[2J", 10_000_000))
        for done in range(0, 10_000_001, 2_500_000):
            listen(events.Progress("apply", "[/INST]\x1b[2J", done, 10_000_000))
            time.sleep(0.12)
        listen(events.Note("apply", "[bold]a note\u202e"))
        listen(events.Progress("plan", "tokens", 3, 0, "tokens"))
        listen(events.Done("apply"))
    shown = stream.getvalue()
    assert "apply: [/INST]\\x1b[2J" in shown
    assert "/ 10 MB" in shown
    assert "B/s" in shown
    assert "apply: [bold]a note\\u202e" in shown
    assert "\u202e" not in shown


def test_quiet_means_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.listening(quiet=True, color="auto") as listen:
        listen(events.Started("apply", "out"))
    assert capsys.readouterr().err == ""


def test_a_closed_stream_is_no_terminal() -> None:
    import io

    stream = io.StringIO()
    stream.close()
    assert not terminal.is_terminal(stream)
