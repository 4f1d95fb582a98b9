"""Which language to speak: what was typed, then TOKENGRAFT_LANG, then the locale."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, TextIO

# Spelled out so that `--help` in English need not import any view; a test compares.
LANGUAGES: Final = ("en", "ru")
VARIABLE: Final = "TOKENGRAFT_LANG"


def language(arguments: Sequence[str], environ: Mapping[str, str], stream: TextIO) -> str:
    """The language of this run, known before anything is parsed: errors must speak it too.

    A locale that asks for Russian on a stream that cannot write it is not followed; what was asked
    of this program itself is.
    """
    asked = _typed(arguments) or environ.get(VARIABLE, "")
    if asked:
        return asked if asked in LANGUAGES else "en"  # click refuses the others by name
    found = of_locale(environ)
    return found if can_write(found, stream) else "en"


def _typed(arguments: Sequence[str]) -> str:
    options = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    typed = ""
    for option, value in pairwise([*options, ""]):
        if option == "--lang":
            typed = value
        elif option.startswith("--lang="):
            typed = option.removeprefix("--lang=")
    return typed


def of_locale(environ: Mapping[str, str]) -> str:
    """The language of messages, as gettext finds it; English where it names none of ours.

    Source: GNU gettext manual, 2.3 (LC_ALL, LC_MESSAGES, LANG, the first that is not empty; LANGUAGE
    is a list before them all, and is ignored in the locale C).
    """
    values = (environ.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    locale = next(filter(None, values), "C")
    if _language_of(locale) in ("C", "POSIX"):
        return "en"
    wanted = [*environ.get("LANGUAGE", "").split(":"), locale]
    known = (name for name in map(_language_of, wanted) if name in LANGUAGES)
    return next(known, "en")


def _language_of(locale: str) -> str:
    """`ru` of `ru_RU.UTF-8@cyrillic`."""
    return re.split(r"[@._]", locale, maxsplit=1)[0]


def can_write(name: str, stream: TextIO) -> bool:
    """Whether a stream can write the letters of a language."""
    letters = {"ru": "Яяё"}.get(name, "")
    try:
        letters.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
