"""The stage `distil`: rows trained to be read and written like what they stand for.

It goes on from the rows that the plan or the stage before gave. Text is the recipe's; where it names
none, or shows a token too rarely, the model writes text around the token itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tokengraft.events import Note
from tokengraft.recipes import Distillation
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training import ranks
from tokengraft.training.corpus import corpus_of
from tokengraft.training.distil_training import Task, subject_for
from tokengraft.training.fit_stage import evidence_in, listed
from tokengraft.training.fitting import SOLVED
from tokengraft.training.partial_passes import compared
from tokengraft.training.phrases import Standing, standing
from tokengraft.training.row_cross_entropy import require_plain
from tokengraft.training.row_losses import STEP
from tokengraft.training.sampling import sampled_corpus
from tokengraft.training.stages import Job, StageResult
from tokengraft.training.trackers import require_tracker
from tokengraft.training.windows import Evidence, Phrase

NEEDS_STAGED = False
SAMPLED = "trained on text that the model wrote itself"


def run(job: Job) -> StageResult:
    """Train the rows of all tokens that stand for something; others keep theirs and say so.

    Raises:
        MissingExtra, EnvironmentProblem: what the settings ask for is not on this machine.
        UsageError: the model has no such layer.
        UnsupportedFormat: cross_entropy is asked for, and logits are soft-capped.
    """
    train = job.recipe.train
    wish = (train.distil if train is not None else None) or Distillation()
    require_tracker(wish.log, "train.distil.log")
    subject = subject_for(job.base, wish, two_rows=not job.rows.is_tied)
    compared(wish, subject.model)
    if wish.cross_entropy:
        require_plain(subject.model)
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
        work = job.work / str(number) if number else job.work
        start = _some(job.rows, texts)
        Task(job.base, evidence, start, _as_left(wish, start), job.seed).save(work)
        rows = ranks.train_together("distil", work, job.listen)
        made |= {text: _One(rows, at, note) for at, text in enumerate(texts)}
    return StageResult(_put_together(job.rows, stand, made), notes=tuple(notes))


def _as_left(wish: Distillation, start: RowSet) -> Distillation:
    """The settings; output rows that a fit has solved on the same text are not solved again."""
    solved = all(one.n_contexts and one.write in SOLVED for one in start.made)
    if wish.writing == "solve" and solved and start.output_ND is not None:
        return wish.model_copy(update={"writing": "keep"})
    return wish


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
