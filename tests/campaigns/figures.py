"""What a campaign counts, kept from run to run, and the page that is written from it.

A campaign is a test module with a docstring, whose first paragraph is a title and whose rest says
how. A test that passes leaves its figures in `.campaign/`, so a run that was cut goes on where it
stopped. The sums over the tests that have passed on the code as it is are written to
`docs/explanation/campaign/NAME.json`, from which `tools/campaign_page.py` makes the page.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

REPO = Path(__file__).resolve().parents[2]
STATE = REPO / ".campaign"
RESULTS = REPO / "docs" / "explanation" / "campaign"
# What a campaign's figures speak of; a change here makes them old.
CODE = ("src/tokengraft/applying",)


@dataclass
class Figures:
    """Counts of one test, by name; `add` in it what was tried, and what came out."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, count: int = 1) -> None:
        self.counts[name] += count


def code_digest(module: ModuleType) -> str:
    """The digest of the code that a campaign tries, and of the campaign itself."""
    digest = hashlib.sha256()
    files = [path for name in CODE for path in (REPO / name).rglob("*.py")]
    helpers = [p for p in Path(__file__).parent.glob("*.py") if not p.name.startswith("test_")]
    for path in (*sorted(files), *sorted(helpers), Path(module.__file__ or "")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def kept(node: str, digest: str) -> dict[str, int] | None:
    """The figures that a test left on this very code, if it has passed before."""
    try:
        found = json.loads(_place(node).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    counts: dict[str, int] = found["figures"]
    return counts if found["code"] == digest else None


def keep(node: str, digest: str, figures: Figures) -> None:
    STATE.mkdir(exist_ok=True)
    text = json.dumps({"test": node, "code": digest, "figures": figures.counts})
    draft = _place(node).with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.rename(_place(node))


def _place(node: str) -> Path:
    return STATE / f"{hashlib.sha256(node.encode()).hexdigest()[:24]}.json"


def write_result(module: ModuleType, nodes: Iterable[str]) -> bool:
    """Write the sums of one campaign over the tests that have passed on the code as it is."""
    digest = code_digest(module)
    parts = [kept(node, digest) for node in nodes]
    passed = [part for part in parts if part is not None]
    if not passed:
        return False
    total: Counter[str] = Counter()
    for part in passed:
        total.update(part)
    title, _, method = inspect.cleandoc(module.__doc__ or "").partition("\n\n")
    result: dict[str, Any] = {
        "order": getattr(module, "ORDER", 100),
        "title": title,
        "method": " ".join(method.split()),
        "figures": {name: total[name] for name in sorted(total, key=_order(module, total))},
        "tests": f"{len(passed)} of {len(parts)}",
        "versions": versions(),
    }
    RESULTS.mkdir(exist_ok=True)
    name = Path(module.__file__ or "").stem.removeprefix("test_").replace("_", "-")
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    return True


def _order(module: ModuleType, total: Counter[str]) -> Callable[[str], tuple[bool, int, str]]:
    """Figures in the order in which the module names them, and last what never happened."""
    text = inspect.getsource(module)
    return lambda name: (total[name] == 0, text.find(f'"{name}"') % (1 << 30), name)


def versions() -> dict[str, str]:
    found = {"Python": platform.python_version(), "Linux": platform.release().split("-")[0]}
    try:
        told = subprocess.run(["strace", "-V"], capture_output=True, text=True, check=False).stdout
        found["strace"] = told.split("version ")[1].split()[0]
    except (OSError, IndexError):
        pass
    for name in ("safetensors", "tokenizers"):
        found[name] = metadata.version(name)
    return found
