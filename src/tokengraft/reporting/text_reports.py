"""The answer of `tokengraft report` as people read it."""

from __future__ import annotations

from typing import Final

from tokengraft.answers import ReportWritten
from tokengraft.reporting.screen import Cell, Page

TITLES: Final = {
    "changes": "What changed",
    "tokens": "Tokens",
    "texts": "How texts are cut",
    "neighbours": "What the new rows are near to",
    "training": "Training",
    "behaviour": "Behaviour",
    "context": "Context",
    "proof": "Proof",
    "next": "What to do with it",
    "records": "Files and records",
}


def report(page: Page, value: ReportWritten) -> None:
    """Where the report is, and which parts of it have nothing to show."""
    say = page.say
    page.banner(say("REPORT: {file}", file=value.file), "green")
    page.pairs([(say("about"), value.out), (say("size"), say.size(value.size_bytes))])
    for part in value.parts:
        if not part.shown:
            title = say(TITLES.get(part.name, part.name))
            why = say.translated(say(part.why))  # a word of the views, or what a room said
            page.table((), [(Cell("-", "dim"), title, Cell(why, "dim"))])
