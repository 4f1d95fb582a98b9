"""Findings as GitHub workflow commands: one annotation a line."""

from __future__ import annotations

from typing import Final

from tokengraft.findings import Audit, Severity
from tokengraft.reporting import escape
from tokengraft.reporting.catalogue import ENGLISH, Words
from tokengraft.reporting.sarif import file_of, inside

COMMANDS: Final[dict[Severity, str]] = {"error": "error", "warning": "warning", "note": "notice"}


def findings(audit: Audit, say: Words = ENGLISH, *, folder: str = "") -> str:
    """Annotations of all findings; empty text for none.

    Args:
        folder: where the audited folder lies in the repository that is annotated; "" at its top.
    """
    lines = []
    for finding in audit.findings:
        file = inside(folder, file_of(finding.subject))
        place = f"file={escape.github_property(file)}," if file else ""
        title = escape.github_property(f"{finding.rule} {finding.subject}")
        said = say.translated(finding.summary)
        if finding.detail:
            said += f"\n{say.translated(finding.detail)}"
        command = COMMANDS[finding.severity]
        lines.append(f"::{command} {place}title={title}::{escape.github_data(said)}\n")
    return "".join(lines)
