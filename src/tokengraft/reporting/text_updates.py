"""Low-rank updates: the part of a plan that is about a baked adapter."""

from __future__ import annotations

from collections import Counter
from typing import Final

from tokengraft.low_rank import updates_by_tensor
from tokengraft.plans import Plan
from tokengraft.reporting.screen import Page

KINDS_SHOWN: Final = 20


def updates(page: Page, value: Plan) -> None:
    """One line for each kind of tensor: their names without the numbers of layers and experts."""
    found = updates_by_tensor(value.edits)
    if not found:
        return
    say = page.say
    kinds = Counter(
        ".".join("*" if part.isdecimal() else part for part in tensor.split("."))
        for tensor in found
    )
    page.heading(say("Low-rank updates"))
    for kind, count in kinds.most_common(KINDS_SHOWN):
        page.item("~", f"{kind}: {say.count(count, 'tensor')}", "yellow")
    if len(kinds) > KINDS_SHOWN:
        page.line(say("... and {count} more", count=len(kinds) - KINDS_SHOWN), "dim", indent=2)
