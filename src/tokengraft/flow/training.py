"""`train`: plan, train on the base and a private stage, put what was learned into the plan, apply once.

What is finished lies in `<OUT>.training/`, stage by stage under a key of all that decides it, so that
a second call goes on where the first stopped, and a changed recipe is trained anew from the first
stage that it concerns.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tokengraft.applying.locking import locked
from tokengraft.applying.places import Destination, refuse_place
from tokengraft.applying.syscalls import SYSTEM
from tokengraft.errors import TargetExists, UsageError
from tokengraft.events import Done, Event, Listen, Note, Started, ignore
from tokengraft.flow.corpora import glance_port
from tokengraft.flow.launches import dismiss
from tokengraft.flow.made_before import apply_once
from tokengraft.flow.making import (
    Applied,
    CopyMode,
    Planned,
    apply_planned,
    load,
    plan_recipe,
)
from tokengraft.flow.stage_records import (
    Finished,
    Place,
    data_of,
    finished,
    key_of,
    recorded,
    save_finished,
    yielded,
)
from tokengraft.flow.starting_rows import new_tokens, starting_rows
from tokengraft.formats.recipe_file import read_recipe
from tokengraft.formats.training_records import BEHAVIOUR, training_folder
from tokengraft.hub import hub_cache
from tokengraft.results import Verification
from tokengraft.row_sets import RowSet
from tokengraft.trainings import (
    STAGE_NAMES,
    StageDone,
    StageName,
    StageRecord,
    TokenVerdicts,
    Training,
)

if TYPE_CHECKING:
    from tokengraft.planning.library import CountCorpus
    from tokengraft.training.stages import Job

STEP = "train"


@dataclass(frozen=True, slots=True)
class Asked:
    """A training that was asked for, planned with starting rows.

    Attributes:
        start: the plan without training.
        stages: in the order in which they run.
        folder: where the paths of the recipe start.
        glance: counts what words save in the text, once for all plans.
    """

    start: Planned
    stages: tuple[StageName, ...]
    folder: Path
    out: Path
    glance: CountCorpus

    @property
    def seed(self) -> int:
        rows = self.start.recipe.rows
        return 0 if rows is None else rows.seed

    @property
    def place(self) -> Place:
        return Place(training_folder(self.out))


@dataclass(frozen=True, slots=True)
class TrainedOut:
    """What a training did.

    Attributes:
        planned: the plan that was applied, with the rows that were trained.
        resumed: what had been done before.
    """

    planned: Planned
    applied: Applied
    stages: tuple[StageDone, ...]
    tokens: TokenVerdicts
    folder: Path
    resumed: tuple[str, ...] = ()


def asks_for_training(recipe: Path, overrides: Sequence[str] = ()) -> bool:
    """Whether a recipe names stages of training."""
    wish, _ = read_recipe(recipe, overrides=overrides)
    return wish.train is not None and bool(wish.train.stages)


def ask(
    source: str | None,
    recipe: Path,
    *,
    out: Path,
    overrides: Sequence[str] = (),
    listen: Listen = ignore,
) -> Asked:
    """Plan what is to be trained.

    Raises:
        UsageError: the recipe names no stage, no base, or adds no token.
        TokengraftError: its data cannot be read; see `check_readable`.
    """
    from tokengraft.training.reading import check_readable

    wish, text = read_recipe(recipe, overrides=overrides)
    quoted = shlex.quote(str(recipe))
    if wish.train is None or not wish.train.stages:
        raise UsageError(
            "the recipe asks for no training",
            detail="[train] stages names what is to be done: fit, distil, sft",
            subject=str(recipe),
            hint='add to the recipe: [train] stages = ["fit"]',
        )
    source = source if source is not None else wish.base
    if source is None:
        raise UsageError(
            "no base is given",
            subject=str(recipe),
            hint=f"tokengraft train SRC {quoted} -o OUT, or base = in the recipe",
        )
    checkpoint = load(source, listen)
    glance = glance_port(checkpoint.small_files.get("tokenizer.json"), recipe.parent, listen)
    start = plan_recipe(
        checkpoint,
        wish,
        text=text,
        source=source,
        folder=recipe.parent,
        glance=glance,
        listen=listen,
    )
    if checkpoint.tensors is None:
        raise UsageError(
            "the base has no weights, so nothing can be trained on it",
            subject=str(checkpoint.root),
            hint="tokengraft apply plans and edits small files without them",
        )
    if wish.train.data is not None:
        check_readable(wish.train.data, recipe.parent)
    if not new_tokens(start.plan):
        raise UsageError(
            "the recipe adds no token whose rows could be trained",
            subject=str(recipe),
            hint=f"tokengraft apply {quoted} -o OUT does what it asks for",
        )
    stages = tuple(name for name in STAGE_NAMES if name in wish.train.stages)
    return Asked(start, stages, recipe.parent, out, glance)


def train(  # noqa: PLR0913 - one keyword an option of the command
    source: str | None,
    recipe: Path,
    *,
    out: Path,
    copy: CopyMode = "auto",
    replace: bool = False,
    overrides: Sequence[str] = (),
    listen: Listen = ignore,
) -> TrainedOut:
    """Run what is left of a recipe's stages, and make OUT from the base with what they yield.

    Raises:
        UsageError: there is nothing to train; see `ask`.
        TargetExists: OUT is there and was not made by this very training, or the folder of
            records is somebody else's.
        TargetLocked: another training for this OUT is under way.
    """
    try:
        asked = ask(source, recipe, out=out, overrides=overrides, listen=listen)
        return _trained_out(asked, copy=copy, replace=replace, listen=listen)
    finally:
        dismiss()


def _trained_out(asked: Asked, *, copy: CopyMode, replace: bool, listen: Listen) -> TrainedOut:
    place = asked.place
    for target in (asked.out, place.folder):
        refuse_place(Destination(target, asked.start.checkpoint.root, cache=hub_cache()))
    with _held(place, asked.out):
        keys = _keys(asked)
        done = _finished(place, asked.stages, keys, listen)
        if len(done) < len(asked.stages) and asked.out.exists() and not replace:
            raise TargetExists(
                f"{asked.out} exists",
                detail="what is to be trained would have no place to go",
                subject=str(asked.out),
                hint="name a new folder, or give --replace if it is an earlier output",
            )
        listen(Started(STEP, str(asked.out)))
        shown = [_shown(one.record, resumed=True) for one in done]
        for name in asked.stages[len(done) :]:
            done.append(_run(asked, name, keys[name], done, copy=copy, listen=listen))
            shown.append(_shown(done[-1].record, resumed=False))
        key = keys[asked.stages[-1]]
        tokens = place.verdicts(key)
        if tokens is None:  # before OUT is made: data that cannot be read must leave none behind
            tokens = _judged(asked, done, listen)
            place.judge(key, tokens)
        final = _planned(asked, done, listen)
        applied, before = apply_once(
            final, out=asked.out, copy=copy, replace=replace, listen=listen
        )
        if not before:
            (place.folder / BEHAVIOUR).unlink(missing_ok=True)  # it speaks of another OUT
        place.gather(asked.stages)
        place.clear_stage()
        listen(Done(STEP, str(asked.out)))
    resumed = (*(f"{one.stage}: finished before" for one in shown if one.resumed), *before)
    applied = Applied(applied.receipt, applied.plan, ())  # nothing of [train] is left
    return TrainedOut(final, applied, tuple(shown), tokens, place.folder, resumed)


def told(done: TrainedOut, proved: Verification, seconds: float) -> Training:
    """What a training did, as a document."""
    return Training(
        plan=done.planned.plan,
        stages=done.stages,
        tokens=done.tokens,
        receipt=done.applied.receipt,
        verify=proved,
        folder=str(done.folder),
        seconds=seconds,
    )


# ── stages ───────────────────────────────────────────────────────────────────────────────────────


def _keys(asked: Asked) -> dict[StageName, str]:
    """The key of each stage: all that decides its result, the stages before it included."""
    train = asked.start.recipe.train
    assert train is not None
    settings = train.model_dump(mode="json")
    whole = {"data": data_of(asked.folder, train.data), "seed": asked.seed}
    keys: dict[StageName, str] = {}
    before = ""
    for name in asked.stages:
        own = {
            key: data_of(asked.folder, value) if isinstance(value, str) else value
            for key, value in (settings.get(name) or {}).items()
        }
        own = {"stage": own, **whole}
        before = key_of(asked.start, name, own, before)
        keys[name] = before
    return keys


def _finished(
    place: Place, stages: Sequence[StageName], keys: dict[StageName, str], listen: Listen
) -> list[Finished]:
    """The stages, from the first one on, that were finished for this very training."""
    done: list[Finished] = []
    for name in stages:
        record = recorded(place, name)
        if record is None:
            break
        if record.key != keys[name]:
            listen(Note(STEP, f"{name} is trained anew: base, recipe, data or settings changed"))
            break
        found = finished(place, record)
        if found is None:
            break
        listen(Note(STEP, f"{name} was finished before; its rows are taken"))
        done.append(found)
    return done


def _run(
    asked: Asked,
    name: StageName,
    key: str,
    done: Sequence[Finished],
    *,
    copy: CopyMode,
    listen: Listen,
) -> Finished:
    from tokengraft.training.stages import needs_staged, stage_named
    from tokengraft.training.subject import forget_subject

    place = asked.place
    stage = stage_named(name)
    planned = asked.start  # whose ids hold for every stage; rows come with the job
    if needs_staged(name):
        planned = _planned(asked, done, listen) if done else asked.start
        forget_subject()  # it loads a model of its own: two would not fit where one does
        # Never by hard links: what reads the stage may be a program that also writes.
        way: CopyMode = "auto" if copy == "link" else copy
        place.clear_stage()
        apply_planned(planned, out=place.stage, copy=way, listen=listen)
    started = time.monotonic()
    said = set[str]()  # by the stage itself, while it worked

    def hear(event: Event) -> None:
        if isinstance(event, Note):
            said.add(event.text)
        listen(event)

    result = stage(_job(asked, planned, done, work=place.begin(name, key), listen=hear))
    for note in result.notes:
        if note not in said:
            listen(Note(name, note))
    seconds = round(time.monotonic() - started, 3)
    return save_finished(place, name, key, result, seconds)


def _job(
    asked: Asked, planned: Planned, done: Sequence[Finished], *, work: Path, listen: Listen
) -> Job:
    from tokengraft.training.stages import Job

    return Job(
        base=asked.start.checkpoint.root,
        staged=asked.place.stage,
        plan=planned.plan,
        recipe=asked.start.recipe,
        recipe_folder=asked.folder,
        rows=_rows(asked, done),
        work=work,
        seed=asked.seed,
        listen=listen,
    )


def _rows(asked: Asked, done: Sequence[Finished]) -> RowSet:
    if done:
        return done[-1].rows
    return starting_rows(asked.start)


def _planned(asked: Asked, done: Sequence[Finished], listen: Listen) -> Planned:
    """The plan with the rows as they are now, and with the last adapter."""
    start = asked.start
    return plan_recipe(
        start.checkpoint,
        start.recipe,
        text=start.plan.recipe,
        source=start.source,
        folder=asked.folder,
        trained=yielded(done),
        glance=asked.glance,
        listen=listen,
    )


def _shown(record: StageRecord, *, resumed: bool) -> StageDone:
    return StageDone(
        stage=record.stage, seconds=record.seconds, resumed=resumed, notes=record.notes
    )


def _judged(asked: Asked, done: Sequence[Finished], listen: Listen) -> TokenVerdicts:
    from tokengraft.training.judging import judge_rows

    job = _job(asked, asked.start, done, work=asked.place.folder, listen=listen)
    return judge_rows(job, changed_model=any(one.adapter is not None for one in done))


@contextmanager
def _held(place: Place, out: Path) -> Iterator[None]:
    """Hold the folder of records for one training; see `Place.open_parent`."""
    with place.open_parent() as parent, locked(parent, place.folder, SYSTEM):
        place.require_ours(out)
        yield
