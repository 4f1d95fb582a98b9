"""The audit as people read it: the verdict first, then why, then everything that was found."""

from __future__ import annotations

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
}
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")
STYLES: Final[dict[Severity, str]] = {"error": "red", "warning": "yellow", "note": "cyan"}


def audit(page: Page, value: Audit) -> None:
    """The verdict, its reasons, the findings and the facts."""
    say = page.say
    words, style = VERDICTS[value.verdict]
    goal = value.goal or "inference"
    page.banner(say("VERDICT for {goal}: {verdict}", goal=goal, verdict=say(words)), style)
    page.exact(value.source, "dim")
    for reason in value.reasons:
        page.line(f"- {reason}", indent=2)
    page.heading(say("Findings"))
    findings(page, value.findings)
    if value.rows is not None:
        text_rows.rows(page, value.rows)
    page.heading(say("Facts"))
    page.pairs(facts(say, value.facts))
    if value.verdicts:
        page.heading(say("Verdict for each goal"))
        rows = (
            (name, Cell(say(VERDICTS[judged][0]), VERDICTS[judged][1]))
            for name, judged in value.verdicts.items()
        )
        page.pairs(rows)


def findings(page: Page, found: tuple[Finding, ...]) -> None:
    """Findings by severity, each with its place, its reason and its fix."""
    say = page.say
    if not found:
        page.line(say("none"), indent=2)
        return
    for severity in SEVERITIES:
        for finding in found:
            if finding.severity == severity:
                _finding(page, finding)
    counts = (say.count(sum(f.severity == s for f in found), s) for s in SEVERITIES)
    page.line(", ".join(counts), "dim", indent=2)


def _finding(page: Page, finding: Finding) -> None:
    say = page.say
    style = STYLES[finding.severity]
    label = say(finding.severity).upper()
    page.exact(f"  {label} {finding.rule}  {finding.subject}", f"bold {style}")
    page.line(finding.summary, indent=4)
    if finding.detail:
        page.line(finding.detail, "dim", indent=4)
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

    rows_from = f" ({say('from')} {value.n_rows_from})" if value.n_rows_from else ""
    tied = unknown if value.tied is None else say("yes" if value.tied else "no")
    weights = say("none") if value.weights_bytes is None else say.size(value.weights_bytes)
    return [
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


def _token(say: Words, text: str | None) -> str:
    return say("none") if text is None else escape.quoted(text)
