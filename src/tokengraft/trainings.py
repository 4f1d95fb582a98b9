"""What training leaves behind: records of stages, a verdict for each token, an estimate before it."""

from __future__ import annotations

from typing import ClassVar, Final, Literal, get_args

from pydantic import Field

from tokengraft.documents import Document, Value
from tokengraft.plans import Plan
from tokengraft.results import Receipt, Verification

StageName = Literal["fit", "distil", "sft"]
STAGE_NAMES: Final[tuple[StageName, ...]] = get_args(StageName)  # in the order in which they run
TokenAnswer = Literal["go", "do-not-add", "unknown"]


class MadeRow(Value):
    """How the rows of one token were made; see `row_sets.RowsMade`."""

    text: str
    read: str
    write: str
    n_contexts: int = 0
    leak: float | None = None
    harm_nats: float | None = None
    notes: tuple[str, ...] = ()


class StageRecord(Document):
    """One finished stage: its rows and its adapter lie beside this file.

    Attributes:
        key: digest of all that decides the result; a stage with another key is run anew.
        adapter: whether it left an adapter, in the folder `adapter`.
    """

    kind: ClassVar[str] = "stage"
    schema_: Literal["tokengraft/stage"] = Field(default="tokengraft/stage", alias="schema")
    version: Literal[1] = 1
    stage: StageName
    key: str
    adapter: bool = False
    seconds: float
    notes: tuple[str, ...] = ()
    made: tuple[MadeRow, ...] = ()
    figures: dict[str, float] = Field(default_factory=dict)


class Repeats(Value):
    """Whether the model writes a token when asked to repeat it.

    Attributes:
        highest: the highest probability that it was given where it was asked for.
        old_tokens: the share of common old tokens that pass the same test: what the model is able
            to do at all.
    """

    passed: bool
    highest: float
    old_tokens: float


class TokenVerdict(Value):
    """What is known of one new token after training, or before.

    Attributes:
        verdict: `go`; `do-not-add`; `unknown` where nothing could be measured.
        reasons: why, one sentence each.
        read, write: the share of what a row that knows nothing loses, and this one does not, on
            text that neither `fit` nor `distil` saw (`sft` saw it where it ran: then the reasons say
            so); 1 is as good as the pieces, 0 as bad as the mean of all rows.
        leak: what it takes where it is not due, as a share of what its pieces took there.
        n_windows: places in that text that this was measured on.
        uses: how often it would stand in the whole corpus.
        positions_saved: ids that the corpus is shorter by.
        bytes_saved: text of the corpus that fits into these positions.
    """

    text: str
    id: int = Field(ge=0)
    use: str = ""
    verdict: TokenAnswer
    reasons: tuple[str, ...] = ()
    read: float | None = None
    write: float | None = None
    leak: float | None = None
    n_windows: int = 0
    uses: int | None = None
    positions_saved: int | None = None
    bytes_saved: int | None = None
    repeats: Repeats | None = None


class TokenVerdicts(Document):
    """A verdict for every new token; `tokens.json` of a training."""

    kind: ClassVar[str] = "token-verdicts"
    schema_: Literal["tokengraft/token-verdicts"] = Field(
        default="tokengraft/token-verdicts", alias="schema"
    )
    version: Literal[1] = 1
    tokens: tuple[TokenVerdict, ...] = ()
    notes: tuple[str, ...] = ()


class StageDone(Value):
    """One stage as `train` tells of it."""

    stage: StageName
    seconds: float
    resumed: bool
    notes: tuple[str, ...] = ()


class Training(Document):
    """The answer of `tokengraft train`."""

    kind: ClassVar[str] = "train"
    schema_: Literal["tokengraft/train"] = Field(default="tokengraft/train", alias="schema")
    version: Literal[1] = 1
    plan: Plan
    stages: tuple[StageDone, ...]
    tokens: TokenVerdicts
    receipt: Receipt
    verify: Verification
    folder: str
    seconds: float


class Need(Value):
    """What one stage or method needs, before anything is loaded.

    Attributes:
        parts: bytes by what they are for.
        seconds: a guess on this machine's order of magnitude; None where nothing to go by.
        asked: whether the recipe asks for it.
    """

    method: str
    parts: dict[str, int]
    memory_bytes: int
    disk_bytes: int = 0
    seconds: float | None = None
    asked: bool = False
    notes: tuple[str, ...] = ()


class TrainingEstimate(Document):
    """The answer of `train --estimate`: from headers and config alone."""

    kind: ClassVar[str] = "estimate"
    schema_: Literal["tokengraft/estimate"] = Field(default="tokengraft/estimate", alias="schema")
    version: Literal[1] = 1
    source: str
    parameters: int
    active_parameters: int
    new_tokens: int
    corpus_tokens: int | None = None
    needs: tuple[Need, ...] = ()
    notes: tuple[str, ...] = ()
