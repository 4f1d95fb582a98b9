"""Small files: what the plan says of them, done again on values instead of bytes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.errors import MalformedFile
from tokengraft.formats.json_text import parse_json
from tokengraft.plans import (
    AppendMerges,
    InsertTokens,
    JsonChange,
    PatchJson,
    PatchPieces,
    Plan,
    PlannedToken,
    RemoveKey,
    RenameKey,
    SetKey,
    WriteFile,
)
from tokengraft.renumbering import RemoveLines, Renumber
from tokengraft.results import Check
from tokengraft.verifying import renumbered
from tokengraft.verifying.pieces import different_pieces
from tokengraft.verifying.records import Graft, failed, passed, several, skipped

_LACKING = "the plan names a place that the base lacks"


def files_as_planned(graft: Graft, base: Checkpoint | None) -> Iterator[Check]:
    """Each written file holds the base's values with the plan's changes, and no others."""
    name = "files-as-planned"
    plan, out = graft.plan, graft.checkpoint
    if plan is None or out is None:
        yield skipped(name, "the plan or the checkpoint cannot be read")
        return
    wrong: list[str] = [f"{path} was to be left out" for path in plan.dropped() & set(out.files)]
    n_patched = n_written = 0
    unread = []
    for path, edit in plan.file_edits().items():
        match edit:
            case WriteFile():
                n_written += 1
                if out.small_files.get(path, b"") != edit.text.encode():
                    wrong.append(f"{path} has another text")
            case PatchJson() | PatchPieces() | AppendMerges() | RemoveLines():
                n_patched += 1
                if base is None or path not in base.small_files:
                    unread.append(path)
                    continue
                at = _difference(edit, plan.tokens, base, out)
                wrong += [f"{path}{at}"] if at is not None else []
    if wrong:
        yield failed(name, f"{len(wrong)} files are not as planned: {several(sorted(wrong))}")
    elif unread:
        yield skipped(name, f"the base's {several(unread)} could not be rebuilt")
    else:
        yield passed(
            name,
            f"{n_patched} patched files have the base's values with the plan's changes and no "
            f"others, {n_written} have the planned text",
        )


def _difference(
    edit: PatchJson | PatchPieces | AppendMerges | RemoveLines,
    tokens: Sequence[PlannedToken],
    base: Checkpoint,
    out: Checkpoint,
) -> str | None:
    """Where a file differs from what the plan makes of the base's; None if nowhere."""
    before, after = base.small_files[edit.path], out.small_files.get(edit.path, b"")
    match edit:
        case PatchPieces():
            found = different_pieces(edit, before, after)
            return None if found is None else f": {found}"
        case AppendMerges():
            return (
                None if _lines(after) == [*_lines(before), *_merges(edit, tokens)] else " (lines)"
            )
        case RemoveLines():
            same = _lines(after) == renumbered.lines_left(edit, _lines(before), tokens)
            return None if same else " (lines)"
        case PatchJson():
            return _other_value(edit, tokens, json.loads(before), out)
        case _:
            assert_never(edit)


def _lines(data: bytes) -> list[str]:
    return data.decode("utf-8", "replace").replace("\r\n", "\n").rstrip("\n").split("\n")


def _merges(edit: AppendMerges, tokens: Sequence[PlannedToken]) -> list[str]:
    ids = range(edit.first_id, edit.first_id + edit.count)
    made = [t for t in sorted(tokens, key=lambda t: t.id) if t.id in ids and t.cut]
    return [f"{t.piece[: t.cut]} {t.piece[t.cut :]}" for t in made if t.piece is not None]


def _other_value(
    edit: PatchJson, tokens: Sequence[PlannedToken], wanted: JsonValue, out: Checkpoint
) -> str | None:
    """Where a JSON file differs from the base's value, which is changed here as the plan says."""
    by_id = {token.id: token for token in tokens if token.action != "remove"}
    moved = renumbered.Moves.of(tokens)
    for change in edit.changes:
        try:
            if isinstance(change, Renumber):
                renumbered.renumber(_at(wanted, _steps(change.pointer)), change.form, moved)
            else:
                _do(wanted, change, by_id)
        except (KeyError, IndexError, TypeError, ValueError):
            return f"#{change.pointer} ({_LACKING})"
    data = out.small_files.get(edit.path)
    if data is None:
        return " (not there)"
    found = (out.json.get(edit.path) or parse_json(data, file=edit.path)).value
    # As text, since 1, 1.0 and true are equal in Python and are not in JSON.
    if json.dumps(wanted) == json.dumps(found):  # most often the keys have their order too
        return None
    if json.dumps(wanted, sort_keys=True) == json.dumps(found, sort_keys=True):
        return None
    return _first_difference(wanted, found, "#")


def _do(value: JsonValue, change: JsonChange, tokens: Mapping[int, PlannedToken]) -> None:
    match change:
        case Renumber():
            raise AssertionError("ids are moved with all removed tokens at hand")
        case SetKey():
            _put(value, change.pointer, change.value)
        case RemoveKey():
            _remove(value, change.pointer)
        case RenameKey():
            _rename(value, change.pointer, change.key)
        case InsertTokens():
            _insert(value, change, tokens)
        case _:
            assert_never(change)


def _steps(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _at(value: JsonValue, steps: Sequence[str]) -> JsonValue:
    for step in steps:
        if isinstance(value, dict):
            value = value[step]
        elif isinstance(value, list):
            value = value[int(step)]
        else:
            raise KeyError(step)
    return value


def _put(value: JsonValue, pointer: str, new: JsonValue) -> None:
    *above, last = _steps(pointer)
    container = _at(value, above)
    if isinstance(container, dict):
        container[last] = copy.deepcopy(new)
    elif isinstance(container, list):
        container[int(last)] = copy.deepcopy(new)
    else:
        raise KeyError(last)


def _remove(value: JsonValue, pointer: str) -> None:
    *above, last = _steps(pointer)
    container = _at(value, above)
    if isinstance(container, dict):
        del container[last]
    elif isinstance(container, list):
        del container[int(last)]
    else:
        raise KeyError(last)


def _rename(value: JsonValue, pointer: str, key: str) -> None:
    *above, last = _steps(pointer)
    container = _at(value, above)
    if not isinstance(container, dict) or key in container:
        raise KeyError(last)
    container[key] = container.pop(last)


def _insert(value: JsonValue, change: InsertTokens, tokens: Mapping[int, PlannedToken]) -> None:
    container = _at(value, _steps(change.pointer))
    last = change.first_id + change.count
    if sum(change.first_id <= token_id < last for token_id in tokens) != change.count:
        raise MalformedFile("the plan inserts tokens that it does not list", subject=change.pointer)
    for token_id in range(change.first_id, last):
        token = tokens[token_id]
        fields: dict[str, JsonValue] = {
            "content": token.text,
            "single_word": token.single_word,
            "lstrip": token.lstrip,
            "rstrip": token.rstrip,
            "normalized": token.normalized,
            "special": token.special,
        }
        if isinstance(container, list):
            container.extend(_elements(change.form, token, {"id": token_id, **fields}))
        elif isinstance(container, dict) and change.form == "token_to_id":
            container[token.text if token.piece is None else token.piece] = token_id
        elif isinstance(container, dict):
            container[str(token_id)] = fields
        else:
            raise KeyError(change.pointer)


def _elements(form: str, token: PlannedToken, whole: dict[str, JsonValue]) -> Iterator[JsonValue]:
    """What a list gains for a token; nothing where it lists merges and none makes the token."""
    if form == "added_tokens":
        yield whole
    elif form == "text":
        yield token.text
    elif token.piece is not None and token.cut:
        left, right = token.piece[: token.cut], token.piece[token.cut :]
        yield [left, right] if form == "merge_pair" else f"{left} {right}"


def _first_difference(wanted: JsonValue, found: JsonValue, pointer: str) -> str | None:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in (*wanted, *found):
            at = f"{pointer}/{key}"
            if (key in wanted) != (key in found):
                return at
            inner = _first_difference(wanted[key], found[key], at)
            if inner is not None:
                return inner
        return None
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
            inner = _first_difference(one, other, f"{pointer}/{number}")
            if inner is not None:
                return inner
        return None
    return None if json.dumps(wanted) == json.dumps(found) else pointer


def changes_positions(plan: Plan) -> bool:
    """Whether the plan changes how the model counts positions, so that old text reads anew."""
    edits = (edit for edit in plan.edits if isinstance(edit, PatchJson))
    return any(
        "rope" in change.pointer
        for edit in edits
        if edit.path == "config.json"
        for change in edit.changes
    )
