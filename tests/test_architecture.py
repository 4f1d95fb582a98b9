"""What the design promises about the code itself: layers, lengths, and what a start imports."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiny

REPO = Path(__file__).resolve().parents[1]
SRC = REPO / "src" / "tokengraft"
SCRIPTS = ("src", "tests", "tools", "benchmarks")
MODULES = sorted(SRC.rglob("*.py"))

# ── layers ───────────────────────────────────────────────────────────────────────────────────────

GROUND = {"errors", "events"}
NOUNS = {
    *("checkpoint", "vocabulary", "tensors", "layout"),
    *("recipes", "plans", "findings", "results", "documents", "answers"),
    "behaviour",
    "boundaries",
    "padding",
    "row_findings",
    "row_sets",
    "row_statistics",
    "spelling",
    "extensions",
    "renumbering",
    "low_rank",
    "row_edits",
    "data_audits",
    "trainings",
    "records",
    "reports",
}
FORMATS = {"formats", "families", "positions", "sandbox", "hub"}
ROOMS = {"auditing", "planning", "rows", "applying", "training", "verifying", "exporting"}
FACES = {"cli", "web", "__main__"}
BELOW_ROOMS = GROUND | NOUNS | FORMATS
ALLOWED: dict[str, set[str]] = {
    **{name: set() for name in GROUND},
    **dict.fromkeys(NOUNS, GROUND | NOUNS),
    **dict.fromkeys(FORMATS, GROUND | NOUNS),
    "formats": GROUND | NOUNS | {"families"},  # which matrix is which, a family file says
    "positions": GROUND | NOUNS | {"families"},  # and which keys speak of positions
    **dict.fromkeys(ROOMS, BELOW_ROOMS),
    "planning": BELOW_ROOMS | {"rows"},  # initialisers turn a recipe's words into row sources
    "reporting": BELOW_ROOMS | ROOMS,
    **dict.fromkeys(("flow", "testing"), BELOW_ROOMS | ROOMS | {"reporting"}),
    **dict.fromkeys(FACES, BELOW_ROOMS | ROOMS | {"reporting", "flow", "testing"} | FACES),
}
LAZY_ROOMS = {"training", "verifying", "web"}  # the only ones that may name the heavy libraries
HEAVY = {
    *("torch", "transformers", "peft", "trl", "accelerate", "datasets"),
    *("starlette", "uvicorn", "fastapi", "gguf"),
}
UNTIL_NEEDED = {
    "pydantic",
    "numpy",
    "tokenizers",
    "huggingface_hub",
    "rich",
    "jinja2",
    "safetensors",
}


def _layer(module: str) -> str:
    """The part of `tokengraft.x.y` that the design gives a place: x, or "" for the facade."""
    return module.split(".")[1] if "." in module else ""


def _dotted(path: Path) -> str:
    parts = path.relative_to(SRC.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file names in an import statement, wherever in it, in full."""
    package = path.relative_to(SRC.parent).parts[:-1] if path.is_relative_to(SRC) else ()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            near = ".".join(package[: len(package) + 1 - node.level]) if node.level else ""
            base = ".".join(part for part in (near, node.module or "") if part)
            if base == "tokengraft":  # `from tokengraft import plans` names the module
                yield from (f"{base}.{alias.name}" for alias in node.names)
            else:
                yield base


def _own_imports(path: Path) -> list[str]:
    named = [name for name in _imports(path) if name.split(".")[0] == "tokengraft"]
    return [name for name in named if name != "tokengraft.__version__"]  # no module


@pytest.mark.parametrize("path", MODULES, ids=_dotted)
def test_imports_go_in_one_direction(path: Path) -> None:
    layer = _layer(_dotted(path))
    if not layer:
        return  # the facade names every room, and imports it when it is used
    assert layer in ALLOWED, f"{layer} has no place in the design yet: give it one in ALLOWED"
    allowed = ALLOWED[layer] | {layer}
    wrong = [name for name in _own_imports(path) if _layer(name) not in allowed]
    assert wrong == []


@pytest.mark.parametrize("path", MODULES, ids=_dotted)
def test_heavy_libraries_are_named_in_three_rooms_only(path: Path) -> None:
    named = {name.split(".")[0] for name in _imports(path)} & HEAVY
    assert not named or _layer(_dotted(path)) in LAZY_ROOMS | {"exporting"}, named


@pytest.mark.parametrize("path", MODULES, ids=_dotted)
def test_the_hub_library_is_named_in_one_module_only(path: Path) -> None:
    named = {name.split(".")[0] for name in _imports(path)}
    assert "huggingface_hub" not in named or _layer(_dotted(path)) == "hub"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import tokengraft.cli", ["tokengraft.cli"]),
        ("from tokengraft import cli", ["tokengraft.cli"]),
        ("from tokengraft.cli.views import table", ["tokengraft.cli.views"]),
        ("def f():\n    from ..cli import main", ["tokengraft.cli"]),
        ("from . import steps", ["tokengraft.planning"]),
    ],
)
def test_every_form_of_an_import_is_seen(
    source: str, expected: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    room = tmp_path / "tokengraft" / "planning"
    room.mkdir(parents=True)
    (room / "steps.py").write_text(source, encoding="utf-8")
    monkeypatch.setattr(sys.modules[__name__], "SRC", room.parent)
    assert expected == list(_imports(room / "steps.py"))


# ── lengths, names, prints ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("folder", SCRIPTS)
def test_no_file_is_longer_than_four_hundred_lines(folder: str) -> None:
    lengths = {
        str(path.relative_to(REPO)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (REPO / folder).rglob("*.py")
    }
    assert {} == {name: length for name, length in lengths.items() if length > 400}


def test_no_module_is_named_for_having_no_subject() -> None:
    drawers = {"utils", "util", "helpers", "common", "misc", "manager"}
    assert [] == [
        str(path) for path in MODULES if path.stem in drawers or path.parent.name in drawers
    ]


@pytest.mark.parametrize("path", MODULES, ids=_dotted)
def test_nothing_prints_but_the_faces(path: Path) -> None:
    if _layer(_dotted(path)) in {"reporting", "cli"}:
        return
    calls = [
        n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)
    ]
    prints = [c.lineno for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
    assert prints == []


def test_public_names_are_sorted_few_and_there() -> None:
    import tokengraft

    names: list[str] = list(getattr(tokengraft, "__all__", []))
    assert names, "the package names nothing public"
    assert sorted(names) == names
    assert len(names) <= 40
    assert [] == [name for name in names if not hasattr(tokengraft, name)]


def test_the_version_stands_in_one_place() -> None:
    (version,) = re.findall(
        r'^__version__ = "(.+)"', (SRC / "__init__.py").read_text("utf-8"), re.MULTILINE
    )
    said = [path for path in MODULES if f'"{version}"' in path.read_text("utf-8")]
    assert [SRC / "__init__.py"] == said
    assert 'dynamic = ["version"]' in (REPO / "pyproject.toml").read_text("utf-8")


# ── what a start imports ─────────────────────────────────────────────────────────────────────────

RUN = """
import json, sys
sys.argv = ["tokengraft", *json.loads(sys.argv[1])]
from tokengraft.cli import main
try:
    code = main()
except SystemExit as exit:
    code = exit.code
sys.stdout.flush()
tops = sorted({name.partition(".")[0] for name in sys.modules})
print("\\n@" + json.dumps([code or 0, tops]), file=sys.stderr)
"""
RECIPE = """version = 1
[[add]]
text = "<|recall|>"
use = "marker"
"""


def _modules_after(*arguments: str, cwd: Path) -> set[str]:
    """Run a command in a fresh process; return the top-level modules that it has imported."""
    ran = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    said, _, told = ran.stderr.rpartition("\n@")
    assert told, f"tokengraft {' '.join(arguments)}:\n{ran.stdout}\n{ran.stderr}"
    code, tops = json.loads(told)
    assert code == 0, f"tokengraft {' '.join(arguments)} gave {code}:\n{ran.stdout}\n{said}"
    return set(tops)


def test_help_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    assert set() == _modules_after("--help", cwd=tmp_path) & (HEAVY | UNTIL_NEEDED)


def test_importing_the_package_imports_nothing_heavy(tmp_path: Path) -> None:
    ask = "import sys, tokengraft; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = subprocess.run(
        [sys.executable, "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert set() == set(ran.stdout.split()) & (HEAVY | UNTIL_NEEDED)


@pytest.mark.parametrize("last", ["audit", "plan", "apply", "verify"])
def test_the_core_imports_no_torch_transformers_or_web_stack(last: str, tmp_path: Path) -> None:
    tiny.build(tmp_path / "base")
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    steps = {
        "audit": ("audit", "base", "--fail-on", "never"),
        "plan": ("plan", "base", "recipe.toml", "-o", "plan.json"),
        "apply": ("apply", "plan.json", "--base", "base", "-o", "out"),
        "verify": ("verify", "out", "--against", "base"),
    }
    for name, arguments in steps.items():
        imported = _modules_after(*arguments, cwd=tmp_path)
        if name == last:
            assert set() == imported & HEAVY
            return


# ── the wheel ────────────────────────────────────────────────────────────────────────────────────


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    ran = subprocess.run(build, cwd=REPO, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tokengraft/")}
    ours = {p.relative_to(SRC.parent).as_posix() for p in SRC.rglob("*") if p.is_file()}
    assert packed == {name for name in ours if "/__pycache__/" not in name and "/." not in name}
    assert "tokengraft/py.typed" in packed
    assert any(re.fullmatch(r"tokengraft/families/\w+\.toml", name) for name in packed)
