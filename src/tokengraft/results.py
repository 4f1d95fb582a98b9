"""What was done and what was proved."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tokengraft.documents import Document, Value

Status = Literal["pass", "fail", "skipped", "unknown"]


class ReceiptFile(Value):
    """One file before and after; None where it did not exist (then) or is gone (now)."""

    path: str
    before: str | None
    after: str | None


class Receipt(Document):
    """What was done. Holds no times, hosts or absolute paths: the same plan, the same bytes."""

    kind: ClassVar[str] = "receipt"
    schema_: Literal["tokengraft/receipt"] = Field(default="tokengraft/receipt", alias="schema")
    version: Literal[1] = 1
    plan: str
    tool: str
    files: tuple[ReceiptFile, ...]


class Check(Value):
    """One claim about a result and what became of it. Never run is never passed."""

    name: str
    status: Status
    evidence: str


class Verification(Document):
    """All checks of one result."""

    kind: ClassVar[str] = "verify"
    schema_: Literal["tokengraft/verify"] = Field(default="tokengraft/verify", alias="schema")
    version: Literal[1] = 1
    passed: bool
    checks: tuple[Check, ...]
