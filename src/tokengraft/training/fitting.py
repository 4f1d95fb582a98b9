"""Fit rows without a backward pass: passes over text, then linear algebra.

Read: the map from known words corrects a composition of pieces, then steps measured by forward passes
refine it. Written: solved in closed form around the first piece's row with a calibrated bias. Where
one row does both jobs, it is solved as a written row that is held to the read one, in the metric of
what readers would notice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training.input_rows import Mapped, composed, map_alone, map_rows
from tokengraft.training.language_model import LanguageModel, Written
from tokengraft.training.old_rows import Matrix, mean_row, rows_at, spread
from tokengraft.training.output_rows import (
    Samples,
    bias_direction,
    both,
    calibrated,
    divergence,
    leak_and_harm,
    solve,
)
from tokengraft.training.output_samples import LEAK, choose_neutral, samples_of
from tokengraft.training.refining import Refined, SecondJob, judged, refine
from tokengraft.training.states import due_states, neutral_states
from tokengraft.training.windows import Phrase, Windows

Values = NDArray[np.float64]
Ids = NDArray[np.int64]

_STRENGTHS = tuple(float(10.0**n) for n in (-3, -2, -1, 0, 1, 2))
_TRIED = 48  # tokens that strengths are chosen on
WRITING = 2.0  # what a share of the loss in writing counts for against one in reading, on one row
TAKEN = 1e-3  # nats of neutral text that count like all of reading, for a description's one row
COMPROMISE = "compromise"  # what `RowsMade` says of one row that is fitted to both jobs
SOLVED = ("solved", "budget")  # what `RowsMade` says of output rows of their own
_DRAFTED = 1.0  # how strongly first rows are held, which say where states are drawn
_APART = 0.1  # nats by which tokens without pieces differ, so that training can tell them apart


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What rows are fitted on.

    Attributes:
        phrases: the new tokens.
        windows, validation: of each phrase, from different documents.
        neutral_ST, keep_ST: text, and the positions at which none of the phrases is due.
        frequency_N: occurrences of each phrase a position of text.
        known: words of one piece as pieces, with their windows; none where nothing is known.
        trained: ids whose rows are known to be trained.
        bos: an id that stands before every text, None where there is none.
    """

    phrases: tuple[Phrase, ...]
    windows: Windows
    validation: Windows
    neutral_ST: Ids
    keep_ST: NDArray[np.bool_]
    frequency_N: Values
    known: tuple[Sequence[Phrase], Windows]
    trained: Ids
    bos: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Writing:
    """Samples of each token to fit on and to choose by, and where its row starts.

    Attributes:
        fit, held_out: from different windows and different text.
        start_ND: the first piece's row with a calibrated bias; for descriptions, a bias alone.
        second_DD: mean of h h' over neutral text.
        bias_D: the direction whose product with states is about 1.
    """

    fit: tuple[Samples, ...]
    held_out: tuple[Samples, ...]
    start_ND: Values
    second_DD: Values
    bias_D: Values


def fit_rows(
    model: LanguageModel, evidence: Evidence, rows_VD: tuple[Matrix, Matrix], seed: int = 0
) -> RowSet:
    """Fit both rows of every token, or the one that does both jobs.

    Args:
        rows_VD: input and output rows to start from; the same array where tied.
    """
    rng = np.random.default_rng(seed)
    writing = prepare_writing(model, evidence, rows_VD[1], rng)
    if model.tied:
        mapped, refined = fit_tied(model, evidence, writing, rows_VD[0], rng)
        written_ND = refined.rows_ND
    else:
        mapped, refined = fit_input(model, evidence, rows_VD[0], rng)
        written_ND = fit_output(model, writing)
    return RowSet(
        texts=tuple(phrase.text for phrase in evidence.phrases),
        input_ND=refined.rows_ND,
        output_ND=None if model.tied else written_ND,
        made=_made(model, evidence, writing, written_ND),
        figures={
            **_map_figures(mapped),
            "loss_before": float(refined.before_N.mean()),
            "loss_after": float(refined.after_N.mean()),
        },
    )


def _map_figures(mapped: Mapped) -> dict[str, float]:
    """Errors on known words; none where no word is known, which is not an error of 0."""
    if np.isnan(mapped.error):
        return {}
    return {"map_error": mapped.error, "composition_error": mapped.error_of_composition}


# ── read ─────────────────────────────────────────────────────────────────────────────────────────


def fit_input(
    model: LanguageModel,
    evidence: Evidence,
    rows_VD: Matrix,
    rng: np.random.Generator,
    rounds: int | None = None,
) -> tuple[Mapped, Refined]:
    """Map, then refine; tokens start where it reads best, the mean of all rows included.

    Args:
        rounds: of refinement; 0 only chooses where to start.
    """
    found = map_rows(model, rows_VD, evidence.known, (evidence.phrases, evidence.windows))
    starts = _starts(model, evidence, rows_VD, found)
    spread_DD = spread(rows_VD, evidence.trained)
    refined = refine(
        model,
        evidence.windows,
        evidence.phrases,
        starts,
        rng,
        spread_DD=spread_DD,
        rounds=rounds,
    )
    return found, refined


def _starts(
    model: LanguageModel, evidence: Evidence, rows_VD: Matrix, found: Mapped
) -> list[Values]:
    mean_ND = np.repeat(mean_row(rows_VD, evidence.trained)[None], len(evidence.phrases), axis=0)
    last = composed(rows_VD, evidence.phrases, "last")
    alone = map_alone(model, rows_VD, evidence.trained, evidence.phrases, evidence.bos)
    middle = (alone + found.rows_ND) / 2
    return [found.rows_ND, found.composed_ND, mean_ND, last, (last + mean_ND) / 2, alone, middle]


# ── write ────────────────────────────────────────────────────────────────────────────────────────


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
    dues = [due_states(model, w, phrases) for w in (evidence.windows, evidence.validation)]

    def drawn(rows_ND: Values | None) -> list[tuple[Samples, ...]]:
        """Of each half of the text."""
        halves = []
        for half, due in enumerate(dues):
            usable_P = neutral.sequence_P % 2 == half
            chosen = choose_neutral(model, neutral, phrases, usable_P, rng, rows_ND)
            found = samples_of(model, phrases, (due, neutral), chosen, evidence.frequency_N)
            halves.append(tuple(found))
        return halves

    every = [both(*parts) for parts in zip(*drawn(None), strict=True)]
    start_ND = _begun(model, phrases, every, rows_VD, bias_D, rng)
    solved_ND = _solved(model, every, start_ND, rooted_inverse(second_DD), _DRAFTED)
    written_ND = [
        calibrated(model.written, samples, row, bias_D)
        for samples, row in zip(every, solved_ND, strict=True)
    ]
    fit, held_out = drawn(np.array(written_ND))
    every = [both(*parts) for parts in zip(fit, held_out, strict=True)]
    start_ND = _begun(model, phrases, every, rows_VD, bias_D, rng)
    return Writing(fit, held_out, start_ND, second_DD, bias_D)


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
            calibrated(model.written, both(*parts), row, writing.bias_D)
            for *parts, row in zip(writing.fit, writing.held_out, rows_ND, strict=True)
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


def fit_tied(
    model: LanguageModel,
    evidence: Evidence,
    writing: Writing,
    rows_VD: Matrix,
    rng: np.random.Generator,
    rounds: int | None = None,
) -> tuple[Mapped, Refined]:
    """One row for both jobs: steps on the sum of both losses.

    A loss counts by what rows that know nothing lose, writing `WRITING` times. Starts are those of reading, and what writing makes of each.
    """
    found = map_rows(model, rows_VD, evidence.known, (evidence.phrases, evidence.windows))
    starts = _starts(model, evidence, rows_VD, found)
    mean_ND = starts[2]
    read = float(judged(model, evidence.windows, evidence.phrases, mean_ND).mean())
    # Nothing is chosen on held-out samples here, so that both halves of the text are fitted to.
    every = tuple(both(*parts) for parts in zip(writing.fit, writing.held_out, strict=True))
    write_N = writing_weights(model, evidence.phrases, every, mean_ND[0])
    second = SecondJob(model.written, every, 1 / read, write_N)
    shape_DD = np.eye(model.width)
    for strength in (0.1, 1.0):
        starts += [
            np.array(
                [
                    solve(model.written, samples, row, shape_DD, strength)
                    for samples, row in zip(every, start_ND, strict=True)
                ]
            )
            for start_ND in (starts[0], starts[2], starts[5], writing.start_ND)
        ]
    refined = refine(
        model,
        evidence.windows,
        evidence.phrases,
        starts,
        rng,
        spread_DD=spread(rows_VD, evidence.trained),
        second=second,
        rounds=rounds,
    )
    return found, refined


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


# ── what is said of it ───────────────────────────────────────────────────────────────────────────


def _made(
    model: LanguageModel, evidence: Evidence, writing: Writing, written_ND: Values
) -> tuple[RowsMade, ...]:
    counts = np.bincount(evidence.windows.token_W, minlength=len(evidence.phrases))
    made = []
    for n, (phrase, samples) in enumerate(zip(evidence.phrases, writing.held_out, strict=True)):
        leak, harm = leak_and_harm(model.written, samples, written_ND[n])
        write = COMPROMISE if model.tied else SOLVED[phrase.is_described]
        made.append(
            RowsMade(
                read=write if model.tied else "refined",
                write=write,
                n_contexts=int(counts[n]),
                leak=None if np.isnan(leak) else leak,
                harm_nats=harm,
            )
        )
    return tuple(made)
