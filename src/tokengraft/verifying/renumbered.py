"""Ids that moved, counted again: nothing here is shared with planning or applying.

The map is made by counting the ids that stay, one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from tokengraft.checkpoint import JsonValue
from tokengraft.plans import PlannedToken
from tokengraft.renumbering import RemoveLines

MAX_IDS = 1 << 24  # sixty times the largest published vocabulary


@dataclass(frozen=True, slots=True)
class Moves:
    """Where old ids are.

    Attributes:
        removed: old ids that are gone.
        texts: what the id table called them.
        new: every other old id, as far as anybody asks, with its new one.
    """

    removed: frozenset[int]
    texts: frozenset[str]
    new: Mapping[int, int]

    @classmethod
    def of(cls, tokens: Sequence[PlannedToken]) -> Moves:
        gone = [token for token in tokens if token.action == "remove"]
        removed = frozenset(token.id for token in gone)
        texts = frozenset(t.text if t.piece is None else t.piece for t in gone)
        return cls(removed, texts, _Counted(removed) if removed else _Same())

    def ids(self, old: Sequence[int]) -> list[int] | None:
        """The ids of an encoding as they are from now on, None if one of them is gone."""
        if not self.removed.isdisjoint(old):
            return None
        return [self.new[i] for i in old]


class _Same(dict[int, int]):
    """Nothing moved."""

    def __missing__(self, token_id: int) -> int:
        return token_id


class _Counted(dict[int, int]):
    """Old ids to new ones, counted as far as they are asked for."""

    def __init__(self, removed: frozenset[int]) -> None:
        super().__init__()
        self._removed = removed
        self._next, self._numbers = 0, count()

    def __missing__(self, token_id: int) -> int:
        if token_id in self._removed or not 0 <= token_id < MAX_IDS:
            raise KeyError(token_id)
        self._count_to(token_id)
        return self[token_id]

    def _count_to(self, token_id: int) -> None:
        while self._next <= token_id:
            if self._next not in self._removed:
                self[self._next] = next(self._numbers)
            self._next += 1

    def __contains__(self, token_id: object) -> bool:
        return isinstance(token_id, int) and token_id not in self._removed


def renumber(value: JsonValue, form: str, moves: Moves) -> None:
    """Do to a container of the base what the plan says, in place.

    Raises:
        KeyError, TypeError, ValueError: it is no such container.
    """
    if isinstance(value, dict):
        items = list(value.items())
        value.clear()
        for key, entry in items:
            if form == "added_tokens_decoder":
                if int(key) not in moves.removed:
                    value[str(moves.new[int(key)])] = entry
            elif form != "token_to_id" or not isinstance(entry, int):
                raise TypeError(form)
            elif entry not in moves.removed:
                value[key] = moves.new[entry]
    elif isinstance(value, list):
        value[:] = [new for at, entry in enumerate(value) for new in _left(form, at, entry, moves)]
    else:
        raise TypeError(form)


def _left(form: str, at: int, entry: JsonValue, moves: Moves) -> list[JsonValue]:
    """What is left of one element of a list: itself, itself with another id, or nothing."""
    if form == "pieces":
        return [] if at in moves.removed else [entry]
    if form == "merges":
        left, right = entry.split(" ") if isinstance(entry, str) else entry  # type: ignore[misc]
        return [entry] if _stays(str(left), str(right), moves) else []
    if form == "added_tokens" and isinstance(entry, dict) and isinstance(entry["id"], int):
        gone = entry["id"] in moves.removed
        return [] if gone else [{**entry, "id": moves.new[entry["id"]]}]
    raise TypeError(form)


def _stays(left: str, right: str, moves: Moves) -> bool:
    return left not in moves.texts and right not in moves.texts and left + right not in moves.texts


def lines_left(
    edit: RemoveLines, lines: Sequence[str], tokens: Sequence[PlannedToken]
) -> list[str]:
    """The lines of a file of merges or pieces that stay."""
    moves = Moves.of(tokens)
    if edit.form == "pieces":
        return [line for number, line in enumerate(lines) if number not in moves.removed]
    kept = []
    for line in lines:
        left, space, right = line.partition(" ")
        is_merge = bool(space) and " " not in right and not line.startswith("#version")
        if not is_merge or _stays(left, right, moves):
            kept.append(line)
    return kept
