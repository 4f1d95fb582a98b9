"""What continuing BPE came to: the part of a plan that is about its corpora."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokengraft.extensions import Extension
from tokengraft.plans import Plan, PlannedToken
from tokengraft.reporting import escape
from tokengraft.reporting.catalogue import Words
from tokengraft.reporting.screen import Page

TOKENS_SHOWN: Final = 40
LEARNED_SHOWN: Final = 12  # of thousands that look alike


def shown_tokens(value: Plan) -> Sequence[PlannedToken]:
    """The tokens that a terminal has room for: what a person named first, then some learned ones."""
    if not any(token.piece is not None for token in value.tokens):
        return value.tokens[:TOKENS_SHOWN]
    named = [t for t in value.tokens if t.use != "extend" and t.action != "keep"]
    learned = [t for t in value.tokens if t.use == "extend"]
    return (*named[:TOKENS_SHOWN], *learned[:LEARNED_SHOWN])


def hidden_count(value: Plan, shown: Sequence[PlannedToken]) -> int:
    """How many tokens a person would look for in vain; those that only keep their ids are none."""
    with_pieces = any(token.piece is not None for token in value.tokens)
    listed = [t for t in value.tokens if not (with_pieces and t.action == "keep")]
    return max(0, len(listed) - len(shown))


def extensions(page: Page, value: Plan) -> None:
    """One paragraph for each corpus."""
    if not value.extensions:
        return
    page.heading(page.say("Learned from corpora"))
    for extension in value.extensions:
        page.item("+", _sum(page.say, extension), "green")
        page.line(_gain(page.say, extension), indent=4)
        if extension.rejected:
            page.line(_rejected(page.say, extension), "dim", indent=4)


def _sum(say: Words, extension: Extension) -> str:
    last = extension.first_id + extension.count - 1
    return say(
        "{corpus}, {size}: {pieces}, ids {first} to {last}; {steps} of them are steps to others",
        corpus=escape.quoted(extension.corpus),
        size=say.size(extension.size_bytes),
        pieces=say.count(extension.count, "piece"),
        first=extension.first_id,
        last=last,
        steps=say.number(extension.steps),
    )


def _gain(say: Words, extension: Extension) -> str:
    before, after = extension.ids_before, extension.ids_after
    return say(
        "the corpus takes {before} ids before and {after} after: {share}% fewer, "
        "{short} bytes an id before and {long} after",
        before=say.number(before),
        after=say.number(after),
        share=say.decimal(f"{100 * (1 - after / max(before, 1)):.1f}"),
        short=f"{extension.size_bytes / max(before, 1):.2f}",
        long=f"{extension.size_bytes / max(after, 1):.2f}",
    )


def _rejected(say: Words, extension: Extension) -> str:
    return say(
        "learned and rejected: {merges}, used less than those kept or less than {least} times "
        "({examples}, ...)",
        merges=say.count(extension.rejected, "merge"),
        least=extension.least_uses,
        examples=", ".join(map(escape.quoted, extension.examples)),
    )
