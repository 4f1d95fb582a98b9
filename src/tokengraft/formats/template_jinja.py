"""Jinja's lexer and parser within limits: what they make of a template that nobody runs.

Lexing and parsing run no code of the template: names are looked up, constants folded and filters
called only when a template is compiled or rendered, which the sandbox's child alone does. What they
take in time and memory is bounded here: by characters, by tokens, by digits of a number. Whatever
Jinja raises, the template cannot be read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.lexer import Token
from jinja2.parser import Parser

# The longest real template met has 26,000 characters, and the one of most tokens 3,038.
MAX_TEMPLATE = 1 << 17
MAX_TOKENS = 1 << 14
MAX_DIGITS = 300  # of a number; Python itself refuses more than 4,300
MAX_NESTING = 200  # blocks within one another


class Raw(NamedTuple):
    """A token as the lexer cuts it: its line, its kind, and its text as it is written."""

    line: int
    kind: str
    text: str


class _Read(NamedTuple):
    raw: tuple[Raw, ...]
    problem: str


class _Generation(Extension):
    """Know the tag of training templates that transformers adds to Jinja."""

    tags = {"generation"}  # noqa: RUF012  Jinja declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    """Jinja as transformers sets it up; it only lexes and parses here."""
    return jinja2.Environment(  # noqa: S701  nothing is rendered
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )


@lru_cache(maxsize=64)
def _lexed(text: str) -> _Read:
    if len(text) > MAX_TEMPLATE:
        return _Read((), f"it has more than {MAX_TEMPLATE} characters")
    try:
        cut = islice(_environment().lexer.tokeniter(text, None), MAX_TOKENS + 1)
        found = tuple(Raw(*token) for token in cut)
    except Exception as error:  # noqa: BLE001 - whatever it is, the template cannot be read
        return _Read((), _said(error))
    if len(found) > MAX_TOKENS:
        return _Read((), f"it has more than {MAX_TOKENS} tokens")
    for token in found:
        if token.kind in ("integer", "float") and len(token.text) > MAX_DIGITS:
            return _Read((), f"line {token.line}: a number of {len(token.text)} digits")
    return _Read(found, "")


def _said(error: Exception) -> str:
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"line {error.lineno}: {error.message}"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"Jinja fails on it: {type(error).__name__}"


def raw_tokens(text: str) -> tuple[Raw, ...]:
    """Every token with its text as it stands, white space included; none if Jinja cannot lex it."""
    return _lexed(text).raw


def tokens(text: str) -> tuple[Token, ...]:
    """The tokens with their values, as the parser gets them; none if Jinja cannot lex it."""
    try:
        return tuple(_environment().lexer.wrap(iter(_lexed(text).raw)))
    except jinja2.TemplateSyntaxError:
        return ()


@lru_cache(maxsize=16)
def _parsed(text: str) -> tuple[nodes.Template | None, str]:
    problem = _lexed(text).problem
    if problem:
        return None, problem
    try:
        return _environment().parse(text), ""
    except Exception as error:  # noqa: BLE001 - as above
        return None, _said(error)


@lru_cache(maxsize=64)
def syntax_error(text: str) -> str | None:
    """What is wrong with a template, None if it can be parsed."""
    return _parsed(text)[1] or None


def every_node(text: str) -> Iterator[nodes.Node]:
    """All nodes of the syntax tree in the order of the text; none if Jinja cannot read it.

    Chains of operators and calls nest as deep as they are long, so this does not recurse.
    """
    tree = _parsed(text)[0]
    left: list[nodes.Node] = [] if tree is None else [tree]
    while left:
        node = left.pop()
        yield node
        left += reversed(list(node.iter_child_nodes()))
