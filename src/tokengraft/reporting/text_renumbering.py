"""What removing tokens does to all other ids: the part of a plan that is marked unsafe."""

from __future__ import annotations

from typing import Final

from tokengraft.plans import Plan
from tokengraft.renumbering import Moved, Trimmed
from tokengraft.reporting import escape
from tokengraft.reporting.catalogue import Words
from tokengraft.reporting.screen import Page

RUNS_SHOWN: Final = 12


def renumbering(page: Page, value: Plan) -> None:
    """How many ids go, where the others are from then on, and what it saves."""
    found = value.renumbering
    if found is None:
        return
    say = page.say
    page.heading(say("Unsafe: ids move"))
    if found.trimmed is not None:
        page.item("-", _trimmed(say, found.trimmed), "red")
    saved = _saved(say, found.n_rows_before, found.n_rows_after, found.bytes_saved)
    page.item("-", saved, "red")
    heads = (say("old ids"), say("new ids"), "")
    shown = found.moved[:RUNS_SHOWN]
    page.table(heads, (_run(say, run) for run in shown))
    if len(found.moved) > len(shown):
        more = say.number(len(found.moved) - len(shown))
        page.line(
            say("... and {number} more runs: --json has all of them", number=more), "dim", indent=2
        )


def removed_words(say: Words, value: Plan) -> str:
    """The part of the one-line sum, "" where nothing goes."""
    found = value.renumbering
    if found is None:
        return ""
    tokens = say.count(found.removed, "token")
    return say("UNSAFE: {tokens} removed, ids move", tokens=tokens)


def _saved(say: Words, before: int, after: int, bytes_saved: int) -> str:
    if before == after:
        return say(
            "the matrices keep their {rows}: rows of removed tokens go behind the last one and are "
            "spare",
            rows=say.count(before, "row"),
        )
    return say(
        "the matrices go from {before} to {after} rows, and the weights are {size} smaller",
        before=say.number(before),
        after=say.number(after),
        size=say.size(bytes_saved),
    )


def _run(say: Words, run: Moved) -> tuple[str, str, str]:
    same = say("as before") if run.first == run.to else ""
    return _ids(run.first, run.count), _ids(run.to, run.count), same


def _ids(first: int, count: int) -> str:
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def _trimmed(say: Words, found: Trimmed) -> str:
    return say(
        "{corpus}, {size}, {ids} ids: it uses {unused} less than {least} times; {steps} of them stay "
        "because others are made from them, {protected} for another reason",
        corpus=escape.quoted(found.corpus),
        size=say.size(found.size_bytes),
        ids=say.number(found.n_ids),
        unused=say.count(found.unused, "piece"),
        least=say.number(found.min_count),
        steps=say.number(found.steps),
        protected=say.number(found.protected),
    )
