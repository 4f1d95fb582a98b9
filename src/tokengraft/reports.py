"""The whole story of one result, gathered: what a report shows, before anybody has laid it out.

A report is a snapshot in memory. What could not be read or was not done is in it as a sentence that
says so, never as an empty place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tokengraft.behaviour import Behaviour
from tokengraft.findings import Facts
from tokengraft.plans import Plan
from tokengraft.records import TrainingRecords
from tokengraft.results import Receipt, Verification

Part = Literal["input", "output", "both"]


@dataclass(frozen=True, slots=True)
class TextPiece:
    """One token of a text that is shown.

    Attributes:
        text: what it covers; as the vocabulary spells it where it is a part of a letter.
        is_new: whether the plan added it.
        is_part: whether it is a part of a letter.
    """

    text: str
    id: int
    is_new: bool = False
    is_part: bool = False


@dataclass(frozen=True, slots=True)
class TextView:
    """One text as base and result cut it; None where that tokenizer is not at hand or refused.

    Attributes:
        title: what the text is; English, to be translated.
        before, after: its tokens; of a conversation, as either side's own chat template writes it.
        why_not: why a side is missing; English.
        is_token: whether it is here for a single new token.
    """

    title: str
    before: tuple[TextPiece, ...] | None
    after: tuple[TextPiece, ...] | None
    why_not: str = ""
    is_token: bool = False


@dataclass(frozen=True, slots=True)
class Near:
    """A row near another one, by the cosine of the two."""

    id: int
    text: str
    cosine: float
    is_new: bool


@dataclass(frozen=True, slots=True)
class NearRows:
    """The rows nearest to the row of one new token."""

    id: int
    text: str
    near: tuple[Near, ...]


@dataclass(frozen=True, slots=True)
class MapPoint:
    """A row on a map."""

    id: int
    text: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class RowMap:
    """Rows by direction, on the two axes along which the sampled rows differ most.

    Attributes:
        new, near: new rows, and old ones that are near to them.
        sampled: old rows evenly spread over the ids, as points without names.
        share: of the variance of the sampled rows' directions, what the two axes hold; 0 to 1.
    """

    new: tuple[MapPoint, ...]
    near: tuple[MapPoint, ...]
    sampled: tuple[tuple[float, float], ...]
    share: float


@dataclass(frozen=True, slots=True)
class MatrixView:
    """New rows of one matrix among all of its rows.

    Attributes:
        part: what the matrix does; `both` where embeddings are tied.
        n_new: new rows there are; `rows` are the first of them.
        why_not: why nothing was computed; English, empty where something was.
    """

    tensor: str
    part: Part
    n_new: int = 0
    rows: tuple[NearRows, ...] = ()
    row_map: RowMap | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key of a JSON file that the plan changes, its values as JSON text; None where there is none.

    Attributes:
        before: "?" where the base is not at hand.
    """

    file: str
    pointer: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class TensorChange:
    """A tensor that the plan changes.

    Attributes:
        rows_before: 0 where the tensor is new.
        rows_written: rows that are not kept from the base, 0 where only numbers are updated.
        updates: low-rank updates that are added to it.
    """

    name: str
    rows_before: int | None = None
    rows_after: int | None = None
    rows_written: int = 0
    updates: int = 0


@dataclass(frozen=True, slots=True)
class Frequencies:
    """Rotary positions before and after.

    Attributes:
        length_before, length_after: what config.json names, in tokens.
        scaling_before, scaling_after: the method, `none` where there is none.
        divisors: by pair of a head, how many times slower it turns than without scaling, after.
        divisors_before: the same of the base; None where it is not at hand.
        told: what becomes of them, one sentence each; English.
    """

    length_before: int | None
    length_after: int | None
    scaling_before: str | None
    scaling_after: str
    divisors: tuple[float, ...] = ()
    divisors_before: tuple[float, ...] | None = None
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advice:
    """A thing to do with the result: commands that can be pasted, and what to know; English."""

    title: str
    commands: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All that is told of one result.

    Attributes:
        out: the folder, as it was named.
        source: the base, as it was named; None where it is not known.
        base_missing: why nothing is said of the base; English, empty where it was read.
        verification: None where nobody proved it; `unproved` then says why.
        training: what lies beside the result; None where nothing does.
        behaviour: what the model was asked, by the proof or earlier; None where it was not.
        manifest: sha256 of every file of the result.
    """

    out: str
    source: str | None
    plan: Plan
    receipt: Receipt
    verification: Verification | None
    facts: Facts | None = None
    base_missing: str = ""
    unproved: str = ""
    keys: tuple[KeyChange, ...] = ()
    tensors: tuple[TensorChange, ...] = ()
    texts: tuple[TextView, ...] = ()
    matrices: tuple[MatrixView, ...] = ()
    positions: Frequencies | None = None
    training: TrainingRecords | None = None
    behaviour: Behaviour | None = None
    advice: tuple[Advice, ...] = ()
    manifest: Mapping[str, str] = field(default_factory=dict)
    row_texts: Mapping[int, str] = field(default_factory=dict)
    asks_training: bool = False
