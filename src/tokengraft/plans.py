"""What we may do to bytes: the plan, its edits and its row sources (both closed unions).

A plan and its sidecar are all that `apply` knows; together they are the portable graft.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue

from tokengraft.documents import Document, Value
from tokengraft.extensions import Extension
from tokengraft.findings import Finding
from tokengraft.low_rank import AddLowRank
from tokengraft.renumbering import RemoveLines, Renumber, Renumbering
from tokengraft.row_edits import Keep, Mean, Mix, RemapRows, RowSource, Stored
from tokengraft.vocabulary import AddedToken

__all__ = [
    "COLUMNS_ABOVE",
    "AppendMerges",
    "CopyCost",
    "DropFile",
    "Edit",
    "FileEdit",
    "Fingerprint",
    "IdTable",
    "IdTables",
    "InsertTokens",
    "JsonChange",
    "Keep",
    "Mean",
    "Mix",
    "NewPiece",
    "PatchJson",
    "PatchPieces",
    "Plan",
    "PlannedFile",
    "PlannedRow",
    "PlannedToken",
    "RemapRows",
    "RemoveKey",
    "RenameKey",
    "RenamedPiece",
    "RowSource",
    "SetKey",
    "Sidecar",
    "Stored",
    "Taken",
    "Totals",
    "WriteFile",
]

# Above this many tokens a plan keeps its tables as columns of the sidecar.
COLUMNS_ABOVE = 1_000


class SetKey(Value):
    """Give the value at a JSON pointer, adding the key if it is missing."""

    kind: Literal["set"] = "set"
    pointer: str
    value: JsonValue


class RemoveKey(Value):
    """Take a key or an array element away."""

    kind: Literal["remove"] = "remove"
    pointer: str


class RenameKey(Value):
    """Give a member of an object another key; its place and its value stay."""

    kind: Literal["rename-key"] = "rename-key"
    pointer: str
    key: str


class InsertTokens(Value):
    """Write tokens of the plan's table at the end of a JSON container.

    `form` says what an entry looks like: an element of tokenizer.json's `added_tokens`, an entry of
    `added_tokens_decoder`, a text with its id (added_tokens.json, vocabularies), a bare text in a
    list, or the merge that makes the token, as a pair or as a line (tokens without one are passed
    over).
    """

    kind: Literal["insert-tokens"] = "insert-tokens"
    pointer: str
    form: Literal[
        "added_tokens", "added_tokens_decoder", "token_to_id", "text", "merge_pair", "merge_line"
    ]
    first_id: int = Field(ge=0)
    count: int = Field(gt=0)


JsonChange = Annotated[
    SetKey | RemoveKey | RenameKey | InsertTokens | Renumber, Field(discriminator="kind")
]


class PatchJson(Value):
    """Change some keys of a JSON file; all other bytes stay."""

    kind: Literal["patch-json"] = "patch-json"
    path: str
    changes: tuple[JsonChange, ...]


class RenamedPiece(Value):
    """Another text for the SentencePiece piece of an id; score, kind and place stay."""

    id: int = Field(ge=0)
    text: str = Field(min_length=1)


class NewPiece(Value):
    """A piece behind the last one, and so with the next id."""

    text: str = Field(min_length=1)
    kind: Literal["normal", "control", "user-defined"]
    score: float = 0.0


class PatchPieces(Value):
    """Change some pieces of a SentencePiece model; all other bytes stay.

    `removed` are ids of the base; pieces behind them move down, since their places are their ids.
    """

    kind: Literal["patch-pieces"] = "patch-pieces"
    path: str
    removed: tuple[int, ...] = ()
    renamed: tuple[RenamedPiece, ...] = ()
    appended: tuple[NewPiece, ...] = ()


class AppendMerges(Value):
    """Write the merges that make tokens of the plan's table at the end of a merges.txt."""

    kind: Literal["append-merges"] = "append-merges"
    path: str
    first_id: int = Field(ge=0)
    count: int = Field(gt=0)


class WriteFile(Value):
    """Write a small text file whole."""

    kind: Literal["write-file"] = "write-file"
    path: str
    text: str


class DropFile(Value):
    """Leave a file of the base out."""

    kind: Literal["drop-file"] = "drop-file"
    path: str


# What changes a small file in place or writes it.
FileEdit = PatchJson | PatchPieces | AppendMerges | RemoveLines | WriteFile
Edit = Annotated[FileEdit | DropFile | RemapRows | AddLowRank, Field(discriminator="kind")]


class PlannedRow(Value):
    """Where one row of one token comes from."""

    tensor: str
    source: RowSource


class Taken(Value):
    """What writing a new token takes from the old ones, before anything is trained.

    The probability of the new token in a context whose old probabilities are p, in exact arithmetic:

    - `bounded`: at most `at_most`, in every context.
    - `parents`: g / (1 + g), where g is the weighted geometric mean of its parents' p; never more
      than half, and never more than its likeliest parent has.
    - `unknown`: until it is measured; `at_most` is null.
    """

    kind: Literal["bounded", "parents", "unknown"]
    at_most: float | None = None


class PlannedToken(Value):
    """One token that the plan names: an added, renamed or claimed one, or one put into step.

    Attributes:
        id: its id in the result; that in the base where the action is `remove`.
        init, why: the initializer that gave its rows, and why `auto` took it.
        takes: what writing it takes from old tokens; null where no row is written.
        piece: how the model's own vocabulary spells the token, None for an added token. `text` is
            then what it stands for, with U+FFFD where it is a part of a letter.
        cut: the merge that makes the piece joins `piece[:cut]` and `piece[cut:]`; 0 if none does.
    """

    text: str
    id: int = Field(ge=0)
    action: Literal["add", "rename", "claim", "keep", "remove"]
    use: str = ""
    init: str = ""
    why: str = ""
    takes: Taken | None = None
    was: str | None = None
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = False
    piece: str | None = None
    cut: int = Field(default=0, ge=0)
    rows: tuple[PlannedRow, ...] = ()

    @property
    def key(self) -> str:
        """What the id table calls the token."""
        return self.text if self.piece is None else self.piece

    @property
    def merge(self) -> tuple[str, str] | None:
        """The two pieces whose merge makes the token."""
        if self.piece is None or not self.cut:
            return None
        return self.piece[: self.cut], self.piece[self.cut :]

    def added_token(self) -> AddedToken:
        return AddedToken(
            content=self.text,
            single_word=self.single_word,
            lstrip=self.lstrip,
            rstrip=self.rstrip,
            normalized=self.normalized,
            special=self.special,
        )


class PlannedFile(Value):
    """What becomes of one file of the base."""

    path: str
    action: Literal["write", "copy", "drop"]
    size_bytes: int = Field(ge=0)


class CopyCost(Value):
    """Bytes that each way of copying writes for the files that stay as they are."""

    reflink: int = 0
    copy_: int = Field(default=0, alias="copy")
    link: int = 0


class Totals(Value):
    """What the plan costs. `bytes_written` counts the files written anew, whatever the way."""

    rows_written: int
    bytes_written: int
    bytes_copied: CopyCost
    tensors_patched: int
    tensors_untouched: int


class Fingerprint(Value):
    """What the base was: digests of small files and tensor headers, of rows, and of files."""

    layout: str
    rows: dict[str, str] = Field(default_factory=dict)
    files: dict[str, str | None] = Field(default_factory=dict)


class IdTable(Value):
    """A whole id table, as its size and digest (`vocabulary.table_digest`)."""

    n_tokens: int
    digest: str


class IdTables(Value):
    """The id table before and after."""

    before: IdTable
    after: IdTable


class Sidecar(Value):
    """The file of values and columns beside the plan: its digest, never its name."""

    sha256: str
    values: int = 0
    columns: int = 0
    factors: int = 0


class Plan(Document):
    """A change to one checkpoint, stated so that it can be read, sent and repeated."""

    kind: ClassVar[str] = "plan"
    schema_: Literal["tokengraft/plan"] = Field(default="tokengraft/plan", alias="schema")
    version: Literal[1] = 1
    tool: str
    base: Fingerprint
    base_name: str = ""
    recipe: str
    reconciled: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    tokens: tuple[PlannedToken, ...] = ()
    extensions: tuple[Extension, ...] = ()
    renumbering: Renumbering | None = None
    ids: IdTables | None = None
    files: tuple[PlannedFile, ...] = ()
    totals: Totals
    predicted: tuple[Finding, ...] = ()
    sidecar: Sidecar | None = None

    @property
    def changes_anything(self) -> bool:
        return bool(self.edits)

    def row_edits(self) -> dict[str, RemapRows]:
        return {edit.tensor: edit for edit in self.edits if isinstance(edit, RemapRows)}

    def file_edits(self) -> dict[str, FileEdit]:
        return {e.path: e for e in self.edits if isinstance(e, FileEdit)}

    def removed_ids(self) -> tuple[int, ...]:
        """Ids of the base that go; empty in every plan but one that renumbers."""
        return tuple(sorted(token.id for token in self.tokens if token.action == "remove"))

    def dropped(self) -> frozenset[str]:
        return frozenset(e.path for e in self.edits if isinstance(e, DropFile))

    def digest(self) -> str:
        """sha256 of the canonical text, by which a receipt names the plan."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()
