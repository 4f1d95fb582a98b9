"""A recipe that we write, with its comments in the language of who will edit it.

Keys and values are the recipe and stay as they are; what a `meaning` says goes into embedding rows.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Final

from tokengraft.reporting.catalogue import Words

WIDTH: Final = 96
# Lines of comment that follow each other are one text; one that is indented more is an example.
_COMMENT: Final = re.compile(r"(?:^# \S.*\n?)+|(?<=\S)   # (.+)$", re.MULTILINE)


def comments(recipe: str) -> Iterator[tuple[re.Match[str], str]]:
    """Every comment with its place, as one line of text."""
    for place in _COMMENT.finditer(recipe):
        whole = place.group(1) or re.sub("^# ", "", place.group(), flags=re.MULTILINE)
        yield place, " ".join(whole.split())


def translated(recipe: str, say: Words) -> str:
    """Translate the comments of a recipe that was written in English."""
    if say.language == "en":
        return recipe
    parts: list[str] = []
    end = 0
    for place, said in comments(recipe):
        told = say.translated(said)
        parts.append(recipe[end : place.start()])
        parts.append(f"   # {told}" if place.group(1) else _lines(told))
        end = place.end()
    return "".join([*parts, recipe[end:]])


def _lines(text: str) -> str:
    mark = "# "
    lines = textwrap.wrap(text, WIDTH - len(mark), break_long_words=False, break_on_hyphens=False)
    return "".join(f"{mark}{line}\n" for line in lines)
