"""What a plan changed, looked up on both sides: keys, tensors, positions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.low_rank import updates_by_tensor
from tokengraft.plans import Keep, PatchJson, Plan, RemapRows, RemoveKey, RenameKey, SetKey
from tokengraft.positions.reading import kind_of, read
from tokengraft.positions.scaling import frequencies, plain
from tokengraft.positions.stretching import config_of, reach_of
from tokengraft.positions.telling import counted_pairs
from tokengraft.recipes import Recipe
from tokengraft.reports import Frequencies, KeyChange, TensorChange

UNKNOWN: Final = "?"
VALUE_CHARACTERS: Final = 2_000


def key_changes(plan: Plan, base: Checkpoint | None) -> Iterator[KeyChange]:
    """Every key that is set, renamed or taken away; tables of tokens are told elsewhere."""
    for edit in plan.edits:
        if not isinstance(edit, PatchJson):
            continue
        for change in edit.changes:
            if isinstance(change, SetKey | RemoveKey | RenameKey):
                before = UNKNOWN if base is None else _before(base, edit.path, change.pointer)
                yield KeyChange(edit.path, change.pointer, before, _after(change))


def _before(base: Checkpoint, file: str, pointer: str) -> str | None:
    found = base.value(file, pointer)
    return None if found is None else _json(found)


def _after(change: SetKey | RemoveKey | RenameKey) -> str | None:
    match change:
        case SetKey(value=value):
            return _json(value)
        case RenameKey(key=key):
            return key
        case RemoveKey():
            return None


def _json(value: JsonValue | object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE_CHARACTERS else text[:VALUE_CHARACTERS] + " …"


def tensor_changes(plan: Plan) -> Iterator[TensorChange]:
    """Every tensor that is not copied bit for bit."""
    updates = updates_by_tensor(plan.edits)
    remapped = plan.row_edits()
    for name, edit in remapped.items():
        yield TensorChange(
            name,
            rows_before=edit.n_rows_there,
            rows_after=edit.n_rows_after,
            rows_written=_written(edit),
            updates=len(updates.get(name, ())),
        )
    for name, found in updates.items():
        if name not in remapped:
            yield TensorChange(name, updates=len(found))


def _written(edit: RemapRows) -> int:
    return sum(source.n_rows for source in edit.rows if not isinstance(source, Keep))


def positions(recipe: Recipe, base: Checkpoint | None, result: Checkpoint) -> Frequencies | None:
    """What became of rotary positions; None where the recipe has nothing on them."""
    if recipe.context is None:
        return None
    after = config_of(result)
    if after is None:
        return None
    before = None if base is None else config_of(base)
    now, was = read(after).full, None if before is None else read(before).full
    length = recipe.context.length
    divisors = () if now is None else _divisors(plain(now), frequencies(now, length))
    told = () if now is None else (counted_pairs(now, length),)
    return Frequencies(
        length_before=None if before is None else reach_of(before),
        length_after=reach_of(after),
        scaling_before=None if before is None else kind_of(before.in_force()),
        scaling_after=kind_of(after.in_force()),
        divisors=divisors,
        divisors_before=None if was is None else _divisors(plain(was), frequencies(was, length)),
        told=told,
    )


def _divisors(unscaled: tuple[float, ...], scaled: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(a / b for a, b in zip(unscaled, scaled, strict=True))
