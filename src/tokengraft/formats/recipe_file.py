"""Read recipes: TOML to a `Recipe`, with every problem and its place reported at once."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tokengraft.documents import Problem
from tokengraft.errors import LimitExceeded, ReadFailed, RecipeError, TokengraftError
from tokengraft.formats.whole_files import read_whole
from tokengraft.recipes import Recipe

MAX_RECIPE_BYTES = 16 << 20  # 100,000 tokens of ~100 bytes are 10 MB
MAX_DEPTH = 64
MAX_KEY_PARTS = 100
_LONG_KEY = re.compile(
    r"""(?<![A-Za-z0-9_-])(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    rf"{{{MAX_KEY_PARTS}}}"
)


def read_recipe(path: Path, *, overrides: Sequence[str] = ()) -> tuple[Recipe, str]:
    """Read a recipe file.

    Args:
        overrides: `section.key=value` settings that win over the file; values are TOML.
    Returns:
        The recipe, and its text as the plan shall carry it (with the overrides written under it).
    Raises:
        ReadFailed: the file cannot be read.
        RecipeError: everything that is wrong with it.
    """
    try:
        text = read_whole(path, limit=MAX_RECIPE_BYTES).decode()
    except ReadFailed as error:
        raise ReadFailed(
            f"cannot read the recipe {path}",
            detail=error.detail,
            subject=str(path),
            hint="tokengraft recipe new SRC -o recipe.toml writes one",
        ) from error
    except LimitExceeded as error:
        raise RecipeError(
            f"{path} is larger than any recipe", detail=error.summary, subject=str(path)
        ) from error
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path} is not UTF-8",
            detail=f"byte {error.start} begins no character",
            subject=str(path),
        ) from error
    return parse_recipe(text, file=str(path), overrides=overrides)


def parse_recipe(
    text: str, *, file: str = "recipe", overrides: Sequence[str] = ()
) -> tuple[Recipe, str]:
    """Read a recipe's text; see `read_recipe`."""
    return _checked(text, file, tuple(overrides))


@lru_cache(maxsize=1)  # a plan's recipe is asked for again by each check that looks at it
def _checked(text: str, file: str, overrides: tuple[str, ...]) -> tuple[Recipe, str]:
    value = _parsed(text, file)
    for override in overrides:
        _override(value, override)
    _check_values(value, file)
    if overrides:
        text = text.rstrip("\n") + "\n" + "".join(f"# --set {line}\n" for line in overrides)
    if "version" not in value:
        raise RecipeError(
            "the recipe does not say its version",
            subject=f"{file}: version",
            hint="its first line is: version = 1",
        )
    try:
        return Recipe.from_dict(_plain(value)), text
    except ValidationError as error:
        problems = tuple(_problems(error))
        count = len(problems)
        raise RecipeError(
            f"the recipe has {count} problems" if count > 1 else "the recipe has a problem",
            detail="\n".join(map(str, problems)),
            subject=f"{file}: {problems[0].where}",
            hint=f"tokengraft recipe check {file}",
            problems=tuple(problem.parts for problem in problems),
        ) from error


def _parsed(text: str, file: str) -> dict[str, object]:
    try:
        if _LONG_KEY.search(text):
            # The parser's memory grows with the square of a key's parts.
            raise ValueError(f"a key has more than {MAX_KEY_PARTS} parts")  # noqa: TRY301
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number may be too long for Python
        raise RecipeError(f"{file} is not TOML", detail=str(error), subject=file) from error


def _check_values(value: object, file: str) -> None:
    """Refuse what no recipe has and what others cannot hold: deep nesting, numbers beyond 64 bits."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for one in level:
            if isinstance(one, dict | list):
                inner += one.values() if isinstance(one, dict) else one
            elif isinstance(one, int) and not -(2**63) <= one < 2**63:
                raise RecipeError("the recipe has a number beyond 64 bits", subject=file)
        if not inner:
            return
        level = inner
    raise RecipeError(
        "the recipe is nested too deeply", detail=f"at most {MAX_DEPTH} levels", subject=file
    )


# Sections that free or take texts which other sections name.
FREEING = frozenset({"version", "rename", "remove", "trim", "protocol"})


def sound_sections(path: Path, *, overrides: Sequence[str] = ()) -> Recipe | None:
    """What is left of a recipe without the sections in which something is wrong.

    None where nothing can be said of the rest: it is no TOML, or what is wrong frees or takes texts
    that other sections name.
    """
    try:
        value = _parsed(read_whole(path, limit=MAX_RECIPE_BYTES).decode(), str(path))
        for override in overrides:
            _override(value, override)
        _check_values(value, str(path))
        Recipe.from_dict(_plain(value))
    except ValidationError as error:
        wrong = {str(detail["loc"][0]) for detail in error.errors() if detail["loc"]}
        left = {key: entry for key, entry in value.items() if key not in wrong}
        if wrong & FREEING or not set(left) > {"version"}:
            return None
        return Recipe.from_dict(_plain(left))
    except (TokengraftError, UnicodeDecodeError):
        return None
    return None


def _plain(value: object) -> object:
    """TOML's dates have no place in a recipe; as texts they fail the type check with their place."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value if isinstance(value, str | int | float | bool) else str(value)


def _override(value: dict[str, object], override: str) -> None:
    place, separator, text = override.partition("=")
    keys = place.strip().split(".")
    if not separator or not all(keys):
        raise RecipeError(
            f"--set {override} is not of the form section.key=value",
            hint='for example: --set context.length=131072 or --set pad.token="auto"',
        )
    try:
        parsed: object = tomllib.loads(f"x = {text}")["x"]
    except (ValueError, RecursionError):
        parsed = text  # a bare word is a text, as people type it
    target = value
    for key in keys[:-1]:
        entry = target.setdefault(key, {})
        if not isinstance(entry, dict):
            raise RecipeError(f"--set {override}: {key} is no section that can be set into")
        target = entry
    target[keys[-1]] = parsed


# Where a role is refused, pydantic puts which of its kinds it was taken for behind its name.
ROLES, _KIND = "roles", 2


def _problems(error: ValidationError) -> Iterator[Problem]:
    for detail in error.errors():
        loc = detail["loc"]
        if loc[:1] == (ROLES,) and len(loc) > _KIND:
            # A role is a text or a section: of what pydantic says to both, one is meant.
            as_text = loc[_KIND] == "str" and isinstance(detail["input"], dict)
            if as_text or detail["type"] == "model_type":
                continue
            loc = (*loc[:_KIND], *loc[_KIND + 1 :])
        yield Problem(where=_place(loc), what=_words(detail), suggestion=_suggestion(detail, loc))


def _place(loc: Sequence[int | str]) -> str:
    place = ""
    for part in loc:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    return place or "recipe"


def _words(detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        return "no such key"
    if detail["type"] == "missing":
        return "is missing"
    shown = repr(detail["input"])
    told = detail["msg"][:1].lower() + detail["msg"][1:]
    return f"{told}, found {shown[:80]}"


def _suggestion(detail: ErrorDetails, loc: Sequence[int | str]) -> str:
    kind, said = detail["type"], detail["input"]
    if kind == "literal_error" and isinstance(said, str):
        known = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
        close = difflib.get_close_matches(said, known, n=1)
        return f"did you mean {close[0]!r}?" if close else ""
    if kind != "extra_forbidden":
        return ""
    wrong = str(loc[-1])
    known = _keys(Recipe, loc[:1] if loc[:1] == (ROLES,) else loc[:-1])
    close = difflib.get_close_matches(wrong, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"


def _keys(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """The keys that are known at a place of the recipe."""
    for part in loc:
        if isinstance(part, int):
            continue
        found = next((f for n, f in model.model_fields.items() if part in (n, f.alias)), None)
        inner = None if found is None else _model_in(found.annotation)
        if inner is None:
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None


def settings_toml(sections: Mapping[str, Mapping[str, str | int | bool]]) -> str:
    """Write sections of a recipe, e.g. those that fixes ask for."""
    lines = ["version = 1"]
    for section, settings in sections.items():
        lines += ["", f"[{section}]"]
        lines += [f"{key} = {_toml_value(value)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"


def _toml_value(value: str | int) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    return toml_text(value)


def toml_text(text: str) -> str:
    """Quote a text for TOML: a literal string where that is readable, else a basic one."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return (
        '"'
        + "".join(char if char.isprintable() else f"\\U{ord(char):08X}" for char in escaped)
        + '"'
    )
