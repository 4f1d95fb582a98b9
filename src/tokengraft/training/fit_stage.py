"""The stage `fit`: rows without a backward pass, from a corpus where there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tokengraft.events import Done, Progress, Started
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training.corpus import FIT, VALIDATION, Corpus, corpus_of
from tokengraft.training.evidence import evidence_of, part_of_corpus
from tokengraft.training.fitting import fit_rows
from tokengraft.training.old_rows import Matrix
from tokengraft.training.phrases import Standing, standing
from tokengraft.training.stages import Job, StageResult
from tokengraft.training.subject import Subject, open_subject
from tokengraft.training.windows import Evidence, Phrase
from tokengraft.training.without_corpus import rows_without_corpus

NEEDS_STAGED = False
STEP = "fit"
STEPS = 4  # load, read, look through, fit
FEWEST = {FIT: 4, VALIDATION: 1}  # windows of a token, so that it is fitted on text
KEPT = "start"  # what `RowsMade` names where a row stays as the plan has it

Values = NDArray[np.float64]


def run(job: Job) -> StageResult:
    """Fit the rows of all tokens that stand for something; others keep theirs and say so."""
    job.listen(Started(STEP, "", STEPS, "steps"))
    subject = open_subject(job.base, two_rows=not job.rows.is_tied)
    _step(job, 1)
    stand = standing(job.plan, job.recipe, subject)
    phrases = [one.phrase for one in stand if one.phrase is not None]
    corpus = corpus_of(subject, job.recipe.train, job.recipe_folder)
    _step(job, 2)
    notes = [] if corpus is None else [*corpus.notes]
    made: dict[str, tuple[RowSet, int]] = {}
    if corpus is not None and phrases:
        made = _fitted(job, subject, corpus, phrases)
    else:
        _step(job, 3)
    left = [phrase for phrase in phrases if phrase.text not in made]
    if left:
        made |= numbered(_without(subject, left))
        if corpus is not None:
            notes.append(
                f"{listed(left)}: too rare in the text to be fitted on it, or the text is too short"
            )
    if phrases and corpus is None:
        notes.append("there is no local text to fit on: rows are composed of pieces")
    job.listen(Done(STEP))
    return StageResult(put_together(job.rows, stand, made), notes=tuple(notes))


def _step(job: Job, done: int) -> None:
    job.listen(Progress(STEP, "", done, STEPS, "steps"))


def _fitted(
    job: Job, subject: Subject, corpus: Corpus, phrases: Sequence[Phrase]
) -> dict[str, tuple[RowSet, int]]:
    """Rows of those tokens that the text shows often enough."""
    told = evidence_in(subject, corpus, phrases, job.seed)
    _step(job, 3)
    if told is None:
        return {}
    return numbered(fit_rows(subject.model, told, _rows(subject), job.seed))


def evidence_in(
    subject: Subject,
    corpus: Corpus,
    phrases: Sequence[Phrase],
    seed: int,
    *,
    has_known: bool = True,
) -> Evidence | None:
    """What a text says of those tokens that it shows often enough; None where it shows none so.

    `has_known` as in `evidence_of`.
    """
    parts = {name: part_of_corpus(subject, corpus, phrases, name, seed) for name in FEWEST}
    enough = np.ones(len(phrases), np.bool_)
    for name, part in parts.items():
        enough &= part.windows_N >= FEWEST[name]
    if not enough.any() or not all(part.has_neutral for part in parts.values()):
        return None
    chosen = [phrase for phrase, good in zip(phrases, enough, strict=True) if good]
    both = (parts[FIT].of(enough), parts[VALIDATION].of(enough))
    return evidence_of(subject, corpus, chosen, both, has_known=has_known)


def _without(subject: Subject, phrases: Sequence[Phrase]) -> RowSet:
    trained = np.flatnonzero(subject.used_V)
    return rows_without_corpus(subject.model, phrases, _rows(subject), trained, subject.bos)


def _rows(subject: Subject) -> tuple[Matrix, Matrix]:
    read_VD = subject.model.input_VD()
    return read_VD, read_VD if subject.model.tied else subject.model.output_VD()


def numbered(rows: RowSet) -> dict[str, tuple[RowSet, int]]:
    """Each token's row set and its place there."""
    return {text: (rows, n) for n, text in enumerate(rows.texts)}


def put_together(
    start: RowSet, stand: Sequence[Standing], made: Mapping[str, tuple[RowSet, int]]
) -> RowSet:
    """The rows as they were, with those that were made in their places."""
    why = {one.text: one.why for one in stand}
    read_ND = start.input_ND.copy()
    write_ND = None if start.output_ND is None else start.output_ND.copy()
    told: list[RowsMade] = []
    figures: dict[str, float] = {}
    for n, text in enumerate(start.texts):
        if text not in made:
            note = why.get(text, "")
            told.append(RowsMade(KEPT, KEPT, notes=(note,) if note else ()))
            continue
        rows, at = made[text]
        read_ND[n] = rows.input_ND[at]
        if write_ND is not None:
            written = rows.output_ND if rows.output_ND is not None else rows.input_ND
            write_ND[n] = written[at]
        told.append(rows.made[at])
        figures |= rows.figures
    return replace(start, input_ND=read_ND, output_ND=write_ND, made=tuple(told), figures=figures)


def listed(phrases: Sequence[Phrase]) -> str:
    """The first texts of some, for a note."""
    shown = ", ".join(repr(phrase.text) for phrase in phrases[:3])
    more = len(phrases) - 3
    return f"{shown} and {more} more" if more > 0 else shown
