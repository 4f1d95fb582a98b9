"""All 300 recipes on all eight checkpoints, and the figures that the documentation gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracles import resizing
from tiny_kinds import EIGHT

N_RECIPES = 300
AT_ONCE = 20  # recipes to one run of transformers, so that a failure shows early


@pytest.mark.oracle5
@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, N_RECIPES, AT_ONCE))
def test_recipes_equal_the_path_through_transformers(first: int, tmp_path: Path, tf5: Path) -> None:
    found = resizing.compare(tmp_path, tf5, range(first, first + AT_ONCE))
    print(f"{found.pairs} pairs; {dict(found.checks)}; known: {dict(found.known)}")  # noqa: T201
    assert found.unknown == ()
    assert found.pairs == AT_ONCE * len(EIGHT)
