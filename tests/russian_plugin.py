"""`pytest -p russian_plugin`: fails each test in which something was said that stays English in Russian.

Whatever errors, checks, findings, problems, plans and notes the suite provokes is translated, so that
every path that a test walks is looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from english import words_left
from tokengraft import documents, errors, events, findings, plans, results
from tokengraft.recipes import Recipe
from tokengraft.reporting.catalogue import RUSSIAN
from tokengraft.rows.initializers import INITIALIZERS

# Words of tests: names that they make up, which texts quote as they are.
MADE_UP = frozenset({"one", "two"})
# Keys and values of recipes and of safetensors headers.
KEYS = frozenset(
    re.findall(r'"([a-z_-]+)"', json.dumps(Recipe.model_json_schema(by_alias=True)))
) | frozenset({"dtype", "shape", "auto", *INITIALIZERS})
SAYS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (errors.TokengraftError, ("summary", "detail", "hint")),
    (results.Check, ("evidence",)),
    (findings.Finding, ("summary", "detail")),
    (documents.Problem, ("what", "suggestion")),
    (plans.Plan, ("notes", "reconciled")),
    (events.Note, ("text",)),
)


# Messages of other programs about bugs and panics of theirs, which are quoted as they came.
FOREIGN = re.compile(
    r"(line \d+: )?[A-Z]\w+(Error|Exception)\b|Exception: |memory allocation|Exceeds the limit"
)


@pytest.fixture(autouse=True)
def speaks_russian(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Collect what is said while a test runs, and fail it if some of that has no Russian."""
    said: list[str] = []
    for kind, names in SAYS:
        monkeypatch.setattr(kind, "__init__", _telling(kind.__init__, names, said))  # type: ignore[misc]
    yield
    left = {}
    for text in dict.fromkeys(filter(None, said)):
        if FOREIGN.match(text):
            continue
        words = words_left(RUSSIAN.translated(text), MADE_UP | KEYS | _names(request))
        if len(words) > 1:
            left[text] = words
    assert left == {}, "\n".join(f"{text!r}: {words}" for text, words in left.items())


def _telling(
    begin: Callable[..., None], names: tuple[str, ...], said: list[str]
) -> Callable[..., None]:
    def told(self: Any, *args: Any, **values: Any) -> None:
        begin(self, *args, **values)
        for name in names:
            value = getattr(self, name)
            said.extend((value,) if isinstance(value, str) else value)

    return told


def _names(request: pytest.FixtureRequest) -> frozenset[str]:
    """Words of a test's own source: it may hand any of them to what it tests."""
    import inspect

    source = inspect.getsource(request.function) if hasattr(request, "function") else ""
    return frozenset(word for text in re.findall(r"\"([^\"]*)\"", source) for word in text.split())
