"""What a model does with its new tokens, as two small tables and a few answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tokengraft.behaviour import Behaviour, Example, Measured, Rate, Suite
from tokengraft.reporting.catalogue import Words
from tokengraft.reporting.screen import Cell, Page

EXAMPLES_SHOWN: Final = 6


def behaviour(page: Page, value: Behaviour) -> None:
    """Shares of the new tokens, of what was read back, and the first answers that went wrong."""
    say = page.say
    if value.tokens:
        page.heading(say("New tokens: said, of prompts that want them or do not"))
        heads = (say("token"), say("wanted"), say("neutral"), say("near miss"), say("ends"))
        page.table(heads, list(_tokens(say, value)))
    shares = list(_shares(say, value))
    if shares:
        page.heading(say("Answers"))
        page.table((say("what"), say("share"), say("before")), shares)
    for note in value.notes:
        page.line(say.translated(note), "dim", indent=2)
    wrong = [example for example in value.examples if not example.ok][:EXAMPLES_SHOWN]
    if wrong:
        page.heading(say("Answers that are not as wanted"))
        page.table((), [_example(one) for one in wrong])


def _tokens(say: Words, value: Behaviour) -> Iterator[tuple[str | Cell, ...]]:
    before = {} if value.before is None else {token.text: token for token in value.before.tokens}
    if len(value.tokens) > 1:
        yield from _together(say, value)
    for token in value.tokens:
        rates = (token.wanted, token.neutral, token.near_miss, token.closes)
        yield (token.text, *(share(say, rate) for rate in rates))
        old = before.get(token.text)
        if old is not None:
            was = (old.wanted, old.neutral, old.near_miss, old.closes)
            yield (Cell(say("  before"), "dim"), *(Cell(share(say, r), "dim") for r in was))


def _together(say: Words, value: Behaviour) -> Iterator[tuple[str | Cell, ...]]:
    """All tokens in one row, a prompt counted once."""
    was = None if value.before is None else value.before.said
    if value.said is not None:
        told = (value.said.wanted, value.said.neutral, value.said.near_miss)
        yield (say("all together, by prompts"), *(share(say, rate) for rate in told), "")
    if value.said is not None and was is not None:
        told = (was.wanted, was.neutral, was.near_miss)
        shown = (Cell(share(say, rate), "dim") for rate in told)
        yield (Cell(say("  before"), "dim"), *shown, "")


def _shares(say: Words, value: Behaviour) -> Iterator[tuple[str, str, str]]:
    names = {
        "role": say("role"),
        "modules": say("modules of thought"),
        "thoughts": say("thoughts, word for word"),
        "content": say("content"),
        "parsed": say("calls read back"),
        "names": say("calls by the right name"),
        "arguments": say("calls with the right arguments"),
        "stopped": say("end by themselves"),
    }
    now, was = _rates(value), {} if value.before is None else _rates(value.before)
    for key, name in names.items():
        if now.get(key) is not None:
            yield name, share(say, now[key]), share(say, was.get(key))


def _rates(value: Behaviour | Measured) -> dict[str, Rate | None]:
    found: dict[str, Rate | None] = {}
    for part in (value.read_back, value.tools, value.stop):
        if part is not None:
            found |= dict(part)
    return found


def share(say: Words, rate: Rate | None) -> str:
    """A share with its interval: 97.5 % (94–99)."""
    if rate is None:
        return "–"
    low, high = (say.decimal(f"{100 * end:.0f}") for end in (rate.low, rate.high))
    return f"{say.decimal(f'{100 * rate.rate:.1f}')} % ({low}–{high})"


def _example(one: Example) -> tuple[str, str]:
    return one.prompt, one.output


def suite(page: Page, value: Suite) -> None:
    """How much of each kind a suite asks, and the bounds that it sets."""
    say = page.say
    page.banner(say("SUITE: {name}", name=value.name), "")
    kinds = [prompt.kind for prompt in value.prompts]
    rows = [(kind, say.number(kinds.count(kind))) for kind in dict.fromkeys(kinds)]
    page.pairs([*rows, ("text", say.number(len(value.texts)))])
    if value.bounds is not None:
        bounds = value.bounds.model_dump(exclude_none=True, exclude={"kind"})
        page.heading(say("Bounds"))
        page.pairs([(name, say.decimal(f"{bound:g}")) for name, bound in bounds.items()])
