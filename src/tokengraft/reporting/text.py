"""The terminal: one view for each kind of value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tokengraft.answers import (
    Demo,
    Diff,
    Doctor,
    Folder,
    Problems,
    RecipeText,
    ReportWritten,
    Rule,
    Rules,
    Run,
    Tokens,
)
from tokengraft.behaviour import Behaviour, Suite
from tokengraft.data_audits import DataAudit
from tokengraft.documents import Document
from tokengraft.findings import Audit
from tokengraft.plans import Plan
from tokengraft.recipes import Recipe
from tokengraft.reporting import (
    text_audit,
    text_behaviour,
    text_data,
    text_looks,
    text_plan,
    text_reports,
    text_results,
    text_training,
)
from tokengraft.reporting.screen import Page, Screen
from tokengraft.results import Receipt, Verification
from tokengraft.trainings import StageRecord, TokenVerdicts, Training, TrainingEstimate


@dataclass(frozen=True, slots=True)
class Beside:
    """What a view may say beyond its value.

    Attributes:
        next: commands that can be typed now.
        texts: what old ids stand for, as far as it is known.
        undone: what was asked for and not done.
        seconds: how long it took.
        place: the folder or file that the value is about.
        everything: show all, however many screens that takes.
    """

    next: Sequence[str] = ()
    texts: Mapping[int, str] = field(default_factory=dict)
    undone: Sequence[str] = ()
    seconds: float | None = None
    place: str = ""
    everything: bool = False


def view(value: Document | str, screen: Screen, beside: Beside | None = None) -> str:
    """Any value as text for people, ending with the next command."""
    beside = beside or Beside()
    page = Page(screen)
    fill(page, value, beside)
    page.next(beside.next)
    return page.text


def fill(page: Page, value: Document | str, beside: Beside) -> None:
    """Write the view of a value onto a page."""
    if isinstance(value, str):
        for line in value.splitlines():
            page.exact(line)
        return
    show = _VIEWS.get(type(value))
    assert show is not None, f"no view of {type(value).__name__}"
    show(page, value, beside)


def chapter(number: int, title: str, command: str, screen: Screen) -> str:
    """The heading of one chapter of the demo."""
    page = Page(screen)
    page.banner(f"{number}. {page.say.translated(title)}", "")
    if command:
        page.exact(f"$ {command}", "cyan")
    return "\n" + page.text + "\n"


def _run(page: Page, story: Run, beside: Beside) -> None:
    say = page.say
    for step in story.resumed:
        page.line(say("resumed: {step}", step=say.translated(step)), "dim")
    page.heading(say("1. Audit"))
    text_audit.audit(page, story.audit)
    page.heading(say("2. Plan"))
    text_plan.plan(page, story.plan, beside.texts)
    steps = (say("3. Apply"), say("4. Verify"))
    if story.tokens is not None:
        page.heading(say("3. Train"))
        text_training.stages(page, story.stages)
        text_training.verdicts(page, story.tokens)
        steps = (say("4. Apply"), say("5. Verify"))
    page.heading(steps[0])
    text_results.receipt(page, story.receipt, beside.place, story.undone, story.seconds)
    page.heading(steps[1])
    text_results.verification(page, story.verify)
    if story.reports:
        page.heading(say("Reports"))
        for path in story.reports:
            page.exact(f"  {path}")
    if story.serve and story.verify.passed:
        page.heading(say("Serve it"))
        for command in story.serve:
            page.exact(f"  {command}", "cyan")


def _demo(page: Page, story: Demo, beside: Beside) -> None:
    page.exact(beside.place or story.folder, "dim")
    for number, told in enumerate(story.chapters, 1):
        page.heading(f"{number}. {page.say.translated(told.title)}")
        page.exact(f"$ {told.command}", "cyan")


def _audit(page: Page, value: Audit, beside: Beside) -> None:
    text_audit.audit(page, value, everything=beside.everything)


def _receipt(page: Page, value: Receipt, beside: Beside) -> None:
    text_results.receipt(page, value, beside.place, beside.undone, beside.seconds)


def _plan(page: Page, value: Plan, beside: Beside) -> None:
    text_plan.plan(page, value, beside.texts)


def _training(page: Page, value: Training, beside: Beside) -> None:
    text_training.training(page, value, beside.place)


def _alone(show: Callable[[Page, Any], None]) -> Callable[[Page, Any, Beside], None]:
    """A view that says nothing beyond its value."""
    return lambda page, value, _beside: show(page, value)


# A test asks for a view of every kind of document.
_VIEWS: Final[dict[type[Document], Callable[[Page, Any, Beside], None]]] = {
    Audit: _audit,
    DataAudit: _alone(text_data.data_audit),
    Behaviour: _alone(text_behaviour.behaviour),
    Demo: _demo,
    Diff: _alone(text_looks.diff),
    Doctor: _alone(text_looks.doctor),
    Folder: _alone(text_looks.folder),
    Plan: _plan,
    Problems: _alone(text_looks.problems),
    Receipt: _receipt,
    Recipe: _alone(text_looks.recipe),
    RecipeText: _alone(text_looks.recipe_text),
    ReportWritten: _alone(text_reports.report),
    Rule: _alone(text_looks.rule),
    Rules: _alone(text_looks.rules),
    Run: _run,
    StageRecord: _alone(text_training.stage),
    Suite: _alone(text_behaviour.suite),
    Tokens: _alone(text_looks.tokens),
    TokenVerdicts: _alone(text_training.verdicts),
    Training: _training,
    TrainingEstimate: _alone(text_training.estimate),
    Verification: _alone(text_results.verification),
}
