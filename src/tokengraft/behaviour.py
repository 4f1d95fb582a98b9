"""What a model is asked about its new tokens, and what it answered: suites, and what they measure."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, Self

from pydantic import Field, JsonValue, model_validator

from tokengraft.documents import Document, Value

Kind = Literal["wanted", "neutral", "near-miss"]
Share = float
Z95 = 1.959963984540054  # two-sided 95 % of the normal distribution
NEW_TOKENS = 128


# ── what is asked ────────────────────────────────────────────────────────────────────────────────


class Call(Value):
    """A tool call as it should be."""

    name: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)


class Thought(Value):
    """A module of thought that should be opened; `content` is only compared where it is given."""

    module: str
    content: str | None = None


class Wants(Value):
    """What a prompt should be answered with. What is left out is not looked at."""

    tokens: tuple[str, ...] = ()
    role: str | None = None
    thoughts: tuple[Thought, ...] | None = None
    tool_calls: tuple[Call, ...] | None = None
    content: str | None = None

    @property
    def asks_to_read_back(self) -> bool:
        """Whether more is wanted than tokens."""
        parts = (self.role, self.thoughts, self.tool_calls, self.content)
        return any(part is not None for part in parts)


class Prompt(Value):
    """A prompt, and whether new tokens are wanted after it.

    `wanted`: these are. `neutral`: none is. `near-miss`: none is, though the words are those of
    prompts where one would be. Either a conversation (`messages`, for the chat template) or a text to
    be continued (`prompt`).
    """

    kind: Kind
    messages: tuple[dict[str, JsonValue], ...] | None = Field(default=None, min_length=1)
    tools: tuple[dict[str, JsonValue], ...] | None = None
    chat_template_kwargs: dict[str, JsonValue] = Field(default_factory=dict)
    prompt: str | None = Field(default=None, min_length=1)
    wants: Wants = Wants()

    @model_validator(mode="after")
    def _is_one_prompt(self) -> Self:
        if (self.messages is None) == (self.prompt is None):
            raise ValueError("either messages or prompt is given")
        if self.kind == "wanted" and not self.wants.tokens:
            raise ValueError("a wanted prompt names its tokens: wants.tokens")
        if self.kind != "wanted" and self.wants.tokens:
            raise ValueError(f"a {self.kind} prompt wants no tokens")
        return self


class Text(Value):
    """Text in which no new token belongs: it should cost as many bits as before."""

    kind: Literal["text"]
    text: str = Field(min_length=1)


class Bounds(Value):
    """What has to hold, or the check fails. Shares are of 1; what is left out is only reported.

    Attributes:
        emitted, closed: least share for each token.
        neutral, near_miss: largest share for each token.
        stopped, role, thoughts, parsed, names, arguments: least share.
        neutral_bits: bits a byte that text may cost more than before.
    """

    kind: Literal["bounds"]
    emitted: Share | None = Field(default=None, ge=0, le=1)
    closed: Share | None = Field(default=None, ge=0, le=1)
    neutral: Share | None = Field(default=None, ge=0, le=1)
    near_miss: Share | None = Field(default=None, ge=0, le=1)
    stopped: Share | None = Field(default=None, ge=0, le=1)
    role: Share | None = Field(default=None, ge=0, le=1)
    thoughts: Share | None = Field(default=None, ge=0, le=1)
    parsed: Share | None = Field(default=None, ge=0, le=1)
    names: Share | None = Field(default=None, ge=0, le=1)
    arguments: Share | None = Field(default=None, ge=0, le=1)
    neutral_bits: float | None = None


class SuiteSettings(Value):
    """How a suite is run: tokens to look at (by default all new ones), and how long an answer may be."""

    kind: Literal["settings"]
    tokens: tuple[str, ...] = ()
    max_new_tokens: int = Field(default=NEW_TOKENS, gt=0, le=65536)


class Suite(Document):
    """All that is asked; a file holds it as lines, each with its `kind`."""

    kind: ClassVar[str] = "behaviour-suite"
    schema_: Literal["tokengraft/behaviour-suite"] = Field(
        default="tokengraft/behaviour-suite", alias="schema"
    )
    version: Literal[1] = 1
    name: str
    prompts: tuple[Prompt, ...] = ()
    texts: tuple[Text, ...] = ()
    bounds: Bounds | None = None
    settings: SuiteSettings = SuiteSettings(kind="settings")


# ── what came of it ──────────────────────────────────────────────────────────────────────────────


class Rate(Value):
    """So many of so many, with Wilson's 95 % interval."""

    n: int
    hits: int
    rate: float
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, n: int) -> Rate | None:
        """None where nothing was asked.

        Source: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
        """
        if not n:
            return None
        share, square = hits / n, Z95 * Z95
        middle = (share + square / (2 * n)) / (1 + square / n)
        reach = Z95 * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
        # At the ends the bound is the end itself; rounding would put it a hair beside it.
        low = 0.0 if hits == 0 else middle - reach
        high = 1.0 if hits == n else middle + reach
        return cls(n=n, hits=hits, rate=share, low=low, high=high)


class TokenBehaviour(Value):
    """What became of one new token.

    Attributes:
        wanted: prompts that want it, and those where it was said.
        neutral, near_miss: prompts that want no new token, and those where this one was said.
        elsewhere: prompts that want other new tokens, and those where this one was said.
        closes: answers to prompts that want it and hold it, and those where each of its spans ends;
            None for a token that opens nothing.
    """

    text: str
    id: int
    wanted: Rate | None = None
    neutral: Rate | None = None
    near_miss: Rate | None = None
    elsewhere: Rate | None = None
    closes: Rate | None = None


class SaidBehaviour(Value):
    """All new tokens together: a prompt counts once, however many tokens there are.

    Attributes:
        wanted: prompts that want new tokens, and those where all of these were said.
        neutral, near_miss: prompts that want none, and those where any was said.
    """

    wanted: Rate | None = None
    neutral: Rate | None = None
    near_miss: Rate | None = None


class ToolBehaviour(Value):
    """Prompts that want calls: those where `parse_response` gave a call, as many calls by the right
    names, and calls that are right altogether.
    """

    parsed: Rate
    names: Rate
    arguments: Rate


class ReadBack(Value):
    """Prompts that want a role, modules of thought or a text, and those where it came back so.

    Attributes:
        modules: the modules alone, in their order; `thoughts` with what was thought in them.
    """

    role: Rate | None = None
    modules: Rate | None = None
    thoughts: Rate | None = None
    content: Rate | None = None


class StopBehaviour(Value):
    """Prompts, and those whose answer ended by itself."""

    stopped: Rate | None = None


class NeutralBits(Value):
    """Bits a byte of text in which no new token belongs; the interval is of the difference.

    Attributes:
        compared_with: what `before` is of.
        n_bytes: of the tokens that were foretold.
    """

    before: float | None
    after: float | None
    difference: float | None
    low: float | None
    high: float | None
    n_texts: int
    n_bytes: int
    compared_with: str = ""


class Example(Value):
    """A prompt and its answer; `ok` says whether all was as wanted."""

    kind: Kind
    prompt: str
    output: str
    expected: str
    ok: bool


class Measured(Value):
    """What one model did on a suite."""

    said: SaidBehaviour | None = None
    tokens: tuple[TokenBehaviour, ...] = ()
    tools: ToolBehaviour | None = None
    read_back: ReadBack | None = None
    stop: StopBehaviour | None = None
    examples: tuple[Example, ...] = ()


class Behaviour(Document):
    """What a result does on a suite, and what the model before it did (`before`)."""

    kind: ClassVar[str] = "behaviour"
    schema_: Literal["tokengraft/behaviour"] = Field(default="tokengraft/behaviour", alias="schema")
    version: Literal[1] = 1
    suite: str
    n_prompts: int
    said: SaidBehaviour | None = None
    tokens: tuple[TokenBehaviour, ...] = ()
    tools: ToolBehaviour | None = None
    read_back: ReadBack | None = None
    stop: StopBehaviour | None = None
    neutral_bits: NeutralBits | None = None
    examples: tuple[Example, ...] = ()
    before: Measured | None = None
    notes: tuple[str, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
