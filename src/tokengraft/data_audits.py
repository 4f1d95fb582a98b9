"""What training data hold: a document that is made before anything is trained."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tokengraft.documents import Document, Value

LISTED = 200  # rows that are named one by one; all are counted


class DroppedRow(Value):
    """A row that is not trained on, by the line or number it begins in."""

    line: int = Field(ge=1)
    reason: str


class RowCounts(Value):
    """Every row read is in one of `train`, `held_out` and `dropped`; `truncated` are among the first.

    Attributes:
        parts: what `train` comes to once documents of plain text are cut into parts.
        no_stop: rows whose last token in the loss is no stop token, so that they do not teach to
            stop; truncated ones are among them.
        complete: whether the whole of the data was read; false where `max_rows` or `steps` ended it.
    """

    read: int
    train: int
    parts: int
    held_out: int
    dropped: int
    truncated: int
    no_stop: int
    complete: bool


class TokenSeen(Value):
    """How often the rows to train on hold a new token, and in how many rows.

    Attributes:
        in_loss: where the model itself is to write it; without any, its output row learns only when
            not to be written.
        given: elsewhere, where it is read alone.
    """

    text: str
    id: int
    in_loss: int
    given: int
    rows: int


class LengthBin(Value):
    """Rows of at most `up_to` tokens, and of more than the bin before; as they are cut."""

    up_to: int
    rows: int


class DataAudit(Document):
    """What a corpus holds, as the checkpoint's template and tokenizer write it.

    Attributes:
        forms: how many rows are in which form.
        reasons: how many rows were dropped for which reason; `dropped` names the first of them.
        tokens: every new token, in the order of their ids.
        unseen: those that no row to train on holds; the pad token, which none should hold, left out.
        never_in_loss: those that are read only.
        n_tokens, n_in_loss: of all rows to train on.
        length: at which rows are cut, in tokens.
    """

    kind: ClassVar[str] = "data"
    schema_: Literal["tokengraft/data"] = Field(default="tokengraft/data", alias="schema")
    version: Literal[1] = 1
    source: str
    length: int
    rows: RowCounts
    forms: dict[str, int] = Field(default_factory=dict)
    reasons: dict[str, int] = Field(default_factory=dict)
    dropped: tuple[DroppedRow, ...] = ()
    tokens: tuple[TokenSeen, ...] = ()
    unseen: tuple[str, ...] = ()
    never_in_loss: tuple[str, ...] = ()
    lengths: tuple[LengthBin, ...] = ()
    n_tokens: int = 0
    n_in_loss: int = 0
    notes: tuple[str, ...] = ()
