"""What was done and what was proved."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tokengraft.behaviour import Behaviour
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


class Estimate(Value):
    """A mean over texts, with its 95 % bootstrap interval; None for both ends where there is one text."""

    mean: float
    low: float | None
    high: float | None


class Loss(Value):
    """Loss of the tokens in one range of positions, the same tokens before and after.

    Attributes:
        text_tokens: length of the texts.
        seen_before: how much of it the base was given: the last part, where it is less.
        begin, end: the range in a text; its first token is at 0 and is never foretold.
        n_texts: how many texts were read.
        before, after, difference: nats a token; None where a loss was not finite.
    """

    text_tokens: int
    seen_before: int
    begin: int
    end: int
    n_texts: int
    before: Estimate | None
    after: Estimate | None
    difference: Estimate | None


class Passkeys(Value):
    """Five digits hidden in texts and asked for at their end.

    Attributes:
        depth_percent: how much of the text stands before the key.
        found_before, found_after: keys of which every token was the likeliest one.
        before, after: mean log-probability of a whole key, in nats; None where it was not finite.
    """

    text_tokens: int
    depth_percent: int
    n_keys: int
    found_before: int
    found_after: int
    before: float | None
    after: float | None


class LongTexts(Value):
    """What base and result make of texts up to the new length.

    Attributes:
        texts: names of the files that were read.
        trained_tokens: where the scaling starts.
        wanted_tokens: the length that the result states.
        n_windows, window_tokens: the windows that were taken from the texts, and their length.
        dtype: the kind of number in which both models computed.
    """

    texts: tuple[str, ...]
    trained_tokens: int
    wanted_tokens: int
    n_windows: int
    window_tokens: int
    dtype: str
    losses: tuple[Loss, ...]
    passkeys: tuple[Passkeys, ...]


class Check(Value):
    """One claim about a result and what became of it. Never run is never passed."""

    name: str
    status: Status
    evidence: str
    measured: LongTexts | None = None


class Verification(Document):
    """All checks of one result; `behaviour` is what a suite measured, where one was asked."""

    kind: ClassVar[str] = "verify"
    schema_: Literal["tokengraft/verify"] = Field(default="tokengraft/verify", alias="schema")
    version: Literal[1] = 1
    passed: bool
    checks: tuple[Check, ...]
    behaviour: Behaviour | None = None
