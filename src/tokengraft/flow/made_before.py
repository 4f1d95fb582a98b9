"""Making an output folder, unless the plan at hand has made it before."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tokengraft.checkpoint import RECORD_FOLDER
from tokengraft.errors import ReadFailed, RefusedError, TargetExists
from tokengraft.events import Listen, Note, ignore
from tokengraft.flow.making import Applied, CopyMode, Planned, apply_planned, undone
from tokengraft.formats.folders import MAX_SMALL_BYTES
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.whole_files import read_whole
from tokengraft.results import Receipt


def apply_once(
    planned: Planned, *, out: Path, copy: CopyMode, replace: bool, listen: Listen = ignore
) -> tuple[Applied, tuple[str, ...]]:
    """Apply a plan, or take what it made before; and a sentence that says so, if it did.

    Raises:
        TargetExists: see `made_by`.
    """
    there = made_by(out, planned)
    if there is None:
        return apply_planned(planned, out=out, copy=copy, replace=replace, listen=listen), ()
    told = "apply: OUT was made by this very plan before"
    listen(Note("apply", told))
    return Applied(there, planned.plan, undone(planned.recipe, planned.plan)), (told,)


def made_by(out: Path, planned: Planned) -> Receipt | None:
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
