"""What is said to people, in each language.

English is written where it is used. The views' own words are tables by the English text; what rules,
plans and errors say is translated by its template (see `translating`). Tests collect every text of
both kinds and ask for it. A rule's page is a file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final, Literal

from tokengraft.reporting import russian, sizes
from tokengraft.reporting.words_ru import NOUNS as RUSSIAN_NOUNS
from tokengraft.reporting.words_ru import TEXTS as RUSSIAN_TEXTS

if TYPE_CHECKING:
    from tokengraft.answers import Rule
    from tokengraft.reporting.translating import Translator

Language = Literal["en", "ru"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "ru")

# The plural of every noun that is counted.
ENGLISH_NOUNS: Final = {
    "check": "checks",
    "entry": "entries",
    "file": "files",
    "key": "keys",
    "merge": "merges",
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

    def translated(self, english: str) -> str:
        """What a rule, a plan, a check or an error says; what is not known stays English."""
        return english if self.language == "en" else _russian()(english)

    def rule(self, english: Rule) -> Rule:
        """A rule with its title and its page; one that this version does not have stays English."""
        page = None if self.language == "en" else russian.rule_page(english.code)
        if page is None:
            return english
        return english.model_copy(update=dict(zip(("title", "text"), page, strict=True)))

    def count(self, number: int, noun: str) -> str:
        """A number with its noun in the right form: `1 token`, `3 tokens`, `3 токена`."""
        if self.language == "en":
            form = noun if number == 1 else ENGLISH_NOUNS[noun]
        else:
            form = RUSSIAN_NOUNS[noun][russian.form(number)]
        return f"{self.number(number)} {form}"

    def number(self, number: int) -> str:
        shown = sizes.number(number)
        return shown if self.language == "en" else russian.number(shown)

    def decimal(self, shown: str) -> str:
        """A number with a fraction as English writes it, e.g. seconds or a percentage."""
        return shown if self.language == "en" else russian.decimal(shown)

    def size(self, size_bytes: int) -> str:
        amount, unit = sizes.size(size_bytes)
        return f"{amount} {unit}" if self.language == "en" else russian.size(amount, unit)


@cache
def _russian() -> Translator:
    """All rooms in one: a sentence of one room may quote another's."""
    from tokengraft.reporting.translating import translator

    templates: dict[str, str] = {}
    nouns: dict[str, str] = {}
    for room in russian.rooms().values():
        templates |= {**room.texts, **room.foreign}
        nouns |= room.nouns
    return translator(templates, nouns)


ENGLISH: Final = Words("en")
RUSSIAN: Final = Words("ru")
BY_LANGUAGE: Final[Mapping[str, Words]] = {"en": ENGLISH, "ru": RUSSIAN}
