"""What the rows have shown, as people read it: how sure it is, then the tokens of the chat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tokengraft.reporting import escape
from tokengraft.reporting.screen import Cell, Page
from tokengraft.row_findings import MatrixRows, Rows, RowVerdict, TokenRow, TokenRows

STYLES: Final[dict[RowVerdict, str]] = {
    "trained": "green",
    "untrained": "red",
    "unknown": "yellow",
}
SHOWN: Final = 24


def rows(page: Page, value: Rows, *, everything: bool = True) -> None:
    """The section `Rows` of an audit that was asked for them; without numbers on one screen."""
    say = page.say
    page.heading(say("Rows"))
    if value.why_not:
        why = say.translated(value.why_not)
        page.line(say("not read: {why}", why=why), "yellow", indent=2)
        return
    for matrix in value.matrices:
        _matrix(page, matrix)
    if not value.structural:
        return
    if everything:
        _with_numbers(page, value.structural[:SHOWN])
    else:
        _in_short(page, value.structural[:SHOWN])
    note = say("A token that is only read needs no trained row in the output matrix.")
    page.line(note, "dim", indent=2)
    rest = len(value.structural) - SHOWN
    if rest > 0:
        more = say("... and {number} more: --json has all of them", number=say.number(rest))
        page.line(more, "dim", indent=2)


def _in_short(page: Page, tokens: tuple[TokenRows, ...]) -> None:
    """A line a token: what each matrix says of it."""
    say = page.say
    of_both = any(row.reads and row.writes for token in tokens for row in token.rows)
    sides = (say("both"),) if of_both else (say("input"), say("output"))
    lines: list[tuple[str | Cell, ...]] = [
        (
            say.number(token.id),
            escape.quoted(token.token),
            *(Cell(say(row.verdict), STYLES[row.verdict]) for row in token.rows),
        )
        for token in tokens
    ]
    page.table((say("id"), say("token"), *sides), lines, right=frozenset({0}))


def _with_numbers(page: Page, tokens: tuple[TokenRows, ...]) -> None:
    """A line a row: its norm, and how far it lies from both references."""
    say = page.say
    header = (
        *(say("id"), say("token"), say("matrix"), say("norm")),
        *(say("from unused"), say("from trained"), say("row")),
    )
    lines = (
        (
            say.number(token.id) if at == 0 else "",
            escape.quoted(token.token) if at == 0 else "",
            *_numbers(page, row),
        )
        for token in tokens
        for at, row in enumerate(token.rows)
    )
    page.table(header, lines, right=frozenset({0, 3, 4, 5}))


def _numbers(page: Page, row: TokenRow) -> Iterator[str | Cell]:
    say = page.say
    yield say("both" if row.reads and row.writes else "input" if row.reads else "output")
    yield say.decimal(f"{row.norm:.3g}")
    for spreads in (row.z_unused, row.z_trained):
        yield "" if spreads is None else say.decimal(f"{spreads:+.1f}")
    yield Cell(say(row.verdict), STYLES[row.verdict])


def _matrix(page: Page, matrix: MatrixRows) -> None:
    say, found = page.say, matrix.compared
    page.line(f"{escape.inline(matrix.tensor)} ({say.size(matrix.size_bytes)})", indent=2)
    if found is None:
        page.line(
            say("which rows are trained is unknown: {why}", why=say.translated(matrix.why_not)),
            "dim",
            indent=4,
        )
        return
    page.line(
        say(
            "{unused} unused rows at {low}, {trained} frequent pieces at {high} ({indicator}); "
            "overlap {overlap}%",
            unused=say.number(found.n_unused),
            low=say.decimal(f"{found.unused_median:.3g}"),
            trained=say.number(found.n_trained),
            high=say.decimal(f"{found.trained_median:.3g}"),
            indicator=say(found.indicator),
            overlap=say.decimal(f"{100 * found.overlap:.1f}"),
        ),
        "dim",
        indent=4,
    )
    said = say(
        "untrained by the limit {limit}: {all} of all tokens, {flagged} of the frequent pieces",
        limit=say.decimal(f"{found.upper:.3g}"),
        all=say.number(found.untrained.count),
        flagged=say.number(found.flagged),
    )
    if found.contradicted is not None:
        number = say.number(found.contradicted)
        said += say(" ({number} against the other matrix)", number=number)
    page.line(said, "dim", indent=4)
