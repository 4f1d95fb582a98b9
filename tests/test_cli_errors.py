"""What the command line says, and with which code it ends, when something goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

import samples
from fake_flow import (
    BY_KIND,
    FAKE,
    PLANNED,
    STORY,
    Flow,
    ask,
    environ,
    furnish,
    install,
)
from tokengraft import errors
from tokengraft.answers import Problems
from tokengraft.documents import Problem
from tokengraft.reporting import schemas


@pytest.fixture
def flow(monkeypatch: pytest.MonkeyPatch) -> Flow:
    return install(monkeypatch)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return furnish(tmp_path, monkeypatch)


# ── exit codes ───────────────────────────────────────────────────────────────────────────────────


def test_audit_fails_on_what_it_is_told_to_fail_on(flow: Flow, here: Path) -> None:
    warning = samples.AUDIT.model_copy(update={"findings": samples.FINDINGS[1:]})
    assert ask("audit", "base").exit_code == 1
    assert ask("audit", "base", "--fail-on", "never").exit_code == 0
    flow.answers["audit"] = warning
    assert ask("audit", "base").exit_code == 0
    assert ask("audit", "base", "--fail-on", "warning").exit_code == 1


def test_plan_has_an_exit_code_for_scripts(flow: Flow, here: Path) -> None:
    assert ask("plan", "base", "recipe.toml").exit_code == 0
    assert ask("plan", "base", "recipe.toml", "--exit-code").exit_code == 1
    flow.answers["make_plan"] = SimpleNamespace(**{**vars(PLANNED), "plan": samples.NOTHING})
    result = ask("plan", "base", "recipe.toml", "--exit-code")
    assert result.exit_code == 0
    assert result.stdout.startswith("nothing to change\n")


@pytest.mark.parametrize("command", [("verify", "out"), ("run", "recipe.toml", "-o", "out")])
def test_only_a_failed_check_makes_the_answer_no(
    command: tuple[str, ...], flow: Flow, here: Path
) -> None:
    assert ask(*command).exit_code == 0
    flow.answers["verify"] = samples.REFUTED
    flow.answers["run"] = SimpleNamespace(**{**vars(STORY), "verification": samples.REFUTED})
    assert ask(*command).exit_code == 1


def test_a_recipe_with_problems_is_a_usage_error(flow: Flow, here: Path) -> None:
    flow.answers["check_recipe"] = (Problem(where="pad.tokn", what="unknown key"),)
    result = ask("recipe", "check", "recipe.toml", "--json")
    assert result.exit_code == 2
    assert Problems.from_dict(json.loads(result.stdout)).problems[0].where == "pad.tokn"


def _kinds(base: type[errors.TokengraftError]) -> Iterator[type[errors.TokengraftError]]:
    yield base
    for kind in base.__subclasses__():
        yield from _kinds(kind)


EXIT_CODES = {
    errors.UsageError: 2,
    errors.RefusedError: 3,
    errors.PreconditionError: 4,
    errors.EnvironmentProblem: 5,
    errors.Interrupted: 130,
}


@pytest.mark.parametrize(
    "kind", sorted(set(_kinds(errors.TokengraftError)), key=lambda k: k.__name__)
)
def test_every_error_has_the_exit_code_of_its_kind(
    kind: type[errors.TokengraftError], flow: Flow, here: Path
) -> None:
    expected = next((code for base, code in EXIT_CODES.items() if issubclass(kind, base)), 70)
    flow.answers["diff"] = kind("it broke", detail="one\ntwo", subject="a\x1b[2J", hint="try it")
    people = ask("diff", "a", "b")
    assert people.exit_code == expected
    assert people.stdout == ""
    program = ask("diff", "a", "b", "--json")
    assert program.exit_code == expected
    document = json.loads(program.stdout)
    jsonschema.validate(document, schemas.schema(BY_KIND["error"]))
    if expected != 130:
        assert people.stderr == (
            "error: it broke\n  where: a\\x1b[2J\n  why: one\n    two\n  try: try it\n"
        )
        assert document["code"] == kind.__name__
        assert document["detail"] == "one\ntwo"


def test_notes_of_an_error_are_told(flow: Flow, here: Path) -> None:
    problem = errors.MalformedFile("not JSON", subject="config.json")
    problem.add_note("while reading base")
    flow.answers["diff"] = problem
    assert "why: while reading base" in ask("diff", "a", "b").stderr


@pytest.mark.parametrize(
    ("problem", "code", "exit_code"),
    [
        (OSError(28, "No space left on device", "out/x"), "DiskFull", 5),
        (PermissionError(13, "Permission denied", "out"), "PermissionDenied", 5),
        (MemoryError(), "OutOfMemory", 5),
        (BrokenPipeError(32, "Broken pipe"), "BrokenPipe", 5),
        (FileNotFoundError(2, "No such file", "x"), "Bug", 70),
        (AssertionError("rows"), "Bug", 70),
        (EOFError(), "Bug", 70),
    ],
)
def test_what_nobody_foresaw_has_an_exit_code_too(
    problem: BaseException, code: str, exit_code: int, flow: Flow, here: Path
) -> None:
    flow.answers["diff"] = problem
    result = ask("diff", "a", "b", "--json")
    assert result.exit_code == exit_code
    assert json.loads(result.stdout)["code"] == code


def test_a_bug_of_ours_comes_with_its_traceback(flow: Flow, here: Path) -> None:
    class Panic(BaseException):
        """As Rust libraries raise it: no Exception."""

    flow.answers["diff"] = Panic("index out of \x1b[2J")
    result = ask("diff", "a", "b")
    assert result.exit_code == 70
    assert result.stderr.startswith("Traceback")
    assert "a bug of ours, please report" in result.stderr
    assert "\x1b" not in result.stderr


# ── interruptions ────────────────────────────────────────────────────────────────────────────────


def test_an_interruption_says_that_nothing_was_published(flow: Flow, here: Path) -> None:
    flow.answers["apply"] = KeyboardInterrupt()
    result = ask("apply", "plan.json", "-o", "out", "--json")
    assert result.exit_code == 130
    assert json.loads(result.stdout)["detail"] == "nothing was published"
    russian = ask("apply", "plan.json", "-o", "out", "--lang", "ru")
    assert "ничего не опубликовано" in russian.stderr


def test_an_interruption_after_publication_does_not_deny_it(flow: Flow, here: Path) -> None:
    def run(recipe: Path, *, out: Path, **settings: Any) -> None:
        out.mkdir()
        raise KeyboardInterrupt

    flow.answers["run"] = run
    result = ask("run", "recipe.toml", "-o", "a result")
    assert result.exit_code == 130
    assert "already been published" in result.stderr
    assert "tokengraft verify 'a result'" in result.stderr
    again = ask("undo", "out", "-o", "base", "--json")
    assert again.exit_code == 0


def test_what_stood_there_before_is_not_called_published(flow: Flow, here: Path) -> None:
    flow.answers["apply"] = KeyboardInterrupt()
    assert "nothing was published" in ask("apply", "plan.json", "-o", "base").stderr


def test_sigterm_unwinds_like_ctrl_c(here: Path) -> None:
    code = FAKE + (
        "import time\n"
        "def apply(*a, **k):\n"
        "    try:\n"
        "        print('there', file=sys.stderr, flush=True)\n"
        "        time.sleep(60)\n"
        "    finally:\n        print('cleaned', file=sys.stderr)\n"
        "answers['apply'] = apply\n"
        "go('apply', 'plan.json', '-o', 'out')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=here, env=environ(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while process.stderr.readline() != "there\n":
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "cleaned" in said
    assert "nothing was published" in said


@pytest.mark.parametrize("form", [("--json",), ()])
def test_a_reader_that_goes_away_does_not_change_the_answer(
    form: tuple[str, ...], here: Path
) -> None:
    read, write = os.pipe()
    os.close(read)
    code = FAKE + f"go('audit', 'base', *{form!r})"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=here,
        env=environ(),
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert ran.returncode == 1, ran.stderr
    assert ran.stderr == ""
