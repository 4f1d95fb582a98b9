"""What a stage of training is: rows as they are go in, better ones come out.

A stage writes no checkpoint. It reads the untouched base and a private folder in which the plan is
applied, keeps what it needs to go on in a folder of its own, and gives rows back (and an adapter,
where the model itself was trained). Whoever runs the stages puts both into the same plan, so that
there stays one way to write a row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import cast

from tokengraft.errors import UnsupportedFormat
from tokengraft.events import Listen, ignore
from tokengraft.plans import Plan
from tokengraft.recipes import Recipe
from tokengraft.row_sets import RowSet


@dataclass(frozen=True, slots=True)
class Job:
    """What a stage is given.

    Attributes:
        base: the untouched folder.
        staged: a private folder in which the plan is applied with the rows as they are now; to be
            loaded, never to be written. Missing where the stage's module says `NEEDS_STAGED = False`.
        plan: with the ids of all new tokens.
        recipe: the user's; `recipe_folder` is where its paths start.
        rows: all new tokens, as they are now.
        work: the stage's own folder, the same one after an interruption.
    """

    base: Path
    staged: Path
    plan: Plan
    recipe: Recipe
    recipe_folder: Path
    rows: RowSet
    work: Path
    seed: int = 0
    listen: Listen = ignore


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a stage gives back.

    Attributes:
        rows: of the same tokens as the job's, in the same order.
        adapter: a PEFT folder to bake in; None where no weight but the new rows was trained.
        notes: what a reader should know, one sentence each.
    """

    rows: RowSet
    adapter: Path | None = None
    notes: tuple[str, ...] = ()


Stage = Callable[[Job], StageResult]


def stage_named(name: str) -> Stage:
    """The function that carries a stage out; its module is imported now, and torch with its call.

    Raises:
        UnsupportedFormat: this installation has no such stage.
    """
    return cast("Stage", _module(name).run)


def needs_staged(name: str) -> bool:
    """Whether a stage reads the folder in which the plan is applied."""
    return bool(getattr(_module(name), "NEEDS_STAGED", True))


def _module(name: str) -> ModuleType:
    full = f"tokengraft.training.{name}_stage"
    try:
        return import_module(full)
    except ModuleNotFoundError as error:
        if error.name != full:
            raise
        raise UnsupportedFormat(
            f"this installation has no stage {name!r}",
            subject="train.stages",
            hint="leave it out of [train] stages",
        ) from error
