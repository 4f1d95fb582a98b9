"""`run`: the one script, from a recipe to a verified folder."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokengraft.checkpoint import RECORD_FOLDER
from tokengraft.errors import ReadFailed, RefusedError, TargetExists, UsageError
from tokengraft.events import Listen, Note, ignore
from tokengraft.findings import Audit
from tokengraft.flow.making import (
    Applied,
    CopyMode,
    Planned,
    apply_planned,
    audit,
    make_plan,
    undone,
    verify,
)
from tokengraft.formats.folders import MAX_SMALL_BYTES
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.recipe_file import read_recipe
from tokengraft.formats.whole_files import read_whole
from tokengraft.results import Receipt, Verification


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


def run(  # noqa: PLR0913 - one keyword an option of the command
    recipe: Path,
    *,
    base: str | None,
    out: Path,
    copy: CopyMode = "auto",
    replace: bool = False,
    overrides: Sequence[str] = (),
    listen: Listen = ignore,
) -> Story:
    """Audit, plan, apply and verify. Findings are reported and stop nothing.

    Run again after an interruption it goes on: an OUT that was made by the very same plan is not
    made again, only verified.
    """
    source = base if base is not None else read_recipe(recipe, overrides=overrides)[0].base
    if source is None:
        raise UsageError(
            "no base is given",
            subject=str(recipe),
            hint=f"tokengraft run {shlex.quote(str(recipe))} --base SRC -o OUT",
        )
    said = audit(source, listen=listen)
    planned = make_plan(source, recipe, overrides=overrides, listen=listen)
    there = _made_by(out, planned)
    if there is None:
        applied = apply_planned(planned, out=out, copy=copy, replace=replace, listen=listen)
        resumed: tuple[str, ...] = ()
    else:
        applied = Applied(there, planned.plan, undone(planned.recipe))
        resumed = ("apply: OUT was made by this very plan before",)
        listen(Note("apply", resumed[0]))
    proof = verify(out, against=source, listen=listen)
    return Story(source, said, planned, applied, proof, resumed)


def _made_by(out: Path, planned: Planned) -> Receipt | None:
    """The receipt of OUT if this plan made it, None if there is no OUT or another plan made it.

    Raises:
        TargetExists: OUT holds no readable record of a graft, and is not ours to replace.
    """
    record = out / RECORD_FOLDER
    if not out.exists() or not (record / "receipt.json").is_file():
        return None
    try:
        data = read_whole(record / "receipt.json", limit=MAX_SMALL_BYTES, follow=False)
        receipt = Receipt.from_dict(parse_json(data, file="receipt.json").value)
    except (ReadFailed, RefusedError, ValueError) as error:
        raise TargetExists(
            f"{out} exists and its record cannot be read", detail=str(error), subject=str(out)
        ) from error
    same = receipt.plan == hashlib.sha256(planned.text).hexdigest()
    return receipt if same else None
