"""Regular expressions of the tokenizers library (Oniguruma), put together from texts."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from tokengraft.planning.draft import Word

# What makes a word longer, in the library's classes.
WORDISH = r"\p{L}\p{N}\p{M}"
Problems = list[tuple[str, str]]  # where, and what


def literal(text: str) -> str:
    """A text as a regular expression that matches it alone."""
    return "".join(f"\\{c}" if c.isascii() and not c.isalnum() and c != " " else c for c in text)


def any_of(patterns: Sequence[str]) -> str:
    """Alternatives; the library takes the first that matches, so longer words come first."""
    return "|".join(patterns)


def excluding(letters: Sequence[str]) -> str:
    """Letters as the inside of a character class."""
    return "".join(rf"\x{{{ord(letter):x}}}" for letter in sorted(set(letters)))


def longest_first(words: Sequence[Word]) -> list[Word]:
    """Words in the order in which alternatives must name them."""
    return sorted(words, key=lambda word: (-len(word.normal), word.normal))


def is_wordish(letter: str) -> bool:
    """Whether a character makes a word longer that it stands beside."""
    return unicodedata.category(letter)[0] in "LNM"
