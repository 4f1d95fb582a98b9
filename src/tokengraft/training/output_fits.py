"""Output rows of all tokens: in which states they are fitted, where they start, how far they go.

Shapes: N tokens, C states, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.continuations import Rests
from tokengraft.training.language_model import LanguageModel, Written
from tokengraft.training.old_rows import Matrix, rows_at
from tokengraft.training.output_rows import (
    Samples,
    bias_direction,
    both,
    calibrated,
    divergence,
    solve,
)
from tokengraft.training.output_samples import LEAK, choose_neutral, samples_of
from tokengraft.training.states import Due, Neutral, due_states, neutral_states
from tokengraft.training.windows import Evidence, Phrase

Values = NDArray[np.float64]

_STRENGTHS = tuple(float(10.0**n) for n in (-3, -2, -1, 0, 1, 2))
_TRIED = 48  # tokens that strengths are chosen on
WRITING = 2.0  # what a share of the loss in writing counts for against one in reading, on one row
TAKEN = 1e-3  # nats of neutral text that count like all of reading, for a description's one row
_DRAFTED = 1.0  # how strongly first rows are held, which say where states are drawn
_APART = 0.1  # nats by which tokens without pieces differ, so that training can tell them apart
MOVED = 2  # of the rows that a row was on its way: states are drawn by so many, the last ones


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What samples are drawn from, and by which rows they were.

    Attributes:
        dues: states of the windows to fit on, and of those held out.
        rests: what was computed for earlier draws.
        rows: what choices were drawn by; solved rows first, then those that a row was on its way.
    """

    model: LanguageModel
    phrases: Sequence[Phrase]
    neutral: Neutral
    dues: tuple[Due, Due]
    frequency_N: Values
    rests: Rests
    rows: tuple[Values, ...] = ()

    def by(self, rows_ND: Values) -> Drawn:
        """Drawn by these rows too."""
        return replace(self, rows=(*self.rows[:1], *self.rows[1:][1 - MOVED :], rows_ND))

    def halves(self, rng: np.random.Generator) -> tuple[tuple[Samples, ...], tuple[Samples, ...]]:
        """Samples of each token, of either half of the text."""
        one, other = (self._half(half, rng) for half in range(2))
        return one, other

    def _half(self, half: int, rng: np.random.Generator) -> tuple[Samples, ...]:
        usable_P = self.neutral.sequence_P % 2 == half
        chosen = choose_neutral(
            self.model, self.neutral, self.phrases, usable_P, rng, *self.rows, rests=self.rests
        )
        states = (self.dues[half], self.neutral)
        return tuple(samples_of(self.model, self.phrases, states, chosen, self.frequency_N))


@dataclass(frozen=True, slots=True, eq=False)
class Writing:
    """Samples of each token to fit on and to choose by, and where its row starts.

    Attributes:
        fit, held_out: from different windows and different text.
        start_ND: the first piece's row with a calibrated bias; for descriptions, a bias alone.
        second_DD: mean of h h' over neutral text.
        bias_D: the direction whose product with states is about 1.
        drawn: by which rows, for other samples when a row has moved; None where output rows are rows
            of their own, which are solved once.
    """

    fit: tuple[Samples, ...]
    held_out: tuple[Samples, ...]
    start_ND: Values
    second_DD: Values
    bias_D: Values
    drawn: Drawn | None

    @property
    def every(self) -> tuple[Samples, ...]:
        """Those to fit on and those held out."""
        return _together(self.fit, self.held_out)

    def moved(self, rng: np.random.Generator, *rows: Values) -> Writing:
        """With samples that are drawn where these rows [N, D] are written, too.

        A row that does both jobs goes away from the one that is solved, and is written elsewhere. What
        no sample sees, no loss holds back.
        """
        drawn = self.drawn
        assert drawn is not None
        for rows_ND in rows:
            drawn = drawn.by(rows_ND)
        fit, held_out = drawn.halves(rng)
        return replace(self, fit=fit, held_out=held_out, drawn=drawn)


def _together(fit: Sequence[Samples], held_out: Sequence[Samples]) -> tuple[Samples, ...]:
    return tuple(both(*parts) for parts in zip(fit, held_out, strict=True))


def prepare_writing(
    model: LanguageModel, evidence: Evidence, rows_VD: Matrix, rng: np.random.Generator
) -> Writing:
    """The passes that writing needs, and calibrated first pieces.

    States are drawn twice: for first rows, and then by what those write.
    """
    phrases = evidence.phrases
    neutral = neutral_states(model, evidence.neutral_ST, evidence.keep_ST, phrases)
    hidden_PD = neutral.hidden_PD.astype(np.float64)
    bias_D, second_DD = bias_direction(hidden_PD), hidden_PD.T @ hidden_PD / len(hidden_PD)
    fit, held_out = (due_states(model, w, phrases) for w in (evidence.windows, evidence.validation))
    rests = Rests(model, neutral, phrases)
    drawn = Drawn(model, phrases, neutral, (fit, held_out), evidence.frequency_N, rests)
    every = _together(*drawn.halves(rng))
    start_ND = _begun(model, phrases, every, rows_VD, bias_D, rng)
    solved_ND = _solved(model, every, start_ND, rooted_inverse(second_DD), _DRAFTED)
    written_ND = [
        calibrated(model.written, samples, row, bias_D)
        for samples, row in zip(every, solved_ND, strict=True)
    ]
    drawn = drawn.by(np.array(written_ND))
    halves = drawn.halves(rng)
    start_ND = _begun(model, phrases, _together(*halves), rows_VD, bias_D, rng)
    return Writing(*halves, start_ND, second_DD, bias_D, drawn if model.tied else None)


def _begun(
    model: LanguageModel,
    phrases: Sequence[Phrase],
    every: Sequence[Samples],
    rows_VD: Matrix,
    bias_D: Values,
    rng: np.random.Generator,
) -> Values:
    """First pieces with a calibrated bias; for descriptions, a bias alone."""
    start = []
    for phrase, samples in zip(phrases, every, strict=True):
        if phrase.is_described:
            start.append(quiet(model.written, samples, bias_D, rng))
        else:
            (first_D,) = rows_at(rows_VD, phrase.pieces[:1])
            start.append(calibrated(model.written, samples, first_D, bias_D))
    return np.array(start)


def quiet(
    written: Written,
    samples: Samples,
    bias_D: Values,
    rng: np.random.Generator,
    leak: float = LEAK,
) -> Values:
    """A row that is written with the mean probability `leak`, where nothing is known of its use.

    Rows of several such tokens differ by a small part beside the bias, so that training finds a
    direction for each.
    """
    aside = rng.standard_normal(len(bias_D))
    aside -= (aside @ bias_D) / (bias_D @ bias_D) * bias_D
    aside *= _APART / max(float((samples.hidden_CD @ aside).std()), 1e-300)
    return calibrated(written, samples, aside, bias_D, total=leak)


def fit_output(model: LanguageModel, writing: Writing) -> Values:
    """Solve every output row; how far from its start it may go is chosen on held-out samples.

    Rows are judged as they are used, which is calibrated. Each is the mean of one that is solved on
    the samples to fit on and one that is solved on those held out: where text that neither saw would
    be written by one of them alone, half of its logit is left. At last its bias is calibrated again,
    on all samples, so that what it takes in all is what is due.
    """
    shapes = (np.eye(len(writing.second_DD)), rooted_inverse(writing.second_DD))
    some = slice(min(_TRIED, len(writing.fit)))
    fit, held_out, start_ND = writing.fit[some], writing.held_out[some], writing.start_ND[some]

    def lost(rows_ND: Values) -> float:
        return sum(
            divergence(model.written, other, calibrated(model.written, one, row, writing.bias_D))
            for one, other, row in zip(fit, held_out, rows_ND, strict=True)
        )

    scores = {
        (which, strength): lost(_solved(model, fit, start_ND, shapes[which], strength))
        for which in range(len(shapes))
        for strength in _STRENGTHS
    }
    which, strength = min(scores, key=lambda key: scores[key])
    rows_ND = writing.start_ND
    if scores[which, strength] < lost(start_ND):
        halves = (
            _solved(model, samples, rows_ND, shapes[which], strength)
            for samples in (writing.fit, writing.held_out)
        )
        rows_ND = np.mean(list(halves), axis=0)
    return np.array(
        [
            calibrated(model.written, samples, row, writing.bias_D)
            for samples, row in zip(writing.every, rows_ND, strict=True)
        ]
    )


def _solved(
    model: LanguageModel,
    samples: Sequence[Samples],
    start_ND: Values,
    shape_DD: Values,
    strength: float,
) -> Values:
    return np.array(
        [
            solve(model.written, one, row_D, shape_DD, strength)
            for one, row_D in zip(samples, start_ND, strict=True)
        ]
    )


def writing_weights(
    model: LanguageModel, phrases: Sequence[Phrase], samples: Sequence[Samples], mean_D: Values
) -> Values:
    """What a nat of writing counts for where a row has both jobs, of each token [N].

    One over what rows that know nothing lose, `WRITING` times. The token of a description is never
    due, and such rows lose next to nothing on it: there it is one over `TAKEN`, so that a row may be
    moved to be read as long as it takes little.

    Args:
        mean_D: the row that knows nothing.
    """
    lost_N = np.array([divergence(model.written, s, mean_D) for s in samples])
    is_plain = np.array([not phrase.is_described for phrase in phrases], np.bool_)
    plain = max(float(lost_N[is_plain].mean()), 1e-300) if is_plain.any() else 1.0
    return WRITING / np.where(is_plain, plain, TAKEN)


def rooted_inverse(matrix_DD: Values, least: float = 1e-3) -> Values:
    """M^-1/2 of a symmetric matrix, its small eigenvalues raised to a share of the mean one."""
    values, vectors = np.linalg.eigh((matrix_DD + matrix_DD.T) / 2)
    raised = np.maximum(values, 0.0) + least * max(float(values.mean()), 1e-300)
    scaled = raised / raised.mean()
    return np.asarray((vectors / np.sqrt(scaled)) @ vectors.T)
