"""Every preset of `recipe new` on every published folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from test_recipe_check import FOLDERS, presets_pass


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for names in FOLDERS.values() for name in names])
def test_recipes_that_are_written_pass(name: str, data: Path, tmp_path: Path) -> None:
    presets_pass(name, data, tmp_path)
