"""What base and result make of long texts, as two small tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tokengraft.reporting.catalogue import Words
from tokengraft.reporting.screen import Cell, Page
from tokengraft.results import Estimate, LongTexts, Loss, Passkeys

CLEARLY_BETTER: Final = "green"
CLEARLY_WORSE: Final = "yellow"


def long_texts(page: Page, value: LongTexts) -> None:
    """Losses by position and passkeys by depth, before and after."""
    say = page.say
    page.heading(say("Long texts: nats a token, before and after"))
    heads = (say("text"), say("positions"), say("windows"), say("before"), say("after"))
    rows = [tuple(_loss(page, loss)) for loss in value.losses]
    page.table((*heads, say("difference"), "95 %"), rows, right=frozenset(range(6)))
    if any(loss.seen_before < loss.text_tokens for loss in value.losses):
        page.line(
            say("* the base was given the last {number} alone", number=say.number(_least(value))),
            "dim",
            indent=2,
        )
    if value.passkeys:
        page.heading(say("Passkeys: found, and log-probability of a key in nats"))
        found = (say("text"), say("depth"), say("before"), say("after"))
        keys = [tuple(_passkeys(say, cell)) for cell in value.passkeys]
        page.table(
            (*found, say("log-p before"), say("log-p after")), keys, right=frozenset(range(6))
        )


def _loss(page: Page, loss: Loss) -> Iterator[str | Cell]:
    say = page.say
    mark = "*" if loss.seen_before < loss.text_tokens else ""
    yield say.number(loss.text_tokens)
    yield say.number(loss.begin) + page.screen.sign("–", "-") + say.number(loss.end - 1) + mark
    yield say.number(loss.n_texts)
    yield _mean(say, loss.before)
    yield _mean(say, loss.after)
    apart = loss.difference
    yield Cell(_mean(say, apart, sign="+"), _style(apart))
    if apart is None or apart.low is None or apart.high is None:
        yield ""
    else:
        ends = (say.decimal(f"{end:+.3f}") for end in (apart.low, apart.high))
        yield say("{low} to {high}", **dict(zip(("low", "high"), ends, strict=True)))


def _passkeys(say: Words, cell: Passkeys) -> Iterator[str]:
    yield say.number(cell.text_tokens)
    yield f"{cell.depth_percent} %"
    for found in (cell.found_before, cell.found_after):
        yield say("{found} of {number}", found=found, number=cell.n_keys)
    for value in (cell.before, cell.after):
        yield say("not finite") if value is None else say.decimal(f"{value:.1f}")


def _mean(say: Words, value: Estimate | None, *, sign: str = "") -> str:
    return say("not finite") if value is None else say.decimal(f"{value.mean:{sign}.3f}")


def _style(apart: Estimate | None) -> str:
    if apart is None or apart.low is None or apart.high is None:
        return ""
    if apart.low > 0:
        return CLEARLY_WORSE
    return CLEARLY_BETTER if apart.high < 0 else ""


def _least(value: LongTexts) -> int:
    return min(loss.seen_before for loss in value.losses)
