"""Go through all members of a JSON container at once: each stays, goes, or gets another key or value.

A vocabulary has 150,000 members; removing them one by one would look for each of them anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from tokengraft.checkpoint import JsonValue
from tokengraft.formats.json_places import Container, Member

# Given the place, the key (None in arrays) and the value of a member: key and value as they shall
# be, or None if it goes.
Visit = Callable[[int, str | None, JsonValue], tuple[str | None, JsonValue] | None]


@dataclass(frozen=True, slots=True)
class Sift:
    """Ask of every member of a container what becomes of it."""

    pointer: str
    visit: Visit


def sift(container: Container, visit: Visit) -> None:
    """Carry it out on a container of the original that nothing else has changed."""
    container.complete()
    kept = []
    for place, member in enumerate(container.original):
        old = json.loads(container.text.data[member.value_begin : member.end])
        found = visit(place, member.key, old)
        if found is None:
            continue
        key, value = found
        if key is not None and key != member.key:
            member.old_key, member.key = member.key, key
        _set(container, member, old, value)
        kept.append(member)
    container.keep_only(kept)


def _set(container: Container, member: Member, old: JsonValue, new: JsonValue) -> None:
    """Give a member its value; of an object, only the keys whose values differ are written."""
    if old == new:
        return
    if not isinstance(old, dict) or not isinstance(new, dict) or list(old) != list(new):
        member.replace(new)
        return
    inside = container.text.enter(member)
    assert inside is not None
    for key, value in new.items():
        if value != old[key]:
            found = inside.find(key)
            assert found is not None
            found.replace(value)
