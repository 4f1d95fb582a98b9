"""The terminal: one view for each kind of value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tokengraft.answers import (
    Demo,
    Diff,
    Doctor,
    Folder,
    Problems,
    RecipeText,
    Rule,
    Rules,
    Run,
    Tokens,
)
from tokengraft.documents import Document
from tokengraft.findings import Audit
from tokengraft.plans import Plan
from tokengraft.recipes import Recipe
from tokengraft.reporting import text_audit, text_looks, text_plan, text_results
from tokengraft.reporting.screen import Page, Screen
from tokengraft.results import Receipt, Verification


@dataclass(frozen=True, slots=True)
class Beside:
    """What a view may say beyond its value.

    Attributes:
        next: commands that can be typed now.
        texts: what old ids stand for, as far as it is known.
        undone: what was asked for and not done.
        seconds: how long it took.
        place: the folder or file that the value is about.
    """

    next: Sequence[str] = ()
    texts: Mapping[int, str] = field(default_factory=dict)
    undone: Sequence[str] = ()
    seconds: float | None = None
    place: str = ""


def view(value: Document | str, screen: Screen, beside: Beside | None = None) -> str:
    """Any value as text for people, ending with the next command."""
    beside = beside or Beside()
    page = Page(screen)
    fill(page, value, beside)
    page.next(beside.next)
    return page.text


def fill(page: Page, value: Document | str, beside: Beside) -> None:
    """Write the view of a value onto a page."""
    match value:
        case str():
            page.line(value)
        case Audit():
            text_audit.audit(page, value)
        case Plan():
            text_plan.plan(page, value, beside.texts)
        case Receipt():
            text_results.receipt(page, value, beside.place, beside.undone, beside.seconds)
        case Verification():
            text_results.verification(page, value)
        case Run():
            _run(page, value, beside)
        case Recipe():
            text_looks.recipe(page, value)
        case Diff():
            text_looks.diff(page, value)
        case Tokens():
            text_looks.tokens(page, value)
        case Doctor():
            text_looks.doctor(page, value)
        case Rule():
            text_looks.rule(page, value)
        case Rules():
            text_looks.rules(page, value)
        case Problems():
            text_looks.problems(page, value)
        case RecipeText():
            text_looks.recipe_text(page, value)
        case Folder():
            text_looks.folder(page, value)
        case Demo():
            for number, chapter in enumerate(value.chapters, 1):
                page.heading(f"{number}. {chapter.title}")
                page.exact(f"$ {chapter.command}", "cyan")
        case _:
            raise AssertionError(f"no view of {type(value).__name__}")


def chapter(number: int, title: str, command: str, screen: Screen) -> str:
    """The heading of one chapter of the demo."""
    page = Page(screen)
    page.banner(f"{number}. {title}", "")
    if command:
        page.exact(f"$ {command}", "cyan")
    return "\n" + page.text + "\n"


def _run(page: Page, story: Run, beside: Beside) -> None:
    say = page.say
    for step in story.resumed:
        page.line(say("resumed: {step}", step=step), "dim")
    page.heading(say("1. Audit"))
    text_audit.audit(page, story.audit)
    page.heading(say("2. Plan"))
    text_plan.plan(page, story.plan, beside.texts)
    page.heading(say("3. Apply"))
    text_results.receipt(page, story.receipt, beside.place, story.undone, story.seconds)
    page.heading(say("4. Verify"))
    text_results.verification(page, story.verify)
    if story.reports:
        page.heading(say("Reports"))
        for path in story.reports:
            page.exact(f"  {path}")
