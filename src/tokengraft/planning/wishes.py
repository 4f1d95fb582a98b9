"""The tokens that a recipe wants: those of `[[add]]`, and those that other sections name.

A token named in `[protocol] mode = "add"`, `[roles]`, `[tools]` or `[thinking]` is added if it is
missing; an `[[add]]` of the same text only says more about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tokengraft.documents import Problem
from tokengraft.recipes import Add, Recipe


class Wish(NamedTuple):
    """A token that shall be there, and the place of the recipe that says so."""

    where: str
    add: Add


def wishes(recipe: Recipe) -> tuple[Wish, ...]:
    """Every token that a recipe wants, once each, in the order that gives them their ids."""
    wished = [Wish(f"add[{number}]", add) for number, add in enumerate(recipe.add)]
    known = {wish.add.text for wish in wished}
    for wish in _named(recipe):
        if wish.add.text not in known:
            known.add(wish.add.text)
            wished.append(wish)
    return tuple(wished)


def contradictions(recipe: Recipe) -> Iterator[Problem]:
    """What no checkpoint can carry out."""
    places: dict[str, str] = {}
    for number, add in enumerate(recipe.add):
        first = places.setdefault(add.text, f"add[{number}]")
        if first != f"add[{number}]":
            what = f"{add.text!r} is asked for twice"
            yield Problem(
                where=f"add[{number}].text", what=what, suggestion=f"it stands in {first}"
            )
    wish = recipe.protocol
    if wish is not None and wish.turn_start == wish.turn_end:
        what = f"{wish.turn_end!r} cannot both open and end a turn"
        yield Problem(where="protocol.turn_end", what=what)


def _named(recipe: Recipe) -> Iterator[Wish]:
    for name, role in recipe.roles.items():
        token = role if isinstance(role, str) else role.token
        yield Wish(f"roles.{name}", Add(text=token, use="role"))
    if recipe.tools is not None:
        for key in ("open", "close", "result_open", "result_close"):
            text = getattr(recipe.tools, key)
            if text is not None:
                yield Wish(f"tools.{key}", Add(text=text, use="tool"))
    if recipe.thinking is not None:
        for number, module in enumerate(recipe.thinking.modules):
            yield Wish(f"thinking.modules[{number}]", Add(text=module, use="thinking"))
