"""A plan with its sidecar gives the same bytes from the base in any environment."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import tiny
from conftest import REPO
from grafts import digest, tree
from grown import extend
from oracles import elsewhere
from test_extending import PROSE
from tokengraft.flow import making
from tokengraft.formats.manifest import parse_manifest
from tokengraft.plans import COLUMNS_ABOVE

ADD = (
    '[[add]]\ntext = "<|план|>"\nuse = "role"\nmeaning = "the hand of a plan"\n'
    '[[add]]\ntext = "<|b|>"\ninit = "first-last"\n[[add]]\ntext = "<|c|>"\ninit = "mean"\n'
    '[[add]]\ntext = "<|d|>"\nlike = "<|im_start|>"\n'
)
FULL = tiny.Tiny().n_tokens()  # rows for the tokens there are, and none to spare


@dataclass(frozen=True)
class Case:
    """A base, and a recipe for it."""

    recipe: str
    base: Mapping[str, Any] = field(default_factory=dict)


CASES = {
    "rows-grow": Case(ADD, {"n_rows": FULL, "shards": 2}),
    "tied-f16": Case(ADD, {"tied": True, "dtype": "F16", "out_of_step": True, "base": True}),
    "byte-fallback": Case(ADD, {"kind": "byte-fallback", "dtype": "F32", "newline": "\r\n"}),
    "rename": Case('[[rename]]\nfrom = "<|im_start|>"\nto = "<|начало|>"\n', {"legacy": True}),
    "protocol": Case('[protocol]\nturn_start = "<|t|>"\nturn_end = "<|e|>"\nmode = "add"\n'),
    "chat": Case(
        '[roles]\nagent = "<|agent|>"\n[thinking]\nmodules = ["<|recursion|>", "<|conflict|>"]\n'
    ),
    "words": Case('[[add]]\ntext = " тестовый"\nuse = "word"\n'),
    "extend": Case(extend("prose.txt", 60), {"n_rows": FULL, "merges": "pairs"}),
    "columns": Case(extend("many.txt", COLUMNS_ABOVE + 9)),
    "context-and-pad": Case('[context]\nlength = 131072\n[pad]\ntoken = "auto"\n', {"base": True}),
}
# Other settings than those of the tests in all that a process inherits; PEP 538 is told to leave
# the locale C alone, so that it is ASCII.
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "LANGUAGE": ""}
SETTINGS = {
    "second": (0o077, {**ASCII, "TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "1"}),
    "own": (0o002, {"LANG": "ru_RU.UTF-8", "TZ": "America/New_York", "PYTHONHASHSEED": "77"}),
}


def many_words() -> str:
    """A corpus for more pieces than a plan lists one by one."""
    rng = random.Random(5)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(rng.choices(syllables, k=4)) for _ in range(600)]
    return " ".join(rng.choices(words, k=20_000))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bases, recipes, plans and what they gave in the process that runs the tests."""
    folder = tmp_path_factory.mktemp("here")
    for name, case in CASES.items():
        at = folder / name
        base = tiny.build(at / "base", **case.base)
        (at / "prose.txt").write_text(PROSE, encoding="utf-8")
        (at / "many.txt").write_text(many_words(), encoding="utf-8")
        (at / "recipe.toml").write_text(f"version = 1\n{case.recipe}", encoding="utf-8")
        making.write_plan(making.make_plan(str(base), at / "recipe.toml"), at / "plan.json")
        making.apply(at / "plan.json", base=str(base), out=at / "out")
    return folder


@pytest.fixture(scope="module", params=SETTINGS)
def there(request: pytest.FixtureRequest, home: Path, tmp_path_factory: Any) -> tuple[Path, Any]:
    """The same grafts on copies of the same bases, in a folder and an environment of their own."""
    python = request.getfixturevalue("second") if request.param == "second" else sys.executable
    mask, settings = SETTINGS[request.param]
    folder = tmp_path_factory.mktemp("there" if mask == SETTINGS["second"][0] else "там, 'где'")
    jobs = []
    for name in CASES:
        at, source = folder / f"x-{name}", home / name
        at.mkdir()
        shutil.copytree(source / "base", at / "model")
        for file in ("recipe.toml", "prose.txt", "many.txt"):
            shutil.copyfile(source / file, at / file)
        shutil.copyfile(source / "plan.json", at / "graft.json")
        if (source / "plan.rows.safetensors").is_file():
            shutil.copyfile(source / "plan.rows.safetensors", at / "rows.safetensors")
        jobs.append(
            {
                "recipe": str(at / "recipe.toml"),
                "base": str(at / "model"),
                "plan": str(at / "graft.json"),
                "out": str(at / "made"),
                "again": str(at / "again.json"),
            }
        )
    questions, answers = folder / "jobs.json", folder / "answers.json"
    questions.write_text(json.dumps(jobs), encoding="utf-8")
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    script = REPO / "tests" / "oracles" / "elsewhere.py"
    done = subprocess.run(
        [str(python), "-W", "error", str(script), str(questions), str(answers)],
        cwd=folder,
        env={**kept, **settings, "PYTHONPATH": str(REPO / "src"), "HF_HUB_OFFLINE": "1"},
        umask=mask,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(answers.read_text(encoding="utf-8"))


def test_the_environment_is_another_one(there: tuple[Path, Any], request: Any) -> None:
    _, said = there
    name = request.node.callspec.params["there"]
    mask, _ = SETTINGS[name]
    assert said["umask"] == mask
    assert said["hash"] != hash("tokengraft")
    assert not said["torch"]
    if name == "second":
        from importlib.metadata import version

        same = [n for n in elsewhere.CORE if said["versions"][n] == version(n)]
        assert same == []
        assert said["encoding"] == "ANSI_X3.4-1968"
        assert said["zone"] == "+14"


@pytest.mark.parametrize("name", CASES)
def test_a_graft_gives_the_same_bytes_there(name: str, home: Path, there: Any) -> None:
    folder, _ = there
    here, made = home / name / "out", folder / f"x-{name}" / "made"
    manifest = (here / "MANIFEST.sha256").read_bytes()
    assert (made / "MANIFEST.sha256").read_bytes() == manifest
    listed = parse_manifest(manifest)
    assert {path: digest(made / path) for path in listed} == dict(listed)
    assert set(tree(made)) == {*listed, "MANIFEST.sha256"}


@pytest.mark.parametrize("name", CASES)
def test_a_recipe_gives_the_same_plan_there(name: str, home: Path, there: Any) -> None:
    folder, _ = there
    at = folder / f"x-{name}"
    assert (at / "again.json").read_bytes() == (home / name / "plan.json").read_bytes()
    sidecars = [
        p / f"{stem}.rows.safetensors" for p, stem in ((home / name, "plan"), (at, "again"))
    ]
    assert len({path.is_file() for path in sidecars}) == 1
    if sidecars[0].is_file():
        assert digest(sidecars[0]) == digest(sidecars[1])


def test_grafts_with_and_without_a_sidecar_are_here(home: Path) -> None:
    found = {name for name in CASES if (home / name / "plan.rows.safetensors").is_file()}
    assert found == {"columns", "extend"}  # rows that are drawn apart are values
