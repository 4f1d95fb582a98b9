"""What is wrong with the sections themselves, whatever the template."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from tokengraft.documents import Problem
from tokengraft.planning.chat.shapes import OWN_ROLES, SPANS, Wanted
from tokengraft.recipes import Recipe

KEYS = ("role", "content", "tool_calls", "tool_call_id", "name")


def recipe_problems(recipe: Recipe, want: Wanted) -> Iterator[Problem]:
    """Say everything that no template could carry out."""
    for role in recipe.roles:
        if role in OWN_ROLES:
            yield Problem(
                where=f"roles.{role}",
                what=f"{role!r} is a role that every chat has already",
                suggestion="[protocol] or [[rename]] give its turns other markers",
            )
    yield from _shared_tokens(recipe, want)
    if len(want.outputs) > 1:
        for role, token in want.outputs.items():
            if role not in token:
                yield Problem(
                    where=f"roles.{role}",
                    what=f"{token!r} does not hold the role's name: of several output roles, a "
                    "response is told by the name in its token",
                    suggestion=f'token = "<|{role}|>"',
                )
    tools = recipe.tools
    if tools is not None and (tools.result_open is None) != (tools.result_close is None):
        what = "result_open and result_close belong together"
        yield Problem(where="tools", what=what, suggestion="name both, or neither")
    if want.field != SPANS and (want.field in KEYS or not want.field.isidentifier()):
        yield Problem(
            where="thinking.field",
            what=f"{want.field!r} cannot be the key of thoughts in a message",
            suggestion='"thoughts", "reasoning_content" or "thinking"',
        )


def _shared_tokens(recipe: Recipe, want: Wanted) -> Iterator[Problem]:
    places: dict[str, list[str]] = defaultdict(list)
    for role, token in (*want.inputs.items(), *want.outputs.items()):
        places[token].append(f"roles.{role}")
    for number, module in enumerate(want.modules):
        places[module].append(f"thinking.modules[{number}]")
    for key in ("open", "close", "result_open", "result_close"):
        marker = None if recipe.tools is None else getattr(recipe.tools, key)
        if marker is not None:
            places[marker].append(f"tools.{key}")
    for token, found in places.items():
        if len(found) > 1:
            yield Problem(where=found[1], what=f"{token!r} is {found[0]} as well")
