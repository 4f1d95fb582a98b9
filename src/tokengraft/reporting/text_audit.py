"""The audit as people read it: the verdict first, then why, then everything that was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tokengraft.findings import Audit, Facts, Finding, Fix, Judgement, Severity
from tokengraft.reporting import escape, text_rows
from tokengraft.reporting.catalogue import Words
from tokengraft.reporting.fixes import toml_value
from tokengraft.reporting.screen import Cell, Page

VERDICTS: Final[dict[Judgement, tuple[str, str]]] = {
    "leave-as-is": ("LEAVE AS IS", "green"),
    "safe-change": ("SAFE CHANGE", "yellow"),
    "needs-training": ("NEEDS TRAINING", "magenta"),
    "do-not": ("DO NOT", "red"),
    "unknown": ("UNKNOWN", "cyan"),
}
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")
STYLES: Final[dict[Severity, str]] = {"error": "red", "warning": "yellow", "note": "cyan"}


# What makes an audit one screen of about fifty lines; `--all` shows the rest.
REASONS_SHOWN: Final = 6
WHOLE_SHOWN: Final = 3
LINES_SHOWN: Final = 6


def audit(page: Page, value: Audit, *, everything: bool = False) -> None:
    """The verdict, its reasons, the findings and the facts; on one screen unless all is wanted."""
    say = page.say
    words, style = VERDICTS[value.verdict]
    goal = value.goal or "inference"
    page.banner(say("VERDICT for {goal}: {verdict}", goal=goal, verdict=say(words)), style)
    page.exact(value.source, "dim")
    reasons = value.reasons if everything else value.reasons[:REASONS_SHOWN]
    for reason in reasons:
        page.line(f"- {say.translated(reason)}", indent=2)
    _more(page, len(value.reasons) - len(reasons))
    page.heading(say("Findings"))
    if everything:
        findings(page, value.findings)
    else:
        _findings_in_short(page, value.findings)
    if value.rows is not None:
        text_rows.rows(page, value.rows, everything=everything)
    page.heading(say("Facts"))
    page.pairs(facts(say, value.facts) if everything else _facts_in_short(say, value.facts))
    if value.verdicts:
        page.heading(say("Verdict for each goal"))
        page.pairs(_goals(say, value.verdicts))


def _more(page: Page, number: int) -> None:
    if number > 0:
        page.line(
            page.say("... and {number} more: --all shows them", number=number), "dim", indent=2
        )


def _goals(say: Words, verdicts: Mapping[str, Judgement]) -> list[tuple[str, Cell]]:
    """A line for each verdict that occurs, with its goals."""
    rows: list[tuple[str, Cell]] = []
    for judged, (words, style) in VERDICTS.items():
        names = [name for name, verdict in verdicts.items() if verdict == judged]
        if names:
            rows.append((say(words), Cell(", ".join(names), style)))
    return rows


def findings(page: Page, found: tuple[Finding, ...]) -> None:
    """Findings by severity, each with its place, its reason and its fix."""
    if not found:
        page.line(page.say("none"), indent=2)
        return
    for finding in _by_severity(found):
        _finding(page, finding)
    _counts(page, found)


def _findings_in_short(page: Page, found: tuple[Finding, ...]) -> None:
    """The gravest whole, one of each rule; the others as a line each; then how many are left."""
    if not found:
        page.line(page.say("none"), indent=2)
        return
    ordered = _by_severity(found)
    told: set[str] = set()
    rest: list[Finding] = []
    for finding in ordered:
        wanted = finding.severity != "note" and finding.rule not in told
        if wanted and len(told) < WHOLE_SHOWN:
            told.add(finding.rule)
            _finding(page, finding, detail=2 * (page.screen.width - 8))
        else:
            rest.append(finding)
    for finding in rest[:LINES_SHOWN]:
        label = page.say(finding.severity).upper()
        text = f"  {label} {finding.rule}  {page.say.translated(finding.summary)}"
        page.exact(_cut(text, page.screen.width), STYLES[finding.severity])
    _more(page, len(rest) - LINES_SHOWN)
    _counts(page, found)
    if rest[:LINES_SHOWN]:
        page.line(page.say("--all shows the places and details too"), "dim", indent=2)


def _cut(text: str, width: int) -> str:
    shown = escape.inline(text)
    return shown if len(shown) <= width else shown[: width - 3].rstrip() + "..."


def _by_severity(found: tuple[Finding, ...]) -> list[Finding]:
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _counts(page: Page, found: tuple[Finding, ...]) -> None:
    counts = (page.say.count(sum(f.severity == s for f in found), s) for s in SEVERITIES)
    page.line(", ".join(counts), "dim", indent=2)


def _finding(page: Page, finding: Finding, detail: int = 0) -> None:
    """One finding; `detail` cuts its detail to so many characters, 0 to none."""
    say = page.say
    style = STYLES[finding.severity]
    label = say(finding.severity).upper()
    page.exact(f"  {label} {finding.rule}  {finding.subject}", f"bold {style}")
    page.line(say.translated(finding.summary), indent=4)
    if finding.detail:
        said = say.translated(finding.detail)
        page.line(_cut(said, detail) if detail else said, "dim", indent=4)
    if finding.fix is not None:
        safety = f" ({say(finding.safety)})" if finding.safety else ""
        page.line(
            say("fix{safety}: {fix}", safety=safety, fix=fix(say, finding.fix)), "green", indent=4
        )


def fix(say: Words, value: Fix) -> str:
    """A fix as the section of a recipe that it is; putting files into step needs none."""
    if value.operation == "reconcile":
        return say("put the files into step (every plan does so first)")
    settings = ", ".join(f"{key} = {toml_value(item)}" for key, item in value.settings.items())
    return f"[{value.operation}] {settings}".rstrip()


def facts(say: Words, value: Facts) -> list[tuple[str, str]]:
    """The facts table; what is not known is said to be unknown."""
    unknown = say("unknown")

    def known(number: int | None) -> str:
        return unknown if number is None else say.number(number)

    by = say("by the weights" if value.n_rows_from == "weights" else "by config.json")
    rows_from = f" ({by})" if value.n_rows_from else ""
    tied = unknown if value.tied is None else say("yes" if value.tied else "no")
    weights = say("none") if value.weights_bytes is None else say.size(value.weights_bytes)
    commit = [] if value.commit is None else [(say("commit"), value.commit)]
    return [
        *commit,
        (say("family"), value.family),
        (say("tokens"), known(value.n_tokens)),
        (say("rows"), known(value.n_rows) + rows_from),
        (say("spare rows"), known(value.spare_rows)),
        (say("rows read"), say("yes" if value.rows_read else "no")),
        (say("tied embeddings"), tied),
        (say("context"), known(value.context)),
        (say("trained context"), known(value.trained_context)),
        (say("weights"), weights),
        (say("tensors"), known(value.n_tensors)),
        (say("stop ids"), ", ".join(map(str, value.stop_ids)) or say("none")),
        (say("turn end"), _token(say, value.turn_end)),
        (
            say("named tokens"),
            ", ".join(f"{name} {_token(say, text)}" for name, text in value.named.items())
            or say("none"),
        ),
        (
            say("added tokens"),
            ", ".join(f"{file} {number}" for file, number in value.added_tokens.items())
            or say("none"),
        ),
    ]


def _facts_in_short(say: Words, value: Facts) -> list[tuple[str, str]]:
    """The same table with what belongs together in one line."""
    table = dict(facts(say, value))
    joined = {
        "family": ("tied embeddings",),
        "tokens": ("rows", "spare rows"),
        "context": ("trained context",),
        "weights": ("tensors",),
        "stop ids": ("turn end",),
    }
    rows: list[tuple[str, str]] = []
    for first, others in joined.items():
        parts = [table.pop(say(first)), *(f"{say(one)} {table.pop(say(one))}" for one in others)]
        rows.append((say(first), "; ".join(parts)))
    return [*rows, *table.items()]


def _token(say: Words, text: str | None) -> str:
    return say("none") if text is None else escape.quoted(text)
