"""What the commands that look at things answer: values of their own, beside plan and receipt.

Each has a `schema` and a `version`, so that programs can rely on `--json` of every command.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from tokengraft.documents import Document, Problem, Value
from tokengraft.findings import Audit, Facts, Severity
from tokengraft.plans import Plan
from tokengraft.results import Receipt, Verification
from tokengraft.trainings import StageDone, TokenVerdicts

Change = Literal["added", "removed", "changed"]


class DiffFile(Value):
    """One file that is not the same in both folders."""

    path: str
    change: Change
    bytes_a: int | None = None
    bytes_b: int | None = None


class DiffToken(Value):
    """One id that has another text in B; None where the id does not exist."""

    id: int = Field(ge=0)
    a: str | None
    b: str | None


class DiffKey(Value):
    """One key of a JSON file; the value is null where `change` says that the key is missing."""

    file: str
    pointer: str
    change: Change
    a: JsonValue = None
    b: JsonValue = None


class DiffTensor(Value):
    """One tensor that differs, or of which it is not known; `rows` counts those that differ."""

    name: str
    change: Literal["added", "removed", "changed", "unknown"]
    shape_a: tuple[int, ...] | None = None
    shape_b: tuple[int, ...] | None = None
    rows: int | None = None


class Diff(Document):
    """What differs between two checkpoints; what is the same is only counted."""

    kind: ClassVar[str] = "diff"
    schema_: Literal["tokengraft/diff"] = Field(default="tokengraft/diff", alias="schema")
    version: Literal[1] = 1
    a: str
    b: str
    files: tuple[DiffFile, ...] = ()
    tokens: tuple[DiffToken, ...] = ()
    config: tuple[DiffKey, ...] = ()
    tensors: tuple[DiffTensor, ...] = ()
    files_same: int = 0
    tokens_same: int = 0
    tensors_same: int = 0


class Piece(Value):
    """One token of an encoded text.

    Attributes:
        token: the token as the vocabulary spells it.
        text: what it decodes to; null where it is part of a character.
        start, end: which characters of the text it covers.
        added, special: whether it is an added token, and one that is marked as special.
        names: the names it bears (bos, eos, pad ...).
    """

    id: int = Field(ge=0)
    token: str
    text: str | None = None
    start: int = Field(ge=0)
    end: int = Field(ge=0)
    added: bool = False
    special: bool = False
    names: tuple[str, ...] = ()


class Tokens(Document):
    """A text as the tokenizer of a checkpoint cuts it."""

    kind: ClassVar[str] = "tokens"
    schema_: Literal["tokengraft/tokens"] = Field(default="tokengraft/tokens", alias="schema")
    version: Literal[1] = 1
    source: str
    text: str
    ids: tuple[int, ...] = ()
    pieces: tuple[Piece, ...] = ()
    round_trip: bool | None = None


class Ability(Value):
    """Something that the machine can do, cannot do, or of which it is not known."""

    name: str
    status: Literal["yes", "no", "unknown"]
    evidence: str = ""


class DeadStage(Value):
    """What an interrupted run left behind."""

    path: str
    size_bytes: int | None = None
    removed: bool = False


class Doctor(Document):
    """What this machine and this installation can do."""

    kind: ClassVar[str] = "doctor"
    schema_: Literal["tokengraft/doctor"] = Field(default="tokengraft/doctor", alias="schema")
    version: Literal[1] = 1
    tool: str
    folder: str
    versions: dict[str, str | None] = Field(default_factory=dict)
    abilities: tuple[Ability, ...] = ()
    stages: tuple[DeadStage, ...] = ()
    cache: str | None = None
    offline: dict[str, str] = Field(default_factory=dict)


class Rule(Document):
    """One audit rule and its page."""

    kind: ClassVar[str] = "rule"
    schema_: Literal["tokengraft/rule"] = Field(default="tokengraft/rule", alias="schema")
    version: Literal[1] = 1
    code: str
    title: str
    severity: Severity
    text: str


class Rules(Document):
    """All audit rules."""

    kind: ClassVar[str] = "rules"
    schema_: Literal["tokengraft/rules"] = Field(default="tokengraft/rules", alias="schema")
    version: Literal[1] = 1
    rules: tuple[Rule, ...]


class RecipeText(Document):
    """A recipe that was written for a checkpoint; `path` is null where none was asked for."""

    kind: ClassVar[str] = "recipe-text"
    schema_: Literal["tokengraft/recipe-text"] = Field(
        default="tokengraft/recipe-text", alias="schema"
    )
    version: Literal[1] = 1
    path: str | None = None
    text: str


class Problems(Document):
    """What is wrong with a recipe; empty where nothing is."""

    kind: ClassVar[str] = "problems"
    schema_: Literal["tokengraft/problems"] = Field(default="tokengraft/problems", alias="schema")
    version: Literal[1] = 1
    recipe: str
    problems: tuple[Problem, ...] = ()


class FolderFile(Value):
    """One file of a folder that is shown."""

    path: str
    size_bytes: int = Field(ge=0)
    kind: str = "other"


class Folder(Document):
    """A checkpoint at a glance, without an opinion."""

    kind: ClassVar[str] = "folder"
    schema_: Literal["tokengraft/folder"] = Field(default="tokengraft/folder", alias="schema")
    version: Literal[1] = 1
    source: str
    facts: Facts
    files: tuple[FolderFile, ...] = ()
    plan: str | None = None


class Run(Document):
    """The whole story of `tokengraft run`; `stages` and `tokens` where it trained.

    `serve` holds commands of other programs that serve the result.
    """

    kind: ClassVar[str] = "run"
    schema_: Literal["tokengraft/run"] = Field(default="tokengraft/run", alias="schema")
    version: Literal[1] = 1
    audit: Audit
    plan: Plan
    stages: tuple[StageDone, ...] = ()
    tokens: TokenVerdicts | None = None
    receipt: Receipt
    verify: Verification
    undone: tuple[str, ...] = ()
    resumed: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    serve: tuple[str, ...] = ()
    seconds: float


class ReportPart(Value):
    """One part of a report; `why` says why there is nothing in it where nothing is."""

    name: str
    shown: bool
    why: str = ""


class ReportWritten(Document):
    """A report that was written."""

    kind: ClassVar[str] = "report"
    schema_: Literal["tokengraft/report"] = Field(default="tokengraft/report", alias="schema")
    version: Literal[1] = 1
    file: str
    out: str
    language: str
    size_bytes: int
    parts: tuple[ReportPart, ...] = ()


class DemoChapter(Value):
    """One chapter: the command that does the same, and what it answers."""

    title: str
    command: str
    answer: dict[str, JsonValue] | str


class Demo(Document):
    """All chapters of `tokengraft demo`."""

    kind: ClassVar[str] = "demo"
    schema_: Literal["tokengraft/demo"] = Field(default="tokengraft/demo", alias="schema")
    version: Literal[1] = 1
    folder: str
    chapters: tuple[DemoChapter, ...]
    seconds: float


class Version(Document):
    """Which tokengraft this is."""

    kind: ClassVar[str] = "version"
    schema_: Literal["tokengraft/version"] = Field(default="tokengraft/version", alias="schema")
    version: Literal[1] = 1
    tool: str
