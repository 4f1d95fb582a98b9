"""What removed tokens leave behind in the files that hold ids or count by place."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never

from tokengraft.checkpoint import JsonValue
from tokengraft.errors import MalformedFile
from tokengraft.formats.json_sift import Sift, Visit
from tokengraft.formats.json_text import Splice
from tokengraft.plans import PlannedToken
from tokengraft.renumbering import IdMap, RemoveLines, Renumber

Found = tuple[str | None, JsonValue] | None


@dataclass(frozen=True, slots=True)
class Gone:
    """The tokens that go.

    Attributes:
        ids: how ids move.
        texts: as the id table calls them: pieces as the vocabulary spells them.
    """

    ids: IdMap
    texts: Collection[str]

    @classmethod
    def of(cls, tokens: Sequence[PlannedToken]) -> Gone:
        removed = [token for token in tokens if token.action == "remove"]
        ids = IdMap.of(token.id for token in removed)
        return cls(ids, frozenset(token.key for token in removed))

    def uses(self, merge: JsonValue) -> bool:
        """Whether a merge makes a removed piece or uses one."""
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2:  # noqa: PLR2004 - a pair
            raise _misfit(f"a merge is {str(merge)[:40]!r}")
        left, right = str(parts[0]), str(parts[1])
        return not {left, right, left + right}.isdisjoint(self.texts)


def renumbered(change: Renumber, tokens: Sequence[PlannedToken], *, path: str) -> Sift:
    """State a renumbering as what becomes of each member of its container."""
    return Sift(change.pointer, _visit(change, Gone.of(tokens), path))


def _visit(change: Renumber, gone: Gone, path: str) -> Visit:
    place = f"{path}#{change.pointer}"

    def entry(_: int, key: str | None, value: JsonValue) -> Found:
        if not isinstance(value, dict):
            raise _misfit("an entry is no object", place)
        new = gone.ids.new(_id(value.get("id"), place))
        return None if new is None else (key, {**value, "id": new})

    def named(_: int, key: str | None, value: JsonValue) -> Found:
        new = gone.ids.new(_id(key, place))
        return None if new is None else (str(new), value)

    def text(_: int, key: str | None, value: JsonValue) -> Found:
        new = gone.ids.new(_id(value, place))
        return None if new is None else (key, new)

    def merge(_: int, key: str | None, value: JsonValue) -> Found:
        return None if gone.uses(value) else (key, value)

    def piece(at: int, key: str | None, value: JsonValue) -> Found:
        return None if gone.ids.new(at) is None else (key, value)

    match change.form:
        case "added_tokens":
            return entry
        case "added_tokens_decoder":
            return named
        case "token_to_id":
            return text
        case "merges":
            return merge
        case "pieces":
            return piece
        case _:
            assert_never(change.form)


def removed_lines(
    data: bytes, edit: RemoveLines, tokens: Sequence[PlannedToken]
) -> tuple[Splice, ...]:
    """The lines of merges.txt or vocab.txt that go, with their ends."""
    gone = Gone.of(tokens)
    splices: list[Splice] = []
    for number, (begin, end, line) in enumerate(_lines(data, edit.path)):
        if edit.form == "pieces":
            goes = gone.ids.new(number) is None
        else:
            # A header and empty lines are no merges.
            goes = line.count(" ") == 1 and not line.startswith("#version") and gone.uses(line)
        if goes:
            splices.append(Splice(begin, end, b""))
    return tuple(splices)


def _lines(data: bytes, path: str) -> Iterator[tuple[int, int, str]]:
    """Where each line begins and ends, and its text without the end of line."""
    at = 0
    for raw in re.findall(rb"[^\n]*\n|[^\n]+", data):  # as line feeds end lines, and nothing else
        try:
            text = raw.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise MalformedFile(f"{path} is not UTF-8", subject=path) from error
        yield at, at + len(raw), text
        at += len(raw)


def _id(value: JsonValue, place: str = "") -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _misfit("an id is no number", place)
    return value


def _misfit(what: str, place: str = "") -> MalformedFile:
    return MalformedFile("the plan renumbers what is no table of ids", detail=what, subject=place)
