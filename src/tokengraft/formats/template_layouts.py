r"""Have a template write one token where it wrote a sequence, say `<|im_start|>user` and a line break.

A template writes a sequence as it stands, or around a value: `'<|im_start|>' + message.role + '\n'` is
the beginning of everyone's turn. Such a place is made to ask for the value: the token if it is the one
that completes the sequence, else what was written before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tokengraft.formats.template_markers import JOINS, Edited, Part, is_free, parts_of, pattern
from tokengraft.formats.template_pieces import Place, computed
from tokengraft.formats.template_spans import (
    LITERAL,
    Span,
    line_of,
    meaning,
    quoted,
    spans,
    splice,
    units,
)

_Edit = tuple[int, int, str]


class _Value(NamedTuple):
    """A value that is written between two literal texts; `behind` is None where nothing follows."""

    first: Span
    last: Span
    before: Span
    behind: Span | None


class _Ends(NamedTuple):
    """What of a sequence stands before and behind a value."""

    before: str
    behind: str


def with_tokens(text: str, tokens: Mapping[str, str], known: Iterable[str] = ()) -> Edited:
    """Write tokens in place of sequences.

    Args:
        tokens: sequence to token.
        known: texts of the base's tokens; they are pieces of a sequence, never more than that.
    Returns:
        The template, with the places that can still write a sequence: they are left as they are.
    """
    found = spans(text)
    if not found:
        return Edited(text)
    parts = parts_of(text, found, pattern((*tokens, *known)), tokens)
    literal = splice(text, [_edit(text, part) for part in parts if part.span.kind in LITERAL])
    values = list(_values(literal))
    edited = splice(literal, _value_edits(literal, values, tokens, with_rest=True))
    if _trimmed(edited) == _trimmed(literal) == _trimmed(text):
        # Without the branches that go on writing the sequence, what is left shows elsewhere.
        bare = splice(literal, _value_edits(literal, values, tokens, with_rest=False))
        return Edited(edited, tuple(_left(bare, tokens, known)))
    return Edited(text, tuple(_left(text, tokens, known)))


def _edit(text: str, part: Part) -> _Edit:
    return part.begin, part.end, part.written(text)


def _trimmed(text: str) -> list[str]:
    """The white space that Jinja takes away, which must stay the same."""
    return [text[span.begin : span.end] for span in spans(text) if span.kind == "trimmed"]


def _values(text: str) -> Iterator[_Value]:
    tokens = [s for s in spans(text) if s.kind not in ("whitespace", "trimmed")]
    sources = [text[s.begin : s.end] for s in tokens]
    for at, token in enumerate(tokens):
        if token.kind != "name" or at < 2:  # noqa: PLR2004 - a delimiter or sign, and a literal
            continue
        end = _value_end(tokens, sources, at)
        before = _literal(tokens, sources, at, -1)
        if before is not None and _ends_there(tokens, sources, end):
            yield _Value(token, tokens[end - 1], before, _literal(tokens, sources, end - 1, 1))


def _value_end(tokens: Sequence[Span], sources: Sequence[str], at: int) -> int:
    """The place behind a name with its attributes and keys: `message.role`, `message['role']`."""
    end = at + 1
    while end + 1 < len(tokens):
        if sources[end] == "." and tokens[end + 1].kind == "name":
            end += 2
        elif sources[end] == "[" and sources[end + 2 : end + 3] == ["]"]:
            end += 3
        else:
            break
    return end


def _ends_there(tokens: Sequence[Span], sources: Sequence[str], end: int) -> bool:
    return end < len(tokens) and (sources[end] in JOINS or tokens[end].kind == "variable_end")


def _literal(tokens: Sequence[Span], sources: Sequence[str], at: int, step: int) -> Span | None:
    """The literal text right before (-1) or behind (1) the value that begins or ends at a place."""
    beside, beyond = at + step, at + 3 * step
    other = at + 2 * step
    if not 0 <= other < len(tokens):
        return None
    literal = tokens[other]
    if sources[beside] in JOINS and literal.kind == "string":
        within = 0 <= beyond < len(tokens)
        return (
            literal
            if within and is_free(sources[beyond], tokens[beyond], before=step < 0)
            else None
        )
    edge = "variable_begin" if step < 0 else "variable_end"
    return literal if tokens[beside].kind == edge and literal.kind == "data" else None


def _value_edits(
    text: str, values: Sequence[_Value], tokens: Mapping[str, str], *, with_rest: bool
) -> list[_Edit]:
    edits: list[_Edit] = []
    for value in values:
        before = meaning(text, value.before)
        behind = "" if value.behind is None else meaning(text, value.behind)
        found = {seq: ends for seq in tokens for ends in _ends(seq, before, behind)}
        if not found:
            continue
        ends = next(iter(found.values()))
        named = {
            seq[len(ends.before) : len(seq) - len(ends.behind)]: tokens[seq]
            for seq, own in found.items()
            if own == ends
        }
        edits += _taken(text, value, ends)
        source = text[value.first.begin : value.last.end]
        new = _asking(source, ends, named) if with_rest else _quoted("".join(named.values()))
        edits.append((value.first.begin, value.last.end, new))
    return edits


def _ends(sequence: str, before: str, behind: str) -> Iterator[_Ends]:
    """The longest ends of a sequence that stand around a value, if a name is all that is missing."""
    for a in range(len(sequence) - 1, 0, -1):
        for b in range(len(sequence) - a - 1, -1, -1):
            fits = before.endswith(sequence[:a]) and behind.startswith(
                sequence[len(sequence) - b :]
            )
            if fits and sequence[a : len(sequence) - b].isidentifier():
                yield _Ends(sequence[:a], sequence[len(sequence) - b :])
                return


def _taken(text: str, value: _Value, ends: _Ends) -> Iterator[_Edit]:
    """Take the ends of the sequence away from the texts around the value."""
    chars = list(units(text, value.before))
    yield chars[-len(ends.before)].begin, chars[-1].end, ""
    if ends.behind and value.behind is not None:
        chars = list(units(text, value.behind))
        yield chars[0].begin, chars[len(ends.behind) - 1].end, ""


def _asking(value: str, ends: _Ends, named: Mapping[str, str]) -> str:
    """Write the token of a value that has one, else the sequence around it."""
    cases = [f"{_quoted(token)} if {value} == {_quoted(name)}" for name, token in named.items()]
    rest = [_quoted(ends.before), value, *([_quoted(ends.behind)] if ends.behind else [])]
    return f"({' else '.join(cases)} else {' + '.join(rest)})"


def _quoted(text: str) -> str:
    return f"'{quoted(text, chr(39))}'"


def _left(text: str, tokens: Mapping[str, str], known: Iterable[str]) -> Iterator[Place]:
    others = [token for token in known if not any(token in sequence for sequence in tokens)]
    finder = pattern((*others, *tokens.values()))
    for sequence in tokens:
        yield from computed(text, sequence, finder)
        yield from (
            Place(line_of(text, span.begin), f"{sequence!r} stands there")
            for span in spans(text)
            if span.kind in LITERAL and sequence in meaning(text, span)
        )
