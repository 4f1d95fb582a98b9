"""Each step of the store's protocol is needed: without it, a promise is broken.

A mutant is the code with one step taken out: every line that syncs, renames, locks, removes, compares
or refuses is taken out in turn, and must break one of the promises.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import failing
from promises import PROMISES
from tokengraft import applying
from tokengraft.applying import locking, reading, single, store, work

VERB = (
    r"fsync|fchmod|lock|link|rename\w*|exchange|refuse_\w+|require_\w+|remove\w*|_?compare\w*"
    r"|_write_manifest|_give_modes|_sync_\w+|_rename|_exchange|_remove_\w+"
)
STEP = re.compile(rf"(?m)^ +(?:self\.)?(?:_?system\.)?(?:{VERB})\([^\n]*\)(?=(?:  #.*)?$)")
MUTATED = (store, locking, reading, single, work, applying)


def _steps() -> Iterator[tuple[ModuleType, int, str]]:
    for module in MUTATED:
        text = Path(module.__file__ or "").read_text(encoding="utf-8")
        for found in STEP.finditer(text):
            yield module, found.start(), found[0].strip()


def _without(module: ModuleType, at: int, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load a module anew without one step, and let everybody use it."""
    text = Path(module.__file__ or "").read_text(encoding="utf-8")
    at = text.index(step, at)
    _replace(module, text[:at] + "pass" * bool(step) + text[at + len(step) :], monkeypatch)


def _replace(module: ModuleType, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = ModuleType(module.__name__)
    fresh.__file__ = module.__file__
    fresh.__path__ = getattr(module, "__path__", [])
    monkeypatch.setitem(sys.modules, module.__name__, fresh)
    exec(compile(text, f"{module.__name__} mutated", "exec"), vars(fresh))  # noqa: S102
    users = [m for name, m in sys.modules.items() if name.startswith("tokengraft.")]
    for user in (*users, sys.modules["tokengraft"], sys.modules["grafts"], sys.modules["promises"]):
        for name, value in list(vars(user).items()):
            if user is not fresh and value is getattr(module, name, fresh) and name in vars(fresh):
                monkeypatch.setattr(user, name, getattr(fresh, name))
            elif value is module:
                monkeypatch.setattr(user, name, fresh)


def _broken(promise: Callable[[Path], None], quick: Path) -> bool:
    folder = quick / promise.__name__
    folder.mkdir()
    try:
        promise(folder)
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - however it shows
        return True
    return False


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Path]:
    with failing.quick_folder(tmp_path) as folder:
        yield folder


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_the_protocol_keeps_its_promises(promise: Callable[[Path], None], quick: Path) -> None:
    promise(quick)


@pytest.mark.parametrize("module", MUTATED, ids=lambda module: module.__name__)
def test_a_mutant_that_lacks_nothing_breaks_no_promise(
    module: ModuleType, quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without(module, 0, "", monkeypatch)
    assert [promise.__name__ for promise in PROMISES if _broken(promise, quick)] == []


@pytest.mark.parametrize(
    ("module", "at", "step"),
    [pytest.param(*s, id=f"{s[0].__name__.split('.')[-1]}:{s[2]}") for s in _steps()],
)
def test_without_a_step_a_promise_is_broken(
    module: ModuleType, at: int, step: str, quick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _without(module, at, step, monkeypatch)
    assert any(_broken(promise, quick) for promise in PROMISES)


def test_the_steps_are_those_that_the_protocol_has() -> None:
    """The search for steps still finds them: three dozen, syncs and renames among them."""
    found = [step for _, _, step in _steps()]
    assert len(found) > 30
    assert sum(".fsync(" in step for step in found) >= 6
