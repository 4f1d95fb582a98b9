"""Records of a training, as a reader takes them: what it does not know, it passes over.

Those who write the records have strict documents of their own. A report is made of records of other
versions too, so that every field but the names may be missing here, and further ones may be there.
"""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator


class Lenient(BaseModel):
    """A part of a record; unknown keys are no mistake."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class CurvePoint(Lenient):
    """One line of `curves.jsonl`; losses are in nats a token.

    Attributes:
        held_out_loss: on text that is not trained on; `validation` to some stages.
    """

    stage: str
    step: int
    loss: float | None = None
    held_out_loss: float | None = Field(
        default=None, validation_alias=AliasChoices("held_out_loss", "validation")
    )
    lr: float | None = None
    seconds: float | None = None
    tokens: int | None = None


class StageRecordRead(Lenient):
    """What one finished stage left; see `trainings.StageRecord`."""

    stage: str
    seconds: float | None = None
    adapter: bool = False
    notes: tuple[str, ...] = ()
    figures: dict[str, float] = Field(default_factory=dict)


class RepeatTest(Lenient):
    """Whether the model writes the token when it is asked to repeat it."""

    passed: bool
    highest: float | None = None
    old_tokens: float | None = None


class TokenRecord(Lenient):
    """What is known of one new token after training; see `trainings.TokenVerdict`."""

    text: str
    id: int
    use: str = ""
    verdict: str = "unknown"
    reasons: tuple[str, ...] = ()
    read: float | None = None
    write: float | None = None
    leak: float | None = None
    uses: int | None = None
    positions_saved: int | None = None
    bytes_saved: int | None = None
    repeats: RepeatTest | None = None


class SeenToken(Lenient):
    """How often the training data hold a new token."""

    text: str
    id: int = 0
    in_loss: int = 0
    given: int = 0
    rows: int = 0


class Dropped(Lenient):
    """A row of the data that is not trained on."""

    line: int
    reason: str = ""


class LengthBin(Lenient):
    """Rows of at most `up_to` tokens, and more than the bin before."""

    up_to: int
    rows: int


class Counts(Lenient):
    """What became of the rows of the data."""

    read: int = 0
    train: int = 0
    held_out: int = 0
    dropped: int = 0
    truncated: int = 0
    no_stop: int = 0
    complete: bool = True


class DataRecord(Lenient):
    """What the training data hold."""

    source: str = ""
    length: int = 0
    rows: Counts = Counts()
    forms: dict[str, int] = Field(default_factory=dict)
    reasons: dict[str, int] = Field(default_factory=dict)
    dropped: tuple[Dropped, ...] = ()
    tokens: tuple[SeenToken, ...] = ()
    unseen: tuple[str, ...] = ()
    never_in_loss: tuple[str, ...] = ()
    lengths: tuple[LengthBin, ...] = ()
    n_tokens: int = 0
    n_in_loss: int = 0
    notes: tuple[str, ...] = ()


class Rate(Lenient):
    """A share with its 95 % interval: how many of `n`.

    Attributes:
        hits: how many; whatever the record calls them (`emitted`, `closed`, `stopped` ...).
        before: the same of the untrained rows.
    """

    n: int
    hits: int | None = None
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    before: Rate | None = None

    @model_validator(mode="before")
    @classmethod
    def _name_hits(cls, value: Any) -> Any:  # noqa: ANN401 - a JSON value
        if not isinstance(value, dict) or "hits" in value:
            return value
        known = {"n", "rate", "low", "high", "before"}
        counts = [v for k, v in value.items() if k not in known and type(v) is int]
        return {**value, "hits": counts[0]} if len(counts) == 1 else value


class TokenBehaviour(Lenient):
    """What a model does with one new token on held-out prompts."""

    text: str
    wanted: Rate | None = None
    neutral: Rate | None = None
    near_miss: Rate | None = None
    elsewhere: Rate | None = None
    closes: Rate | None = None
    before: TokenBehaviour | None = None


class NeutralBits(Lenient):
    """Bits a byte on text in which no new token belongs."""

    before: float | None = None
    after: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None


class Example(Lenient):
    """One prompt and what came of it."""

    kind: str = ""
    prompt: str = ""
    output: str = ""
    expected: str = ""
    ok: bool | None = None


class BehaviourRecord(Lenient):
    """What a model does on held-out prompts, and what it did before it was trained.

    Attributes:
        tools, read_back, stop: shares by name, as `Rate` or as a count beside `n`.
    """

    suite: str = ""
    n_prompts: int | None = None
    tokens: tuple[TokenBehaviour, ...] = ()
    tools: dict[str, Any] | None = None
    read_back: dict[str, Any] | None = None
    stop: dict[str, Any] | None = None
    neutral_bits: NeutralBits | None = None
    examples: tuple[Example, ...] = ()
    notes: tuple[str, ...] = ()
    before: BehaviourRecord | None = None


class TrainingRecords(Lenient):
    """All that lies in the folder beside a result; None where a record is missing.

    Attributes:
        folder: its name.
        unreadable: records that are there and cannot be read, with the reason.
    """

    folder: str
    stages: tuple[StageRecordRead, ...] = ()
    curves: tuple[CurvePoint, ...] = ()
    tokens: tuple[TokenRecord, ...] | None = None
    token_notes: tuple[str, ...] = ()
    data: DataRecord | None = None
    behaviour: BehaviourRecord | None = None
    unreadable: tuple[tuple[str, str], ...] = ()
