"""Findings as GitHub workflow commands: one annotation a line."""

from __future__ import annotations

from typing import Final

from tokengraft.findings import Audit, Severity
from tokengraft.reporting import escape
from tokengraft.reporting.catalogue import ENGLISH, Words
from tokengraft.reporting.sarif import file_of

COMMANDS: Final[dict[Severity, str]] = {"error": "error", "warning": "warning", "note": "notice"}


def findings(audit: Audit, say: Words = ENGLISH) -> str:
    """Annotations of all findings; empty text for none."""
    lines = []
    for finding in audit.findings:
        file = file_of(finding.subject)
        place = f"file={escape.github_property(file)}," if file else ""
        title = escape.github_property(f"{finding.rule} {finding.subject}")
        said = say.translated(finding.summary)
        if finding.detail:
            said += f". {say.translated(finding.detail)}"
        command = COMMANDS[finding.severity]
        lines.append(f"::{command} {place}title={title}::{escape.github_data(said)}\n")
    return "".join(lines)
