"""New embedding rows as values: what a fit or a training yields, and what a plan may store.

A row set knows nothing of checkpoints. A plan that takes one in replaces the sources of its new
rows by values of the sidecar, so that there stays one way to write a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RowsMade:
    """How the rows of one token were made.

    Attributes:
        read: what made the row that is read, a name such as `mean` or `ridge`.
        write: what made the row that is written; the same as `read` where one row does both.
        n_contexts: the places in the corpus that it was fitted on; 0 without a corpus.
        leak: the mass that the token takes where it is not due, as a share of what its pieces took
            there; None where nothing was measured.
        harm_nats: the divergence of the old model from the new one on neutral text that this token
            alone causes; None where nothing was measured.
        notes: what a reader should know: what was missing, what was assumed.
    """

    read: str
    write: str
    n_contexts: int = 0
    leak: float | None = None
    harm_nats: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class RowSet:
    """Rows of N new tokens, in the order of `texts`.

    Values are raw rows, as a checkpoint stores them: where a family scales what it looks up, or its
    logits, that is not in them. They are rounded to the tensor's own kind when they are applied.

    Attributes:
        texts: the tokens.
        input_ND: rows that are read (input embeddings), or both jobs where embeddings are tied.
        output_ND: rows that are written (output embeddings); None where embeddings are tied.
        made: how each was made.
        figures: what was measured over all of them, by name.
    """

    texts: tuple[str, ...]
    input_ND: Values
    output_ND: Values | None
    made: tuple[RowsMade, ...]
    figures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.texts)
        assert len(set(self.texts)) == n, "a token comes twice"
        assert len(self.made) == n
        for rows in (self.input_ND, self.output_ND):
            if rows is not None:
                assert rows.shape == (n, self.input_ND.shape[1])
                assert bool(np.isfinite(rows).all()), "a row is not finite"

    @property
    def is_tied(self) -> bool:
        return self.output_ND is None

    def row(self, text: str) -> tuple[Values, Values]:
        """The row that is read and the row that is written; the same where embeddings are tied."""
        at = self.texts.index(text)
        written = self.input_ND if self.output_ND is None else self.output_ND
        return self.input_ND[at], written[at]
