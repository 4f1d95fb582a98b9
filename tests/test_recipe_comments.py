"""Comments of a recipe are in the language of its reader; the recipe itself is not."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tokengraft import flow
from tokengraft.flow.recipes import PRESETS
from tokengraft.reporting import recipe_comments
from tokengraft.reporting.catalogue import ENGLISH, RUSSIAN


def test_english_comments_stay_as_they_are(tiny: Path) -> None:
    text = flow.new_recipe(str(tiny), PRESETS)
    assert text == recipe_comments.translated(text, ENGLISH)


def test_a_recipe_in_russian_asks_for_the_same(tiny: Path) -> None:
    text = flow.new_recipe(str(tiny), PRESETS)
    shown = recipe_comments.translated(text, RUSSIAN)
    assert tomllib.loads(text) == tomllib.loads(shown)
    told = [said for _, said in recipe_comments.comments(shown)]
    assert len(told) == len([said for _, said in recipe_comments.comments(text)])
    assert [] == [said for said in told if re.search("[a-z]{2,} [a-z]{2,} [a-z]{2,}", said)]
    assert [] == [said for said in told if not re.search("[а-яё]", said)]
    written = [line for line in shown.splitlines() if line.startswith("#")]
    assert max(map(len, written)) <= recipe_comments.WIDTH


def test_the_menu_of_an_empty_recipe_shows_a_command_that_can_be_copied(tiny: Path) -> None:
    shown = recipe_comments.translated(flow.new_recipe(str(tiny)), RUSSIAN)
    assert "\n#   tokengraft recipe new SRC --preset roles | tools |" in shown


def test_a_comment_behind_a_value_is_found_and_a_sign_in_a_text_is_not() -> None:
    recipe = '# One,\n# two.\na = "x # y"   # behind\nb = "<|#|>"\n#   an example\n# Three.\n'
    assert ["One, two.", "behind", "Three."] == [
        said for _, said in recipe_comments.comments(recipe)
    ]
