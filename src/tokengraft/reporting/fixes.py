"""The fixes of an audit as a recipe that can be read, changed and planned."""

from __future__ import annotations

from tokengraft.findings import Audit, Finding, Fix
from tokengraft.reporting import escape
from tokengraft.reporting.catalogue import ENGLISH, Words

# Sections of which a recipe may have several; of all others the first fix counts.
_REPEATED = ("add", "rename")


def recipe_of(
    audit: Audit, source: str, say: Words = ENGLISH, *, wish: tuple[str, str] | None = None
) -> str:
    """A recipe with one section for each safe fix, each under the findings that ask for it.

    Nothing is asked for where the answer is `do-not`. Comments are in the language of `say`.

    Args:
        wish: a goal and the sections that it wants; they stand last, unless a fix is that section.
    """
    parts = ["version = 1\n" + f"base = {escape.toml_string(source)}\n"]
    if audit.verdict == "do-not":
        reasons = "".join(f"# {escape.inline(say.translated(r))}\n" for r in audit.reasons)
        return "\n".join(
            (*parts, f"# {say('The answer is do-not, so nothing is asked for.')}\n{reasons}")
        )
    operations = set()
    for fix, asking in _grouped(audit.findings):
        operations.add(fix.operation)
        head = "".join(f"# {escape.inline(_why(say, finding))}\n" for finding in asking)
        parts.append(head + _section(say, fix))
    if wish is not None and wish[0] not in operations:
        parts.append(wish[1])
    if len(parts) == 1:
        parts.append(f"# {say('The audit found nothing that a recipe can mend.')}\n")
    return "\n".join(parts)


def _grouped(findings: tuple[Finding, ...]) -> list[tuple[Fix, list[Finding]]]:
    groups: list[tuple[Fix, list[Finding]]] = []
    for finding in findings:
        if finding.fix is None or finding.safety != "safe":
            continue
        for fix, asking in groups:
            same = fix == finding.fix
            if same or (fix.operation == finding.fix.operation and fix.operation not in _REPEATED):
                asking.append(finding)
                break
        else:
            groups.append((finding.fix, [finding]))
    return groups


def _why(say: Words, finding: Finding) -> str:
    summary = say.translated(finding.summary)
    return f"{finding.rule} {say(finding.severity)}: {finding.subject}: {summary}"


def _section(say: Words, fix: Fix) -> str:
    if fix.operation == "reconcile":
        text = say("Nothing to write: every plan puts files that disagree into step first.")
        return f"# {text}\n"
    head = f"[[{fix.operation}]]" if fix.operation in _REPEATED else f"[{fix.operation}]"
    lines = [f"{key} = {toml_value(value)}\n" for key, value in fix.settings.items()]
    return f"{head}\n" + "".join(lines)


def toml_value(value: str | int | bool) -> str:  # noqa: FBT001  a value, not a switch
    """A setting of a fix as TOML."""
    if isinstance(value, str):
        return escape.toml_string(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
