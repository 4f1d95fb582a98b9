"""Rows of a tensor as a plan says them: where each comes from, and how many there are.

Planning writes these, applying carries them out; `plans` is where they are taken from.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tokengraft.documents import Value


class Keep(Value):
    """Rows of the base as they are: `count` rows from `first` on, bit for bit."""

    kind: Literal["keep"] = "keep"
    first: int = Field(ge=0)
    count: int = Field(gt=0)

    @property
    def n_rows(self) -> int:
        return self.count


class Mix(Value):
    """A weighted sum of base rows, the same for `rows` new rows.

    Parents are added one by one in id order, in float64, and rounded once; no parents is zero.
    """

    kind: Literal["mix"] = "mix"
    parents: tuple[tuple[int, float], ...]
    rows: int = Field(default=1, gt=0)

    @property
    def n_rows(self) -> int:
        return self.rows


class Mean(Value):
    """The mean of base rows, for `rows` new rows: `first` to `first + count - 1` but `without`."""

    kind: Literal["mean"] = "mean"
    first: int = Field(ge=0)
    count: int = Field(gt=0)
    without: tuple[int, ...] = ()
    rows: int = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _some_are_left(self) -> Self:
        inside = all(self.first <= i < self.first + self.count for i in self.without)
        if not inside or list(self.without) != sorted(set(self.without)):
            raise ValueError("`without` names rows of the range, each once, in order")
        if not self.n_parents:
            raise ValueError("a mean leaves out all of its rows")
        return self

    @property
    def n_parents(self) -> int:
        return self.count - len(self.without)

    @property
    def n_rows(self) -> int:
        return self.rows


class Stored(Value):
    """One row whose value lies in the sidecar, at `index` of the tensor's values."""

    kind: Literal["value"] = "value"
    index: int = Field(ge=0)

    @property
    def n_rows(self) -> int:
        return 1


RowSource = Annotated[Keep | Mix | Mean | Stored, Field(discriminator="kind")]


class RemapRows(Value):
    """Say where each row of a tensor comes from, in order; a new tensor is made of that named `of`."""

    kind: Literal["remap-rows"] = "remap-rows"
    tensor: str
    of: str | None = None
    n_rows_before: int = Field(gt=0)
    n_rows_after: int = Field(gt=0)
    rows: tuple[RowSource, ...]
    in_columns: int | None = None  # how many sources lie in the sidecar's columns, not in `rows`

    @property
    def base_tensor(self) -> str:
        return self.of or self.tensor

    @property
    def n_rows_there(self) -> int:
        """How many rows the base has of this very tensor: none where it is new."""
        return 0 if self.of is not None else self.n_rows_before

    @model_validator(mode="after")
    def _rows_add_up(self) -> Self:
        if self.in_columns is None:
            total = sum(source.n_rows for source in self.rows)
            if total != self.n_rows_after:
                raise ValueError(f"sources give {total} rows, n_rows_after is {self.n_rows_after}")
        return self
