"""What was done, and what was proved, as people read it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokengraft.reporting.screen import Cell, Page
from tokengraft.reporting.text_behaviour import behaviour
from tokengraft.reporting.text_long_texts import long_texts
from tokengraft.results import Receipt, ReceiptFile, Status, Verification

# sign, its ASCII form, style, word
STATUSES: Final[dict[Status, tuple[str, str, str]]] = {
    "pass": ("✓", "+", "green"),
    "fail": ("✗", "x", "red"),
    "skipped": ("–", "-", "dim"),
    "unknown": ("?", "?", "yellow"),
}
DIGEST_SHOWN: Final = 12


def receipt(
    page: Page, value: Receipt, place: str, undone: Sequence[str], seconds: float | None
) -> None:
    """A receipt; `place` is the folder that came to be, `undone` what was asked for and not done."""
    say = page.say
    if place:
        page.banner(say("DONE: {place}", place=place), "green")
    else:
        page.banner(say("RECEIPT"), "")
    _changed(page, value)
    for note in undone:
        page.line(f"! {say.translated(note)}", "yellow", indent=2)
    rows = [(say("plan"), value.plan), (say("made by"), value.tool)]
    if seconds is not None:
        rows.append((say("time"), say("{seconds} s", seconds=say.decimal(f"{seconds:.1f}"))))
    page.pairs(rows)


def _changed(page: Page, value: Receipt) -> None:
    say = page.say
    changed = [file for file in value.files if file.before != file.after]
    page.table((), (_file(file) for file in changed))
    same = len(value.files) - len(changed)
    if same:
        page.line(
            "= " + say("{files} bit for bit as before", files=say.count(same, "file")),
            "dim",
            indent=2,
        )


def _file(file: ReceiptFile) -> tuple[Cell, str, str, str]:
    sign = Cell("~", "yellow")
    if file.before is None:
        sign = Cell("+", "green")
    elif file.after is None:
        sign = Cell("-", "red")
    before, after = (
        digest[:DIGEST_SHOWN] if digest else "" for digest in (file.before, file.after)
    )
    return sign, file.path, before, after


def verification(page: Page, value: Verification) -> None:
    """Every check with its evidence. What was not run is not passed."""
    say = page.say
    if value.passed:
        page.banner(say("VERIFIED"), "green")
    else:
        page.banner(say("NOT VERIFIED"), "red")
    rows = []
    for check in value.checks:
        pretty, plain, style = STATUSES[check.status]
        sign = page.screen.sign(pretty, plain)
        said = (say.translated(check.name), say.translated(check.evidence))
        rows.append((Cell(sign, style), Cell(say(check.status), style), *said))
    page.table((), rows)
    counts = {status: sum(check.status == status for check in value.checks) for status in STATUSES}
    page.line(
        say(
            "{passed} passed, {failed} failed, {skipped} skipped, {unknown} unknown",
            passed=counts["pass"],
            failed=counts["fail"],
            skipped=counts["skipped"],
            unknown=counts["unknown"],
        ),
        "dim",
        indent=2,
    )
    for check in value.checks:
        if check.measured is not None:
            long_texts(page, check.measured)
    if value.behaviour is not None:
        behaviour(page, value.behaviour)
