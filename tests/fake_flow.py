"""A `flow` that answers at once, and the ways in which tests ask the command line."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

import samples
import tokengraft
from tokengraft.cli.app import app
from tokengraft.reporting import schemas

PAGE = SimpleNamespace(
    code="T101", title="files agree", severity="error", sections={"What it checks": "Every file."}
)
PLANNED = SimpleNamespace(
    plan=samples.PLAN, source="base", checkpoint=SimpleNamespace(tokenizer=None)
)
APPLIED = SimpleNamespace(receipt=samples.RECEIPT, plan=samples.PLAN, undone=("[train] is left",))
STORY = SimpleNamespace(
    source="base",
    audit=samples.AUDIT,
    planned=PLANNED,
    applied=APPLIED,
    verification=samples.VERIFIED,
    resumed=(),
    reports=(),
    trained=None,
    serve=("transformers serve out",),
)
CHAPTERS = (
    SimpleNamespace(title="Look", command="tokengraft audit base", value=samples.AUDIT),
    SimpleNamespace(title="Wish", command="cat recipe.toml", value="version = 1\n"),
)
ANSWERS: dict[str, Any] = {
    "audit": samples.AUDIT,
    "explain": PAGE,
    "rules": (PAGE,),
    "make_plan": PLANNED,
    "write_plan": (),
    "apply": APPLIED,
    "dry_run": PLANNED,
    "verify": samples.VERIFIED,
    "undo": samples.RECEIPT,
    "report": samples.REPORT,
    "ReportRequest": None,
    "run": STORY,
    "demo": CHAPTERS,
    "follow": False,
    "is_follower": False,
    "train": None,
    "told": samples.TRAINING,
    "estimate": samples.ESTIMATE,
    "diff": samples.DIFF,
    "tokens": samples.CUT,
    "doctor": samples.DOCTOR,
    "new_recipe": "version = 1\n",
    "preset_section": '[pad]\ntoken = "auto"\n',
    "check_recipe": (),
    "recipe_schema": {"$schema": schemas.DIALECT, "type": "object"},
    "show": samples.PLAN,
}


@dataclass
class Flow:
    """What commands call instead of the real thing: answers, and how they were asked."""

    answers: dict[str, Any] = field(default_factory=lambda: dict(ANSWERS))
    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)

    def module(self) -> ModuleType:
        module = ModuleType("tokengraft.flow")
        for name in self.answers:
            setattr(module, name, self._function(name))
        return module

    def _function(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **settings: Any) -> Any:
            self.calls.append((name, arguments, settings))
            answer = self.answers[name]
            if isinstance(answer, BaseException):
                raise answer
            return answer(*arguments, **settings) if inspect.isfunction(answer) else answer

        return call

    def asked(self, name: str) -> dict[str, Any]:
        return next(settings for called, _, settings in self.calls if called == name)


def install(monkeypatch: pytest.MonkeyPatch) -> Flow:
    """Put a fake in the place of `tokengraft.flow`."""
    fake = Flow()
    module = fake.module()
    monkeypatch.setitem(sys.modules, "tokengraft.flow", module)
    monkeypatch.setattr(tokengraft, "flow", module, raising=False)
    return fake


def furnish(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a working folder with a recipe, a plan and a base."""
    monkeypatch.chdir(folder)
    Path("recipe.toml").write_text("version = 1\n", encoding="utf-8")
    Path("plan.json").write_text(samples.PLAN.to_json(), encoding="utf-8")
    Path("base").mkdir()
    return folder


def ask(*arguments: str, given: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=given)


# Every command that answers, and the kind of document that it answers with.
COMMANDS: dict[tuple[str, ...], str] = {
    ("audit", "base", "--fail-on", "never"): "audit",
    ("recipe", "new", "base"): "recipe-text",
    ("recipe", "new", "base", "-o", "new.toml"): "recipe-text",
    ("recipe", "check", "recipe.toml"): "problems",
    ("plan", "base", "recipe.toml"): "plan",
    ("plan", "base", "recipe.toml", "-o", "p.json"): "plan",
    ("apply", "plan.json", "-o", "out"): "receipt",
    ("apply", "plan.json", "-o", "out", "--dry-run"): "plan",
    ("verify", "out"): "verify",
    ("run", "recipe.toml", "-o", "out"): "run",
    ("train", "base", "recipe.toml", "-o", "out"): "train",
    ("train", "base", "recipe.toml", "--estimate"): "estimate",
    ("report", "out", "-o", "out.html"): "report",
    ("undo", "out", "-o", "back"): "receipt",
    ("diff", "base", "out"): "diff",
    ("show", "plan.json"): "plan",
    ("tokens", "base", "hi"): "tokens",
    ("explain", "T101"): "rule",
    ("explain",): "rules",
    ("doctor",): "doctor",
    ("demo", "-o", "demo"): "demo",
}
BY_KIND = {kind.kind: kind for kind in schemas.KINDS}


def name_of(arguments: tuple[str, ...]) -> str:
    return " ".join(arguments)


FAKE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import fake_flow, samples, tokengraft
fake = fake_flow.Flow()
answers = fake.answers
sys.modules["tokengraft.flow"] = tokengraft.flow = fake.module()
from tokengraft.cli import main
def go(*arguments):
    sys.argv = ["tokengraft", *arguments]
    main()
"""


def environ(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **more}


def python(code: str, here: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=here,
        env=environ(**more),
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
