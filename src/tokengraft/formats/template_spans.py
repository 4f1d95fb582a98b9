"""A chat template as Jinja's lexer cuts it, each token with its exact place in the text.

The spans follow one another without a gap, so that joining their texts gives the template again and
an edit is a splice: what it does not name keeps its characters. White space that Jinja takes away
(`-%}`, block trimming, the last newline) has spans of its own, of kind `trimmed`.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from tokengraft.formats.template_jinja import Raw, raw_tokens, syntax_error

# Kinds whose texts reach the reader of a template; `data` and `string` can reach its output.
LITERAL = frozenset({"data", "string"})
_SPACE = re.compile(r"\s*")
_NEWLINE = re.compile(r"\r\n?")
# What `unicode-escape` reads as one character; a backslash before anything else stands for itself.
_UNIT = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|N\{[^{}]*\}|[0-7]{1,3}|\r\n?"
    r"|[\n\\'\"abfnrtv]|[^\x00-\x7f])|\r\n?|.",
    re.DOTALL,
)
_CHAR = re.compile(r"\r\n?|.", re.DOTALL)
_SHORT = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


class Span(NamedTuple):
    """A token of the lexer: its kind, and the characters from `begin` up to `end`.

    `kind` is Jinja's name (`data`, `string` with its quotes, `comment` without its braces, `name`,
    `operator`, `whitespace`, `block_begin` ...) or `trimmed`.
    """

    kind: str
    begin: int
    end: int


class Unit(NamedTuple):
    """A character that a string constant stands for, and where it is written."""

    char: str
    begin: int
    end: int


@lru_cache(maxsize=64)
def spans(text: str) -> tuple[Span, ...]:
    """Cut a template into spans; none if Jinja cannot read it."""
    if syntax_error(text) is not None:
        return ()
    found = tuple(_spans(_NEWLINE.sub("\n", text), raw_tokens(text)))
    if "\r" not in text:
        return found
    # Jinja reads every newline as one character; ours may have two.
    places = [*_places(text), len(text)]
    return tuple(Span(kind, places[begin], places[end]) for kind, begin, end in found)


def _spans(text: str, raw: Iterable[Raw]) -> Iterator[Span]:
    at = 0
    for _, kind, value in raw:
        begin = at
        if not text.startswith(value, at):
            begin = _skip(text, at)
            yield Span("trimmed", at, begin)
            assert text.startswith(value, begin), "Jinja's lexer leaves out white space alone"
        at = begin + len(value)
        yield Span(kind, begin, at)
    if at < len(text):
        yield Span("trimmed", at, len(text))
        assert _skip(text, at) == len(text), "Jinja's lexer leaves out white space alone"


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _places(text: str) -> Iterator[int]:
    """Where each character lies once `CR LF` counts as one."""
    return (at for at, char in enumerate(text) if char != "\n" or text[at - 1 : at] != "\r")


def line_of(text: str, at: int) -> int:
    """The line, counted from 1, that a place of the text lies in."""
    return bisect_right(_line_ends(text), at) + 1


@lru_cache(maxsize=8)
def _line_ends(text: str) -> list[int]:
    """Where each line but the last ends, its newline included."""
    return [found.end() for found in re.finditer(r"\r\n?|\n", text)]


def meaning(text: str, span: Span) -> str:
    """What a span stands for: the value of a string constant, else its text as Jinja reads it."""
    if span.kind == "string":
        return "".join(unit.char for unit in units(text, span))
    return _NEWLINE.sub("\n", text[span.begin : span.end])


def units(text: str, span: Span) -> Iterator[Unit]:
    """The characters of a string constant or of data, with the places where they are written.

    A character of a constant may be written as an escape. What stands for nothing (a backslash at
    the end of a line) is left out; what stands for several has one place for all of them.
    """
    is_string = span.kind == "string"
    begin, end = span.begin + is_string, span.end - is_string
    for found in (_UNIT if is_string else _CHAR).finditer(text, begin, end):
        char = _decoded(found.group()) if is_string else _NEWLINE.sub("\n", found.group())
        yield from (Unit(one, *found.span()) for one in char)


def _decoded(raw: str) -> str:
    if raw[0] == "\r":
        return "\n"
    if raw[0] != "\\" or len(raw) == 1:
        return raw
    kind, rest = raw[1], raw[2:]
    if not kind.isascii():  # Jinja escapes it first, and so meets two backslashes
        return raw.encode("ascii", "backslashreplace").decode("unicode-escape")
    if kind in "xuU":
        return chr(int(rest, 16))
    if kind == "N":
        return unicodedata.lookup(rest[1:-1])
    if kind in "01234567":
        return chr(int(raw[1:], 8))
    return "" if kind in "\r\n" else _SHORT.get(kind, kind)


def quoted(value: str, quote: str) -> str:
    """Write a text as the inside of a string constant with these quotes."""
    escaped = value.replace("\\", "\\\\").replace(quote, "\\" + quote)
    return escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def splice(text: str, edits: Iterable[tuple[int, int, str]]) -> str:
    """Replace what lies between begin and end by new text; the places must not overlap."""
    parts: list[str] = []
    at = 0
    for begin, end, new in sorted(edits):
        assert at <= begin <= end, "edits overlap"
        parts += [text[at:begin], new]
        at = end
    return "".join([*parts, text[at:]])
