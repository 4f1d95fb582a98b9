"""llama.cpp's tokenizer cases on every folder with a matching vocabulary, after every recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parity import VOCABULARIES, recipes_for
from test_parity import agrees, holds, made

__all__ = ["made"]  # the fixture

EVERY = [(name, recipe) for name in VOCABULARIES for recipe in recipes_for(name)]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "recipe"), EVERY)
def test_untouched_text_becomes_the_reference_ids(
    name: str, recipe: str, data: Path, made: Any
) -> None:
    holds(made(name, recipe), recipe, data, VOCABULARIES[name])


@pytest.mark.slow
@pytest.mark.oracle4
@pytest.mark.oracle5
@pytest.mark.parametrize("major", [4, 5])
@pytest.mark.parametrize("name", VOCABULARIES)
def test_both_majors_of_transformers_say_the_same(
    name: str, major: int, made: Any, data: Path, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    pairs = [pair for pair in EVERY if pair[0] == name]
    agrees(pairs, made, data, request.getfixturevalue(f"tf{major}"), tmp_path)
