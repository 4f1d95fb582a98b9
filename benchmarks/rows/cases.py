"""What a method is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from benchmarks.rows.strata import Background, Stratum, for_seed
from benchmarks.rows.subject import FIT, VALIDATION, Subject
from numpy.typing import NDArray

from tokengraft.training.windows import Phrase, Windows

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """New rows of N tokens.

    Attributes:
        input_ND, output_ND: as stored, without the scales of a family.
        both_ND: what a method takes where one row does both jobs; None if it says nothing of it,
            and then `input_ND` is taken.
    """

    input_ND: Values
    output_ND: Values
    both_ND: Values | None = None

    def tied(self) -> Rows:
        """One row for both jobs."""
        both = self.input_ND if self.both_ND is None else self.both_ND
        return Rows(both, both, both)


@dataclass(frozen=True, slots=True, eq=False)
class Context:
    """One stratum of one subject, for one seed.

    Attributes:
        input_VD, output_VD: old rows; those of words that are measured are NaN, so that a method
            that looks at them cannot win.
        known_V: rows that statistics may look at.
        phrases: the tokens, with the pieces (or the description) that they stand for.
        fit, validation: windows of documents that no measurement uses.
        background: neutral text of the fit documents.
        frequency_N: occurrences of each phrase a position of text.
        donor: another subject with the same vocabulary, or None.
    """

    subject: Subject
    phrases: tuple[Phrase, ...]
    input_VD: Values
    output_VD: Values
    known_V: NDArray[np.bool_]
    fit: Windows
    validation: Windows
    background: Background
    frequency_N: Values
    seed: int
    donor: Subject | None = None
    rng: np.random.Generator = field(default_factory=np.random.default_rng)

    @property
    def tied(self) -> bool:
        return self.subject.model.tied

    def pieces_mean(self, rows_VD: Values) -> Values:
        """The mean of each token's pieces."""
        return np.array([rows_VD[list(p.pieces)].mean(axis=0) for p in self.phrases])

    def weighted(self, rows_VD: Values, weigh: Callable[[Phrase], Values]) -> Values:
        """Weighted means of each token's pieces."""
        found = []
        for phrase in self.phrases:
            weights = weigh(phrase)
            found.append(weights @ rows_VD[list(phrase.pieces)] / weights.sum())
        return np.array(found)

    def mean_of_all(self, rows_VD: Values) -> Values:
        """The mean of the known rows, once a token."""
        return np.repeat(rows_VD[self.known_V].mean(axis=0)[None], len(self.phrases), axis=0)


Method = Callable[[Context], Rows]


def context(subject: Subject, stratum: Stratum, seed: int, donor: Subject | None = None) -> Context:
    """Put together what a method is given."""
    hidden = [p.without for p in stratum.phrases if p.without is not None]
    input_VD = subject.model.input_VD().astype(np.float64)
    output_VD = subject.model.output_VD().astype(np.float64)
    input_VD[hidden] = np.nan
    output_VD[hidden] = np.nan
    known = subject.used_V.copy()
    known[hidden] = False
    return Context(
        subject=subject,
        phrases=stratum.phrases,
        input_VD=input_VD,
        output_VD=output_VD,
        known_V=known,
        fit=for_seed(stratum, seed),
        validation=stratum.windows[VALIDATION],
        background=stratum.backgrounds[FIT],
        frequency_N=stratum.frequency_N,
        seed=seed,
        donor=donor,
        rng=np.random.default_rng([seed, *(ord(letter) for letter in stratum.name)]),
    )
