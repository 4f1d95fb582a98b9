"""Fit rows without a backward pass: passes over text, then linear algebra.

Read: the map from known words corrects a composition of pieces, then steps measured by forward passes
refine it. Written: solved in closed form around the first piece's row with a calibrated bias. Where
one row does both jobs, it is solved as a written row that is held to the read one, in the metric of
what readers would notice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training.input_rows import Mapped, composed, map_alone, map_rows
from tokengraft.training.language_model import LanguageModel
from tokengraft.training.old_rows import Matrix, mean_row, spread
from tokengraft.training.output_fits import (
    Writing,
    fit_output,
    prepare_writing,
    writing_weights,
)
from tokengraft.training.output_rows import Samples, leak_and_harm, solve
from tokengraft.training.refining import Refined, SecondJob, judged, refine
from tokengraft.training.windows import Evidence

Values = NDArray[np.float64]

COMPROMISE = "compromise"  # what `RowsMade` says of one row that is fitted to both jobs
SOLVED = ("solved", "budget")  # what `RowsMade` says of output rows of their own


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
        mapped, refined, writing = fit_tied(model, evidence, writing, rows_VD[0], rng)
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


# ── both ────────────────────────────────────────────────────────────────────────────────────────


def fit_tied(
    model: LanguageModel,
    evidence: Evidence,
    writing: Writing,
    rows_VD: Matrix,
    rng: np.random.Generator,
    rounds: int | None = None,
) -> tuple[Mapped, Refined, Writing]:
    """One row for both jobs: steps on the sum of both losses.

    A loss counts by what rows that know nothing lose, writing `WRITING` times. Starts are those of reading, and what writing makes of each.

    Returns:
        The samples, too, that the last rows are judged by: they are drawn where those are written.
    """
    found = map_rows(model, rows_VD, evidence.known, (evidence.phrases, evidence.windows))
    starts = _starts(model, evidence, rows_VD, found)
    mean_ND = starts[2]
    read = float(judged(model, evidence.windows, evidence.phrases, mean_ND).mean())
    # Nothing is chosen on held-out samples here, so that both halves of the text are fitted to.
    every = writing.every
    write_N = writing_weights(model, evidence.phrases, every, mean_ND[0])

    def drawn(rows_ND: Values) -> tuple[Samples, ...]:
        nonlocal writing
        writing = writing.moved(rng, rows_ND)
        return writing.every

    second = SecondJob(model.written, every, 1 / read, write_N, drawn)
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
    return found, refined, writing


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
