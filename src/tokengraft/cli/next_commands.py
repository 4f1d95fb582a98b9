"""Commands to type next: with the source as the user gave it, quoted so that they can be pasted."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokengraft.plans import Plan


def command(name: str, *arguments: str | Path | None) -> str:
    """A command line of ours; None among the arguments is left out."""
    given = (str(argument) for argument in arguments if argument is not None)
    return shlex.join(("tokengraft", *name.split(), *given))


def beside(source: str | None) -> str:
    """A name for a result of this source: a folder here that is not there yet."""
    name = (source or "model").rstrip("/").rsplit("/", 1)[-1].split("@", 1)[0] or "model"
    stem = name if name not in (".", "..") else "model"
    made = f"{stem}-grafted"
    number = 2
    while Path(made).exists():
        made = f"{stem}-grafted-{number}"
        number += 1
    return made


def settings(overrides: Iterable[str]) -> list[str]:
    """`--set` options as they were given."""
    return [part for override in overrides for part in ("--set", override)]


def base_of(plan: Plan) -> str | None:
    """The base as the plan, or the recipe in it, names it."""
    import tomllib

    try:
        named = tomllib.loads(plan.recipe).get("base")
    except tomllib.TOMLDecodeError:
        named = None
    return plan.base_name or (named if isinstance(named, str) else None)


def apply(plan: Path, base: str | None, overrides: Iterable[str] = ()) -> str:
    """Carry a plan or a recipe out, beside the base."""
    given = ("--base", base) if base else ()
    return command("apply", plan, *given, *settings(overrides), "-o", beside(base))


def verify(out: Path, against: str | None) -> str:
    """Prove a result, against its base where that is known."""
    return command("verify", out, *(("--against", against) if against else ()))
