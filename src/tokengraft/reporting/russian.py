"""What Russian asks of numbers, and where its texts lie.

One TOML file a room in `ru/`, and one page a rule in `ru/rules/`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

UNITS: Final = {"B": "Б", "kB": "кБ", "MB": "МБ", "GB": "ГБ", "TB": "ТБ", "PB": "ПБ"}
# Tables of a room's file that hold no templates of its code.
NOUNS_TABLE: Final = "counted"
FOREIGN_TABLE: Final = "foreign"
_CODE: Final = re.compile(r"[A-Z]\d{3}")


@dataclass(frozen=True, slots=True)
class Room:
    """One file of `ru/`.

    Attributes:
        texts: Russian templates by the English ones of this room's code.
        nouns: the three forms of a noun that the code counts, by the English singular.
        foreign: templates of texts that other programs say through us (click, pydantic).
    """

    texts: Mapping[str, str]
    nouns: Mapping[str, str]
    foreign: Mapping[str, str]


def rooms() -> dict[str, Room]:
    """Read all rooms, by the names of their files."""
    import tomllib  # English must not wait for either
    from importlib.resources import files

    found = {}
    for file in sorted(files(__package__).joinpath("ru").iterdir(), key=lambda entry: entry.name):
        if file.name.endswith(".toml"):
            table = tomllib.loads(file.read_text(encoding="utf-8"))
            nouns, foreign = table.pop(NOUNS_TABLE, {}), table.pop(FOREIGN_TABLE, {})
            found[file.name.removesuffix(".toml")] = Room(table, nouns, foreign)
    return found


def rule_page(code: str) -> tuple[str, str] | None:
    """Read the title and the page of a rule; None for a code that we do not have.

    Codes come from documents too, so that what is no code must not become a path.
    """
    from importlib.resources import files

    file = files(__package__).joinpath("ru", "rules", f"{code}.md")
    if not _CODE.fullmatch(code) or not file.is_file():
        return None
    title, _, page = file.read_text(encoding="utf-8").partition("\n\n")
    return title.removeprefix("# "), page


def form(number: int) -> int:
    """0 for 1, 21, 31; 1 for 2-4, 22-24; 2 for the rest, 11-14 among them."""
    tens, ones = number % 100 // 10, number % 10
    if tens == 1 or ones == 0 or ones > 4:  # noqa: PLR2004  the grammar
        return 2
    return 0 if ones == 1 else 1


def number(shown: str) -> str:
    """A number as English shows it, thousands set apart by spaces.

    A no-break space would not survive `escape`; the thin space neither.
    """
    return shown.replace(",", " ")


def decimal(shown: str) -> str:
    """A number with a fraction as English shows it."""
    return shown.replace(".", ",")


def size(amount: str, unit: str) -> str:
    """A size as English shows it, e.g. `5.1` and `GB`."""
    return f"{decimal(amount)} {UNITS[unit]}"
