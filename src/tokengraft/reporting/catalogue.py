"""The views' own words, in each language. What a rule or an error says stays English.

English is written where it is used; the other languages are tables by the English text. A test
collects every text that the views use and asks each table for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from tokengraft.reporting import sizes
from tokengraft.reporting.words_ru import NOUNS as RUSSIAN_NOUNS
from tokengraft.reporting.words_ru import TEXTS as RUSSIAN_TEXTS
from tokengraft.reporting.words_ru import UNITS as RUSSIAN_UNITS

Language = Literal["en", "ru"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "ru")

# The plural of every noun that is counted.
ENGLISH_NOUNS: Final = {
    "entry": "entries",
    "file": "files",
    "key": "keys",
    "note": "notes",
    "error": "errors",
    "warning": "warnings",
    "old row": "old rows",
    "piece": "pieces",
    "problem": "problems",
    "row": "rows",
    "tensor": "tensors",
    "token": "tokens",
}


@dataclass(frozen=True, slots=True)
class Words:
    """One language. Call it with the English text; `{name}` is filled with `name=...`."""

    language: Language

    def __call__(self, english: str, **values: object) -> str:
        text = english if self.language == "en" else RUSSIAN_TEXTS.get(english, english)
        return text.format(**values) if values else text

    def count(self, number: int, noun: str) -> str:
        """A number with its noun in the right form: `1 token`, `3 tokens`, `3 токена`."""
        if self.language == "en":
            form = noun if number == 1 else ENGLISH_NOUNS[noun]
        else:
            form = RUSSIAN_NOUNS[noun][_russian_form(number)]
        return f"{self.number(number)} {form}"

    def number(self, number: int) -> str:
        shown = sizes.number(number)
        # A no-break space would not survive `escape`; the Russian thin space neither.
        return shown if self.language == "en" else shown.replace(",", " ")

    def size(self, size_bytes: int) -> str:
        amount, unit = sizes.size(size_bytes)
        if self.language == "en":
            return f"{amount} {unit}"
        return f"{amount.replace('.', ',')} {RUSSIAN_UNITS[unit]}"


def _russian_form(number: int) -> int:
    """0 for 1, 21, 31; 1 for 2-4, 22-24; 2 for the rest, 11-14 among them."""
    tens, ones = number % 100 // 10, number % 10
    if tens == 1 or ones == 0 or ones > 4:  # noqa: PLR2004  the grammar
        return 2
    return 0 if ones == 1 else 1


ENGLISH: Final = Words("en")
RUSSIAN: Final = Words("ru")
BY_LANGUAGE: Final[Mapping[str, Words]] = {"en": ENGLISH, "ru": RUSSIAN}
