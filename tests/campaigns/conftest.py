"""`--part i/n` of the campaigns, their figures, and going on where a run was cut."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

import figures as kept_figures
from figures import REPO, Figures


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("campaign")
    group.addoption("--part", default="1/1", help="run the i-th of n parts: 2/4")
    group.addoption("--again", action="store_true", help="run what has passed before as well")
    group.addoption("--no-record", action="store_true", help="write no figures into docs/")


class Plan:
    """Which tests there are, before some are left for other parts or later."""

    def __init__(self) -> None:
        self.nodes: dict[ModuleType, list[str]] = {}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    part, _, parts = config.getoption("--part").partition("/")
    plan = Plan()
    config.stash[PLAN] = plan
    chosen, left = [], []
    for number, item in enumerate(items):
        assert isinstance(item, pytest.Function)
        mine = number % int(parts or 1) == int(part) - 1
        if "figures" in item.fixturenames:
            plan.nodes.setdefault(item.module, []).append(item.nodeid)
            digest = kept_figures.code_digest(item.module)
            done = kept_figures.kept(item.nodeid, digest) is not None
            mine = mine and (config.getoption("--again") or not done)
        (chosen if mine else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = chosen


PLAN: pytest.StashKey[Plan] = pytest.StashKey()
PASSED: pytest.StashKey[bool] = pytest.StashKey()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Iterator[None]:
    report = yield
    if report.when == "call":  # type: ignore[attr-defined]
        item.stash[PASSED] = report.passed  # type: ignore[attr-defined]
    return report  # type: ignore[return-value]


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """Counts of this test; they are kept if it passes."""
    counted = Figures()
    yield counted
    if request.node.stash.get(PASSED, False) and counted.counts:
        digest = kept_figures.code_digest(request.module)
        kept_figures.keep(request.node.nodeid, digest, counted)


def pytest_sessionfinish(session: pytest.Session) -> None:
    plan = session.config.stash.get(PLAN, None)
    if plan is None or session.config.getoption("--no-record"):
        return
    written = [kept_figures.write_result(module, nodes) for module, nodes in plan.nodes.items()]
    if any(written):
        page = REPO / "tools" / "campaign_page.py"
        subprocess.run([sys.executable, str(page)], check=True)
