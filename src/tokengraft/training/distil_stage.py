"""The stage `distil`: rows trained to be read and written like what they stand for.

It goes on from the rows that the plan or the stage before gave. Text is the recipe's; where it names
none, or shows a token too rarely, the model writes text around the token itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokengraft.events import Note
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training.corpus import corpus_of
from tokengraft.training.distilling import distil_rows
from tokengraft.training.fit_stage import evidence_in, listed
from tokengraft.training.fitting import Evidence
from tokengraft.training.input_rows import beyond_last
from tokengraft.training.phrases import Standing, standing
from tokengraft.training.row_losses import STEP
from tokengraft.training.sampling import sampled_corpus
from tokengraft.training.stages import Job, StageResult
from tokengraft.training.subject import Subject, open_subject
from tokengraft.training.training_settings import Settings
from tokengraft.training.windows import Phrase

NEEDS_STAGED = False
Values = NDArray[np.float64]
SAMPLED = "trained on text that the model wrote itself"


def run(job: Job) -> StageResult:
    """Train the rows of all tokens that stand for something; others keep theirs and say so."""
    subject = open_subject(job.base, two_rows=not job.rows.is_tied)
    stand = standing(job.plan, job.recipe, subject)
    phrases = [one.phrase for one in stand if one.phrase is not None]
    parts: list[tuple[Evidence, str]] = []
    corpus = corpus_of(subject, job.recipe.train, job.recipe_folder)
    notes = [] if corpus is None else [*corpus.notes]
    if corpus is not None and phrases:
        told = evidence_in(subject, corpus, phrases, job.seed, has_known=False)
        parts += [] if told is None else [(told, "")]
    left = _left(phrases, parts)
    if left:
        job.listen(Note(STEP, f"{listed(left)}: the model writes text to train on"))
        sampled = sampled_corpus(subject, left, job.seed)
        told = evidence_in(subject, sampled, left, job.seed, has_known=False)
        parts += [] if told is None else [(told, SAMPLED)]
        if told is not None:
            notes.append(f"{listed(told.phrases)}: {SAMPLED}")
    left = _left(phrases, parts)
    if left:
        notes.append(f"{listed(left)}: no text shows it often enough; it keeps its starting row")
    made: dict[str, _One] = {}
    for number, (evidence, note) in enumerate(parts):
        texts = tuple(phrase.text for phrase in evidence.phrases)
        start = _some(job.rows, texts)
        rows = distil_rows(
            subject.model,
            evidence,
            start,
            Settings(),
            begin_ND=_begun(subject, evidence.phrases, start.input_ND),
            work=job.work / str(number) if number else job.work,
            seed=job.seed,
            listen=job.listen,
        )
        made |= {text: _One(rows, at, note) for at, text in enumerate(texts)}
    return StageResult(_put_together(job.rows, stand, made), notes=tuple(notes))


def _begun(subject: Subject, phrases: Sequence[Phrase], start_ND: Values) -> Values:
    """Where training begins: beyond the last piece; a description's last piece says little of it."""
    read_VD = subject.model.input_VD()
    is_described = np.array([phrase.is_described for phrase in phrases])
    return np.where(is_described[:, None], start_ND, beyond_last(read_VD, phrases))


@dataclass(frozen=True, slots=True, eq=False)
class _One:
    """The trained row of one token."""

    rows: RowSet
    at: int
    note: str

    @property
    def made(self) -> RowsMade:
        made = self.rows.made[self.at]
        return replace(made, notes=(*made.notes, self.note)) if self.note else made


def _left(phrases: Sequence[Phrase], parts: Sequence[tuple[Evidence, str]]) -> list[Phrase]:
    """Those that no evidence speaks of."""
    known = {phrase.text for told, _ in parts for phrase in told.phrases}
    return [phrase for phrase in phrases if phrase.text not in known]


def _some(rows: RowSet, texts: Sequence[str]) -> RowSet:
    """The rows of some tokens."""
    at = [rows.texts.index(text) for text in texts]
    output = None if rows.output_ND is None else rows.output_ND[at]
    return RowSet(tuple(texts), rows.input_ND[at], output, tuple(rows.made[n] for n in at))


def _put_together(start: RowSet, stand: Sequence[Standing], made: Mapping[str, _One]) -> RowSet:
    """The rows as they were, with trained ones in their places."""
    why = {one.text: one.why for one in stand}
    read_ND = start.input_ND.copy()
    write_ND = None if start.output_ND is None else start.output_ND.copy()
    told: list[RowsMade] = []
    figures: dict[str, float] = dict(start.figures)
    for n, text in enumerate(start.texts):
        if text not in made:
            notes = (*start.made[n].notes, *((why[text],) if why.get(text) else ()))
            told.append(replace(start.made[n], notes=tuple(dict.fromkeys(notes))))
            continue
        one = made[text]
        read_ND[n] = one.rows.input_ND[one.at]
        if write_ND is not None:
            written = one.rows.output_ND
            write_ND[n] = one.rows.input_ND[one.at] if written is None else written[one.at]
        told.append(one.made)
        figures |= one.rows.figures
    assert bool(np.isfinite(read_ND).all())
    return replace(start, input_ND=read_ND, output_ND=write_ND, made=tuple(told), figures=figures)
