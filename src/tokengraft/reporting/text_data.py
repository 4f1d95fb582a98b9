"""What training data hold, as people read it in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokengraft.data_audits import DataAudit
from tokengraft.reporting import escape
from tokengraft.reporting.screen import Cell, Page

SHOWN: Final = 40
LINES_SHOWN: Final = 8


def data_audit(page: Page, value: DataAudit) -> None:
    """Rows used and dropped, then how often each new token is seen."""
    say, rows = page.say, value.rows
    page.banner(say("DATA: {source}", source=value.source), "")
    counts = [
        ("rows read", rows.read),
        ("trained on", rows.train),
        ("held out", rows.held_out),
        ("dropped", rows.dropped),
    ]
    pairs = [(say(name), say.number(number)) for name, number in counts]
    pairs.append(
        (say("cut at {length} tokens", length=say.number(value.length)), say.number(rows.truncated))
    )
    pairs.append((say("without a stop token"), say.number(rows.no_stop)))
    in_loss = f"{say.number(value.n_in_loss)} / {say.number(value.n_tokens)}"
    page.pairs([*pairs, (say("tokens in the loss"), in_loss)])
    if not rows.complete:
        page.line(say("a part of the data"), "yellow", indent=2)
    _dropped(page, value)
    _tokens(page, value)
    _named(page, say("The data never show: "), value.unseen, "red")
    _named(page, say("Only read, never written by the model: "), value.never_in_loss, "yellow")
    for note in value.notes:
        page.item("-", say.translated(note))


def _dropped(page: Page, value: DataAudit) -> None:
    say = page.say
    if not value.reasons:
        return
    page.heading(say("why rows were dropped"))
    lines = []
    for reason, number in value.reasons.items():
        first = [str(row.line) for row in value.dropped if row.reason == reason][:LINES_SHOWN]
        lines.append((say.number(number), say.translated(reason), ", ".join(first)))
    heads = (say("rows"), say("reason"), say("first lines"))
    page.table(heads, lines[:SHOWN], right=frozenset({0}))


def _tokens(page: Page, value: DataAudit) -> None:
    say = page.say
    if not value.tokens:
        return
    page.heading(say("how often the data hold each new token"))
    heads = (say("id"), say("token"), say("written by the model"), say("only read"), say("in rows"))
    page.table(
        heads,
        (
            (
                str(token.id),
                escape.quoted(token.text),
                *map(say.number, (token.in_loss, token.given, token.rows)),
            )
            for token in value.tokens[:SHOWN]
        ),
        right=frozenset({0, 2, 3, 4}),
    )
    rest = len(value.tokens) - SHOWN
    if rest > 0:
        more = say("... and {number} more: --json has all of them", number=say.number(rest))
        page.line(more, "dim", indent=2)


def _named(page: Page, told: str, texts: Sequence[str], style: str) -> None:
    if texts:
        names = ", ".join(escape.quoted(text) for text in texts[:SHOWN])
        page.table((), [(Cell(told.strip(), style), Cell(names, style))])
