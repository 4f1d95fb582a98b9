"""What a plan changes inside files, apart from tables of tokens: one line a key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, assert_never

from tokengraft.plans import (
    AppendMerges,
    InsertTokens,
    PatchJson,
    PatchPieces,
    Plan,
    RemoveKey,
    RenameKey,
    SetKey,
    WriteFile,
)
from tokengraft.renumbering import RemoveLines, Renumber
from tokengraft.reporting.screen import Cell, Page

KEYS_SHOWN: Final = 40
VALUE_SHOWN: Final = 100  # characters; a chat template has thousands


def _patched(path: str, edit: PatchJson) -> Iterator[tuple[Cell, str, str, str]]:
    for change in edit.changes:
        if not isinstance(change, InsertTokens | Renumber):
            gone = isinstance(change, RemoveKey)
            sign = Cell("-", "red") if gone else Cell("~", "yellow")
            yield sign, path, change.pointer, _value(change)


def _pieces(page: Page, edit: PatchPieces) -> Iterator[tuple[Cell, str, str, str]]:
    for piece in edit.renamed:
        yield Cell("~", "yellow"), edit.path, page.say("piece {id}", id=piece.id), piece.text
    if edit.removed:
        text = page.say.count(len(edit.removed), "piece")
        yield Cell("-", "red"), edit.path, page.say("taken out"), text
    if edit.appended:
        text = page.say.count(len(edit.appended), "piece")
        yield Cell("+", "green"), edit.path, page.say("behind the last piece"), text


def _changed(
    page: Page, path: str, edit: PatchJson | PatchPieces | AppendMerges | RemoveLines
) -> Iterator[tuple[Cell, str, str, str]]:
    match edit:
        case PatchJson():
            yield from _patched(path, edit)
        case PatchPieces():
            yield from _pieces(page, edit)
        case AppendMerges():
            merges = page.say.count(edit.count, "merge")
            yield Cell("+", "green"), path, page.say("behind the last line"), merges
        case RemoveLines():
            yield Cell("-", "red"), path, page.say("lines of removed tokens"), ""
        case _:
            assert_never(edit)


def keys(page: Page, value: Plan) -> None:
    """The keys of JSON files that get a value; tokens have tables of their own above."""
    rows = [
        row
        for path, edit in value.file_edits().items()
        if not isinstance(edit, WriteFile)
        for row in _changed(page, path, edit)
    ]
    if rows:
        page.heading(page.say("Keys"))
        page.table((), rows[:KEYS_SHOWN])
    if len(rows) > KEYS_SHOWN:
        more = page.say.count(len(rows) - KEYS_SHOWN, "key")
        page.line(page.say("... and {keys} more", keys=more), "dim", indent=2)


def _value(change: SetKey | RemoveKey | RenameKey) -> str:
    if isinstance(change, RemoveKey):
        return ""
    if isinstance(change, RenameKey):
        return change.key
    text = json.dumps(change.value, ensure_ascii=False)
    return text if len(text) <= VALUE_SHOWN else f"{text[:VALUE_SHOWN]}..."
