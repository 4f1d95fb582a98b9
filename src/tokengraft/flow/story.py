"""`run`: the one script, from a recipe to a verified folder."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokengraft.errors import UsageError
from tokengraft.events import Listen, Note, ignore
from tokengraft.findings import Audit
from tokengraft.flow.behaving import AUTO, NothingToAsk
from tokengraft.flow.launches import dismiss
from tokengraft.flow.made_before import apply_once
from tokengraft.flow.making import (
    Applied,
    CopyMode,
    Planned,
    audit,
    make_plan,
)
from tokengraft.flow.proving import verify
from tokengraft.flow.reports import report_beside
from tokengraft.flow.serving import serving
from tokengraft.flow.training import TrainedOut, asks_for_training, train
from tokengraft.formats.recipe_file import read_recipe
from tokengraft.formats.training_records import BEHAVIOUR, HELD_OUT
from tokengraft.results import Verification


@dataclass(frozen=True, slots=True)
class Story:
    """What a run did, chapter by chapter."""

    source: str
    audit: Audit
    planned: Planned
    applied: Applied
    verification: Verification
    resumed: tuple[str, ...]
    reports: tuple[Path, ...] = ()
    trained: TrainedOut | None = None
    serve: tuple[str, ...] = ()


def run(  # noqa: PLR0913 - one keyword an option of the command
    recipe: Path,
    *,
    base: str | None,
    out: Path,
    copy: CopyMode = "auto",
    replace: bool = False,
    overrides: Sequence[str] = (),
    language: str = "en",
    listen: Listen = ignore,
) -> Story:
    """Audit, plan, train if the recipe asks for it, apply, verify and report.

    Run again after an interruption it goes on: finished stages of training are not trained again,
    and an OUT that was made by the very same plan is only verified.
    """
    source = base if base is not None else read_recipe(recipe, overrides=overrides)[0].base
    if source is None:
        raise UsageError(
            "no base is given",
            subject=str(recipe),
            hint=f"tokengraft run {shlex.quote(str(recipe))} --base SRC -o OUT",
        )
    said = audit(source, listen=listen)
    if asks_for_training(recipe, overrides):
        done = train(
            source,
            recipe,
            out=out,
            copy=copy,
            replace=replace,
            overrides=overrides,
            listen=listen,
        )
        proof = _proof(out, source, done, recipe.parent, listen)
        reports = report_beside(out, source, proof, language=language, listen=listen)
        told = (source, said, done.planned, done.applied, proof, done.resumed, reports, done)
        return Story(*told, serve=_serve(out, done.planned))
    dismiss()  # nothing is trained, so nobody is waited for
    planned = make_plan(source, recipe, overrides=overrides, listen=listen)
    applied, resumed = apply_once(planned, out=out, copy=copy, replace=replace, listen=listen)
    proof = verify(out, against=source, listen=listen)
    reports = report_beside(out, source, proof, language=language, listen=listen)
    serve = _serve(out, planned)
    return Story(source, said, planned, applied, proof, resumed, reports, serve=serve)


def _serve(out: Path, planned: Planned) -> tuple[str, ...]:
    """The commands that serve the result; none where it has no weights or no chat template."""
    tokenizer = planned.checkpoint.tokenizer
    if planned.checkpoint.tensors is None or tokenizer is None or not tokenizer.templates:
        return ()
    return tuple(serving(out, planned.recipe))


def _proof(out: Path, source: str, done: TrainedOut, folder: Path, listen: Listen) -> Verification:
    """Verify; and where the training held rows out of its data, ask the model about them."""
    if not any(done.folder.rglob(HELD_OUT)):
        return verify(out, against=source, listen=listen)
    record = done.folder / BEHAVIOUR
    try:
        return verify(
            out, against=source, behaviour=AUTO, record=record, folder=folder, listen=listen
        )
    except NothingToAsk as error:
        listen(Note("verify", error.summary))
        return verify(out, against=source, listen=listen)
