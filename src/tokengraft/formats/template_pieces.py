"""Where a chat template could compute a token's text, so that no edit of its literals reaches it.

Nothing is run. A text counts as computed if constants of the template, and names of roles, can be
put together to it, or if a `replace` or a change of case turns a constant into it. Pieces need not
stand side by side: variables carry them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from jinja2 import nodes

from tokengraft.formats.template_jinja import every_node
from tokengraft.formats.template_spans import LITERAL, Span, line_of, meaning, spans

# Names that messages bring along: a marker may be put together around one.
ROLES = frozenset(
    {"assistant", "developer", "function", "ipython", "model", "system", "tool", "user"}
)
# Where something is put into a constant: '%s', '{}', '{name}'.
_SLOT = re.compile(r"%[sdr]|\{[A-Za-z0-9_.!:]*\}")
_CASES: Mapping[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "title": str.title,
    "capitalize": str.capitalize,
}


class Place(NamedTuple):
    """Where a token's text stands, or comes about, in a way that cannot be edited."""

    line: int
    why: str


class _Piece(NamedTuple):
    """A part of a constant, and whether something else may be written right before or behind it."""

    text: str
    line: int
    is_open_before: bool
    is_open_behind: bool


def computed(text: str, token: str, finder: re.Pattern[str]) -> Iterator[Place]:
    """The places where a template can make a token out of other texts.

    Args:
        finder: finds all tokens (`template_markers.pattern`); what belongs to one is no piece.
    """
    found = spans(text)
    if not found:
        return  # Jinja cannot read it, so it makes nothing
    constants = [(meaning(text, s), line_of(text, s.begin)) for s in found if _is_said(s)]
    made = _put_together(
        [p for said, line in constants for p in _pieces(said, line, finder)], token
    )
    if made is not None:
        pieces = " + ".join(map(repr, made[1]))
        yield Place(made[0], f"{token!r} could be put together there, from {pieces}")
    for line, how, change in _changes(text):
        for said, _ in constants:
            if token not in said and token in change(said):
                yield Place(line, f"{how} makes {token!r} out of {said!r} there")


def _is_said(span: Span) -> bool:
    return span.kind in LITERAL


def _pieces(said: str, line: int, finder: re.Pattern[str]) -> Iterator[_Piece]:
    """A constant cut at its slots, and around each token that stands in it."""
    for part in _SLOT.split(said):
        at = 0
        for match in finder.finditer(part):
            yield _Piece(part[at : match.start()], line, at == 0, is_open_behind=False)
            at = match.end()
        yield _Piece(part[at:], line, at == 0, is_open_behind=True)


def _put_together(pieces: list[_Piece], token: str) -> tuple[int, tuple[str, ...]] | None:
    """The line and the pieces of one way to make a token, None if there is none."""
    ways: dict[int, tuple[int, tuple[str, ...]]] = {}
    for piece in pieces:
        for size in range(1, len(token)):
            if piece.is_open_behind and piece.text.endswith(token[:size]):
                ways.setdefault(size, (piece.line, (token[:size],)))
    inner = {p.text for p in pieces if p.is_open_before and p.is_open_behind and p.text} | ROLES
    for size in range(1, len(token)):
        if size not in ways:
            continue
        line, made = ways[size]
        rest = token[size:]
        if rest in ROLES or any(p.is_open_before and p.text.startswith(rest) for p in pieces):
            return line, (*made, rest)
        for text in sorted(inner):
            if rest.startswith(text) and text != rest:
                ways.setdefault(size + len(text), (line, (*made, text)))
    return None


def _changes(text: str) -> Iterator[tuple[int, str, Callable[[str], str]]]:
    """What a template does to texts that can make a token of another text, with its line."""
    for node in every_node(text):
        name, args = _called(node)
        if name in _CASES:
            yield node.lineno, f"`{name}`", _CASES[name]
        elif name == "replace" and args[1:]:
            old, new = args[:2]
            yield node.lineno, f"`replace({old!r}, {new!r})`", _replacing(old, new)


def _called(node: nodes.Node) -> tuple[str, tuple[str, ...]]:
    """The method or filter that is called, and its constant arguments."""
    match node:
        case nodes.Filter():
            name = node.name
        case nodes.Call(node=nodes.Getattr(attr=attribute)):
            name = attribute
        case _:
            return "", ()
    return name, tuple(text for arg in node.args if (text := _constant(arg)) is not None)


def _constant(node: nodes.Node) -> str | None:
    """The text that a node is, None if it is none."""
    value = node.value if isinstance(node, nodes.Const) else None
    return value if isinstance(value, str) else None


def _replacing(old: str, new: str) -> Callable[[str], str]:
    return lambda said: said.replace(old, new)


def cut_by_length(text: str, new: Mapping[str, str]) -> Iterator[Place]:
    """Where text is cut at a fixed place that goes by the length of a token.

    `content[12:]` behind a test for a token of twelve characters is wrong once it has another
    length; so is a constant with the token in it that is indexed.
    """
    tested = [(said, token) for said in _tested(text) for token in new if token in said]
    for node in every_node(text):
        if not isinstance(node, nodes.Getitem):
            continue
        indexed = _constant(node.node) or ""
        for token in new:
            if token in indexed:
                yield Place(node.lineno, f"a text with {token!r} in it is cut by position")
        lengths = {abs(n) for n in _bounds(node.arg)}
        for said, token in tested:
            if len(said) in lengths and len(new[token]) != len(token):
                why = f"text is cut by {len(said)} characters, the length of {said!r}"
                yield Place(node.lineno, why)


def _tested(text: str) -> Iterator[str]:
    """Texts that others are said to begin with, to end with or to hold."""
    for node in every_node(text):
        if isinstance(node, nodes.Compare):
            said = _constant(node.expr)
            if said is not None and any(operand.op in ("in", "notin") for operand in node.ops):
                yield said
        elif isinstance(node, nodes.Call):
            name, args = _called(node)
            if name in ("startswith", "endswith"):
                yield from args


def _bounds(node: nodes.Node) -> Iterator[int]:
    """The literal numbers of a slice."""
    for bound in (node.start, node.stop) if isinstance(node, nodes.Slice) else ():
        inner = bound.node if isinstance(bound, nodes.Neg) else bound
        if isinstance(inner, nodes.Const) and isinstance(inner.value, int):
            yield inner.value
