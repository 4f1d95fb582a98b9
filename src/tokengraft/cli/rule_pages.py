"""Rules as the documents that views know."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokengraft import flow
    from tokengraft.answers import Rule


def rule_of(page: flow.RulePage) -> Rule:
    """A rule with its page as text; the title is not repeated there."""
    from tokengraft.answers import Rule

    sections = (f"## {heading}\n\n{text}\n" for heading, text in page.sections.items())
    return Rule(code=page.code, title=page.title, severity=page.severity, text="\n".join(sections))
