"""A behaviour suite as its file holds it: JSON Lines, each line with its `kind`."""

from __future__ import annotations

import json
from pathlib import Path

import pydantic

from tokengraft.behaviour import Bounds, Prompt, Suite, SuiteSettings, Text
from tokengraft.documents import complaint
from tokengraft.errors import ReadFailed, SuiteError

MAX_BYTES = 1 << 28
SHOWN = 20  # problems that a message lists before it counts the rest
KINDS: dict[str, type[Bounds | Prompt | SuiteSettings | Text]] = {
    "wanted": Prompt,
    "neutral": Prompt,
    "near-miss": Prompt,
    "text": Text,
    "bounds": Bounds,
    "settings": SuiteSettings,
}


def read_suite(path: Path) -> Suite:
    """Read a suite; every line that is wrong is named.

    Raises:
        ReadFailed: there is no such file.
        SuiteError: a line is no JSON, of no known kind, or not what its kind demands; or there is
            nothing to ask.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SuiteError("a suite of more than 256 MiB is not read", subject=str(path))
        data = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SuiteError("the suite is not UTF-8", subject=str(path)) from error
    except OSError as error:
        raise ReadFailed(
            f"the suite {path} cannot be read", detail=error.strerror or "", subject=str(path)
        ) from error
    return parse_suite(data, name=path.name)


def parse_suite(text: str, *, name: str) -> Suite:
    """A suite from its lines; see `read_suite`."""
    found: list[Bounds | Prompt | SuiteSettings | Text] = []
    problems: list[str] = []
    # Not `splitlines`: JSON may hold line separators of Unicode as they are.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found.append(_line(line))
        except ValueError as error:
            told = complaint(error) if isinstance(error, pydantic.ValidationError) else str(error)
            problems.append(f"{number}: {_place(error)}{told}")
    problems += [
        f"{name}: more than one line of the kind {_name_of(kind)}"
        for kind in (Bounds, SuiteSettings)
        if sum(isinstance(one, kind) for one in found) > 1
    ]
    if problems:
        _refuse(problems, name)
    prompts = tuple(one for one in found if isinstance(one, Prompt))
    texts = tuple(one for one in found if isinstance(one, Text))
    if not prompts and not texts:
        raise SuiteError(
            "the suite asks nothing", detail="it has no prompt and no text", subject=name, hint=HINT
        )
    settings = next((one for one in found if isinstance(one, SuiteSettings)), None)
    return Suite(
        name=name,
        prompts=prompts,
        texts=texts,
        bounds=next((one for one in found if isinstance(one, Bounds)), None),
        settings=settings or SuiteSettings(kind="settings"),
    )


HINT = "see docs/reference/behaviour-suites.md for what a line holds"


def _line(line: str) -> Bounds | Prompt | SuiteSettings | Text:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError("the line is not JSON") from error
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"its kind is none of {', '.join(KINDS)}")
    # As JSON: in strict mode a list is a tuple's JSON, and no Python tuple.
    return KINDS[kind].model_validate_json(line)


def _place(error: ValueError) -> str:
    if not isinstance(error, pydantic.ValidationError):
        return ""
    path = ".".join(str(part) for part in error.errors()[0]["loc"])
    return f"{path}: " if path else ""


def _name_of(kind: type[Bounds | SuiteSettings]) -> str:
    return "bounds" if kind is Bounds else "settings"


def _refuse(problems: list[str], name: str) -> None:
    more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    raise SuiteError(
        f"the suite has {len(problems)} problems"
        if len(problems) > 1
        else "the suite has a problem",
        detail="\n".join([*problems[:SHOWN], *more]),
        subject=name,
        hint=HINT,
    )
