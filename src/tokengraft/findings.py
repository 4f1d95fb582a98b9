"""What an audit says: findings, and a verdict per goal."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tokengraft.documents import Document, Value
from tokengraft.row_findings import Rows

Severity = Literal["error", "warning", "note"]
Safety = Literal["safe", "unsafe", "display-only"]
Goal = Literal["inference", "roles", "tools", "thinking", "protocol", "context", "pad", "lora"]
# `unknown`: what the answer rests on was not at hand, and nothing that was read speaks against the
# checkpoint. `do-not` is a finding, `unknown` is none.
Judgement = Literal["leave-as-is", "safe-change", "needs-training", "do-not", "unknown"]

GOALS: tuple[Goal, ...] = (
    "inference",
    "roles",
    "tools",
    "thinking",
    "protocol",
    "context",
    "pad",
    "lora",
)


class Fix(Value):
    """An operation that mends a finding, as a section of a recipe.

    `operation` names the section (`pad`, `stop`, `reconcile` ...); `settings` are its keys.
    """

    operation: str
    settings: dict[str, str | int | bool] = Field(default_factory=dict)


class Finding(Value):
    """Something about a checkpoint that its user should know.

    Attributes:
        rule: the code of the rule, e.g. `T101`; `tokengraft explain T101` tells more.
        subject: file with JSON pointer, or `tensor[row]`.
        summary: one line without a period.
        detail: numbers and names; may be empty.
    """

    rule: str
    severity: Severity
    subject: str
    summary: str
    detail: str = ""
    fix: Fix | None = None
    safety: Safety | None = None


class Facts(Value):
    """The numbers that verdicts rest on; None where it is not known."""

    family: str
    n_tokens: int | None
    n_rows: int | None
    n_rows_from: Literal["weights", "config"] | None
    spare_rows: int | None
    tied: bool | None
    context: int | None
    trained_context: int | None
    weights_bytes: int | None
    n_tensors: int | None
    added_tokens: dict[str, int]
    named: dict[str, str | None]
    stop_ids: tuple[int, ...]
    turn_end: str | None
    rows_read: bool = False
    # Of a repository of the Hub: what was read, so that it can be read again.
    commit: str | None = None


class Verdict(Value):
    """The answer for one goal."""

    goal: Goal
    verdict: Judgement
    reasons: tuple[str, ...]
    next: str


class Audit(Document):
    """The answer to "does it make sense to change anything here?"."""

    kind: ClassVar[str] = "audit"
    schema_: Literal["tokengraft/audit"] = Field(default="tokengraft/audit", alias="schema")
    version: Literal[1] = 1
    source: str
    goal: Goal | None = None
    verdict: Judgement
    verdicts: dict[str, Judgement] | None = None
    reasons: tuple[str, ...] = ()
    next: str = ""
    findings: tuple[Finding, ...] = ()
    facts: Facts
    rows: Rows | None = None
