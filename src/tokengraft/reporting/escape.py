r"""Make hostile text visible: token text may hold terminal commands, bidi overrides and nothing at all.

What cannot be seen, or changes how other characters are seen, is shown as an escape in Python's
notation (`\x1b`, `\u202e`, `\U000e0001`). Everything else, whatever its script, stays as it is.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# Letters and marks that are drawn as nothing or as a blank although Unicode calls them printable:
# Default_Ignorable_Code_Point of Unicode 16 beyond the categories that `str.isprintable` refuses,
# and the braille blank.
_INVISIBLE: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
_SHORT: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
# Two marks on one letter occur in honest text; towers of them climb into other lines.
_MARKS_IN_A_ROW: Final = 2
# Raw newlines of JSON text lie between its tokens only, never inside a string.
_NOT_IN_JSON: Final = re.compile(r"[^\n -~]")


def is_visible(character: str) -> bool:
    """Whether a terminal shows this character as itself and nothing else differently."""
    return character.isprintable() and character not in _INVISIBLE


def code(character: str) -> str:
    """One character as an escape."""
    short = _SHORT.get(character)
    if short is not None:
        return short
    number = ord(character)
    if number <= 0xFF:  # noqa: PLR2004  two hexadecimal digits
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"  # noqa: PLR2004


def inline(text: str) -> str:
    """Prose in one line, everything hostile as an escape."""
    if text.isascii() and text.isprintable():
        return text
    shown: list[str] = []
    marks = _MARKS_IN_A_ROW  # a mark with no letter before it would sit on what stands before us
    for character in text:
        if not is_visible(character):
            shown.append(code(character))
            marks = _MARKS_IN_A_ROW
        elif unicodedata.category(character) in ("Mn", "Me", "Mc"):
            shown.append(character if marks < _MARKS_IN_A_ROW else code(character))
            marks += marks < _MARKS_IN_A_ROW
        else:
            shown.append(character)
            marks = 0
    return "".join(shown)


def block(text: str) -> str:
    """Prose of several lines: line feeds stay, everything else as `inline`."""
    return "\n".join(inline(line) for line in text.replace("\r\n", "\n").split("\n"))


def quoted(text: str) -> str:
    """A token in quotes. Two different tokens never look the same (backslashes are doubled)."""
    shown = inline(text.replace("\\", "\\\\"))
    return f'"{shown}"' if "'" in shown and '"' not in shown else "'" + _no_quote(shown) + "'"


def _no_quote(shown: str) -> str:
    return shown.replace("'", "\\'")


def json_text(text: str) -> str:
    r"""JSON text of the same value in which nothing hostile is left raw (`\u` escapes instead)."""
    if text.isascii():  # a JSON string may hold DEL raw
        return text.replace("\x7f", "\\u007f")
    return _NOT_IN_JSON.sub(lambda match: _json_escape(match.group()), text)


def _json_escape(character: str) -> str:
    if is_visible(character) and unicodedata.category(character) not in ("Mn", "Me"):
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def toml_string(text: str) -> str:
    """A TOML basic string of this text."""
    shown: list[str] = []
    for character in text:
        if character in '"\\':
            shown.append("\\" + character)
        elif is_visible(character) and unicodedata.category(character) not in ("Mn", "Me"):
            shown.append(character)
        else:
            number = ord(character)
            shown.append(f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}")  # noqa: PLR2004
    return '"' + "".join(shown) + '"'


def github_data(text: str) -> str:
    """The message of a GitHub workflow command."""
    shown = block(text).replace("%", "%25")
    return shown.replace("\n", "%0A")


def github_property(text: str) -> str:
    """A property of a GitHub workflow command: colons and commas separate them."""
    return inline(text).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")


def sarif_text(text: str) -> str:
    """A SARIF message in which neither links nor placeholders can hide.

    Source: SARIF 2.1.0, 3.11.5 (placeholders) and 3.11.6 (embedded links). Braces are doubled only
    where they would be a placeholder: viewers that do not know the rule show the others as they are.
    """
    shown = re.sub(r"\{(\d+)\}", r"{{\1}}", block(text))
    return re.sub(r"\[([^\]]*)\](?=\()", r"\\[\1\\]", shown)
