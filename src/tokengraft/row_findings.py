"""What an audit that read the rows says of them, as values that cross a file border."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from tokengraft.documents import Value

RowVerdict = Literal["trained", "untrained", "unknown"]
Indicator = Literal["distance", "direction"]


class Ids(Value):
    """Rows, counted; the first of them by id."""

    count: int = Field(default=0, ge=0)
    first: tuple[int, ...] = ()


class Compared(Value):
    """How rows of a matrix were judged, and how well that works in it.

    Attributes:
        indicator: `distance` from the mean of the unused rows, or `direction` against it.
        upper, lower: up to here a row is like the unused ones, from here on like the trained ones.
        unused_median, trained_median: of the indicator, over the two references.
        overlap: share of pairs (unused, trained) that lie in the wrong order.
        n_unused, n_trained: how many rows each reference has.
        flagged: how many of the trained reference would be called untrained. An upper bound on
            false alarms: some frequent pieces really never occur by themselves.
        contradicted: how many of these the other matrix calls trained; null where there is none.
        untrained: token rows that are like the unused ones, all tokens counted.
    """

    indicator: Indicator
    upper: float
    lower: float
    unused_median: float
    trained_median: float
    overlap: float
    n_unused: int
    n_trained: int
    flagged: int
    contradicted: int | None = None
    untrained: Ids = Ids()


class MatrixRows(Value):
    """What was read in one matrix; ids are token ids unless it says rows.

    Attributes:
        writes: whether logits come from it.
        unused: which rows are known to be unused, in words.
        compared: None where rows could not be judged; `why_not` then says why.
        zeros, nonfinite, repeated, large: token rows of zeros, rows with NaN or infinite values
            (padding rows too), token rows that equal another one, token rows with a huge norm.
        groups: the largest groups of equal rows, at most eight ids each.
    """

    tensor: str
    reads: bool
    writes: bool
    n_rows: int
    size_bytes: int
    norm_median: float
    unused: str = ""
    compared: Compared | None = None
    why_not: str = ""
    zeros: Ids = Ids()
    nonfinite: Ids = Ids()
    repeated: Ids = Ids()
    groups: tuple[tuple[int, ...], ...] = ()
    large: Ids = Ids()
    largest: float = 0.0


class TokenRow(Value):
    """One token's row in one matrix.

    Attributes:
        z_unused, z_trained: robust standard deviations of the indicator from the median of the
            unused and of the trained rows; null where a reference does not vary.
    """

    tensor: str
    reads: bool
    writes: bool
    norm: float
    indicator: float | None = None
    z_unused: float | None = None
    z_trained: float | None = None
    verdict: RowVerdict = "unknown"


class TokenRows(Value):
    """A token with its rows.

    Attributes:
        uses: what the token is for (`template`, `turn end`, `eos`, `stop`); empty if nothing says.
        verdict: `untrained` if the row that reads it is, or, of a token that ends a turn, the row
            that writes it.
    """

    id: int
    token: str
    uses: tuple[str, ...] = ()
    rows: tuple[TokenRow, ...]
    verdict: RowVerdict


class Ties(Value):
    """Input and output matrix, both on disk, compared byte by byte."""

    input: str
    output: str
    said_tied: bool
    differing_rows: int


class Rows(Value):
    """What reading the rows has shown.

    Attributes:
        why_not: why no row was read; empty if rows were read.
        structural: tokens that the chat template, a name or the stop list needs.
        untrained: the other added tokens that are untrained.
    """

    bytes_read: int = 0
    why_not: str = ""
    matrices: tuple[MatrixRows, ...] = ()
    structural: tuple[TokenRows, ...] = ()
    untrained: tuple[TokenRows, ...] = ()
    ties: Ties | None = None

    def lacking(self, *uses: str) -> Iterator[TokenRows]:
        """Structural tokens with an untrained row; with `uses`, those that have one of them."""
        for token in self.structural:
            if token.verdict == "untrained" and (not uses or set(uses) & set(token.uses)):
                yield token
