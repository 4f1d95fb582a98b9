"""Say whether a checkpoint needs any change: rules that find defects, and a verdict per goal."""

from __future__ import annotations

from collections.abc import Mapping

# Importing a module of rules registers them; one module holds one subject.
from tokengraft.auditing import (
    around,
    axes,
    context,
    cutting,
    dialects,
    ending,
    files,
    hostile,
    matching,
    merges,
    named,
    padding,
    purposes,
    rope,
    rows,
    safety,
    sizes,
    steps,
    stopping,
    tables,
    template,
    tokens,
    writing,
)
from tokengraft.auditing import verdict_settings as settings
from tokengraft.auditing import verdict_tokens as with_tokens
from tokengraft.auditing.deep import rules as row_rules
from tokengraft.auditing.deep import training as row_training
from tokengraft.auditing.deep.reading import read_rows
from tokengraft.auditing.facts import facts
from tokengraft.auditing.rule import RULES, Rule, explain
from tokengraft.auditing.verdict import Case, Judge, inference
from tokengraft.checkpoint import Checkpoint
from tokengraft.findings import GOALS, Audit, Finding, Goal, Severity, Verdict
from tokengraft.row_findings import Rows

__all__ = ["RULES", "Rule", "audit", "explain", "facts", "find", "read_rows", "verdict"]

_SUBJECTS = (
    *(tokens, tables, merges, matching, steps, cutting, around),
    *(named, purposes, padding, stopping, ending, rows, axes, context, rope, sizes),
    *(template, writing, files, dialects, safety, hostile),
)
_SUBJECTS_OF_ROWS = (row_rules, row_training)
_WEIGHT: Mapping[Severity, int] = {"error": 0, "warning": 1, "note": 2}
_JUDGES: Mapping[Goal, Judge] = {
    "inference": inference,
    "roles": with_tokens.new_tokens,
    "tools": with_tokens.new_tokens,
    "thinking": with_tokens.new_tokens,
    "protocol": with_tokens.protocol,
    "context": settings.context,
    "pad": settings.pad,
    "lora": settings.lora,
}


def find(checkpoint: Checkpoint, rows: Rows | None = None) -> tuple[Finding, ...]:
    """Everything that the rules find, the gravest first; the order is always the same."""
    read = rows is not None and bool(rows.matrices)
    answered = {code for rule in RULES.values() if read for code in rule.answers}
    found = [
        finding
        for rule in RULES.values()
        if rule.code not in answered
        for finding in rule(checkpoint, rows)
    ]
    found.sort(key=lambda f: (_WEIGHT[f.severity], f.rule, f.subject, f.summary))
    return tuple(found)


def verdict(
    checkpoint: Checkpoint,
    goal: Goal,
    *,
    findings: tuple[Finding, ...],
    source: str,
    rows: Rows | None = None,
) -> Verdict:
    """The answer for one goal, from findings that were made already."""
    case = Case(goal, checkpoint, facts(checkpoint, rows), findings, source, rows)
    return _JUDGES[goal](case)


def audit(
    checkpoint: Checkpoint, *, goal: Goal | None = None, source: str, rows: Rows | None = None
) -> Audit:
    """Say whether it makes sense to change anything, and why.

    Args:
        goal: what the checkpoint is for; without one, the answer is for running the model as it is,
            and a table gives the verdict of every goal.
        source: what the user typed, for the commands in the answer.
        rows: what `read_rows` says, if it was asked.
    """
    findings = find(checkpoint, rows)
    numbers = facts(checkpoint, rows)
    wanted = (goal,) if goal is not None else GOALS
    answers = {
        one: _JUDGES[one](Case(one, checkpoint, numbers, findings, source, rows)) for one in wanted
    }
    main = answers[goal or "inference"]
    return Audit(
        source=source,
        goal=goal,
        verdict=main.verdict,
        verdicts=None if goal else {one: answer.verdict for one, answer in answers.items()},
        reasons=main.reasons,
        next=main.next,
        findings=findings,
        facts=numbers,
        rows=rows,
    )
