"""Give tokens other texts in a chat template: in what it writes and compares, never in its code.

Data, string constants and comments are edited at their places (`template_spans`); comments follow
so that no file names a token that is gone. What cannot be edited is named with its place instead
(`template_pieces` says where a text is computed): half a protocol is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tokengraft.formats.template_jinja import syntax_error
from tokengraft.formats.template_pieces import Place, computed, cut_by_length
from tokengraft.formats.template_spans import (
    LITERAL,
    Span,
    Unit,
    line_of,
    meaning,
    quoted,
    spans,
    splice,
    units,
)

JOINS = frozenset({"+", "~"})
# Beside these an operand of `+` or `~` is not written as it stands.
_BEFORE = frozenset({"*", "/", "//", "%", "**", "-", ".", "|"})
_AFTER = frozenset({".", "[", "(", "|", "*", "/", "//", "%", "**"})
# Names that an expression may begin behind; behind any other, a string is the argument of a test.
_OPENERS = frozenset({"if", "elif", "else", "in", "and", "or", "not"})


@dataclass(frozen=True, slots=True)
class Edited:
    """A template with other texts, and the places that stand in the way of it."""

    text: str
    places: tuple[Place, ...] = ()


class Part(NamedTuple):
    """Characters of one span that become another text."""

    span: Span
    begin: int
    end: int
    text: str

    def written(self, template: str) -> str:
        """The new text as it is spelled where it goes: escaped in a constant."""
        if self.span.kind != "string":
            return self.text
        return quoted(self.text, template[self.span.begin])


def replaced(text: str, new: Mapping[str, str], known: Iterable[str] = ()) -> Edited:
    """Give tokens their new texts, all at once.

    Args:
        new: old text to new text.
        known: the texts of all other tokens: an old text inside a longer token is not touched, as
            the tokenizer would not see it there (the leftmost, then the longest token wins).
    """
    found = spans(text)
    if not found:
        why = syntax_error(text) or "it is too large"
        return Edited(text, (Place(1, f"Jinja cannot read the template: {why}"),) if text else ())
    literal = "\n".join(meaning(text, s) for s in found if s.kind in LITERAL or s.kind == "comment")
    known = [token for token in known if token in literal]
    parts = list(parts_of(text, found, pattern((*new, *known)), new))
    result = splice(text, [(p.begin, p.end, p.written(text)) for p in parts])
    misread = tuple(_misread(text, result, found, parts))
    if misread:
        return Edited(text, misread)
    places = [*_words(text, parts, new), *cut_by_length(text, new)]
    for token in new:
        places += computed(result, token, pattern((*new, *known, *new.values())))
    return Edited(result, tuple(dict.fromkeys(places)))


def pattern(tokens: Iterable[str]) -> re.Pattern[str]:
    """Find tokens as a tokenizer does: the leftmost, and there the longest."""
    ordered = sorted(set(tokens), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered)) or r"(?!)")


def parts_of(
    text: str, found: Sequence[Span], finder: re.Pattern[str], new: Mapping[str, str]
) -> Iterator[Part]:
    """What becomes of each span; a token over several joined constants goes into the first."""
    for group in _groups(text, found):
        chars = [(span, unit) for span in group for unit in units(text, span)]
        for match in finder.finditer("".join(unit.char for _, unit in chars)):
            if match.group() not in new:
                continue
            inside = chars[match.start() : match.end()]
            for number, (span, held) in enumerate(_by_span(inside)):
                told = "" if number else new[match.group()]
                yield Part(span, held[0].begin, held[-1].end, told)


def _by_span(chars: Sequence[tuple[Span, Unit]]) -> list[tuple[Span, list[Unit]]]:
    found: dict[Span, list[Unit]] = {}
    for span, unit in chars:
        found.setdefault(span, []).append(unit)
    return list(found.items())


def _groups(text: str, found: Sequence[Span]) -> Iterator[list[Span]]:
    """Spans that can be edited as one text: data, a comment, constants joined where they stand."""
    tokens = [s for s in found if s.kind not in ("whitespace", "trimmed")]
    at = 0
    while at < len(tokens):
        if tokens[at].kind != "string":
            if tokens[at].kind in ("data", "comment"):
                yield [tokens[at]]
            at += 1
            continue
        group, at = _joined(text, tokens, at)
        yield group


def _joined(text: str, tokens: Sequence[Span], at: int) -> tuple[list[Span], int]:
    """Constants from a place on that are one text, and the place behind them."""
    group, end = _neighbours(tokens, at)
    if not is_free(_source(text, tokens[at - 1]), tokens[at - 1], before=True):
        return group, end
    while end + 1 < len(tokens) and _source(text, tokens[end]) in JOINS:
        more, behind = _neighbours(tokens, end + 1)
        if not more or not _ends_free(text, tokens, behind):
            break
        group, end = [*group, *more], behind
    return group, end


def _neighbours(tokens: Sequence[Span], at: int) -> tuple[list[Span], int]:
    """Constants that follow one another: Jinja reads them as one."""
    end = at
    while end < len(tokens) and tokens[end].kind == "string":
        end += 1
    return list(tokens[at:end]), end


def _ends_free(text: str, tokens: Sequence[Span], behind: int) -> bool:
    if behind == len(tokens):
        return True
    return is_free(_source(text, tokens[behind]), tokens[behind], before=False)


def is_free(source: str, beside: Span, *, before: bool) -> bool:
    """Whether what stands beside a constant that is added to others leaves it as it is."""
    if beside.kind == "name":
        return source in _OPENERS if before else source != "is"
    return source not in (_BEFORE if before else _AFTER)


def _source(text: str, span: Span) -> str:
    return text[span.begin : span.end]


def _words(text: str, parts: Sequence[Part], new: Mapping[str, str]) -> Iterator[Place]:
    """Tokens that are spelled like words: a role or a key of the same name is no token."""
    words = {told: old for old, told in new.items() if old.isidentifier()}
    for part in parts:
        if part.text in words and part.span.kind in LITERAL:
            old = words[part.text]
            why = f"{old!r} is a plain word there, and may be something else than the token"
            yield Place(line_of(text, part.begin), why)


def _misread(
    text: str, result: str, found: Sequence[Span], parts: Sequence[Part]
) -> Iterator[Place]:
    """Where Jinja reads something else than was meant: a new text that looks like code."""
    told: dict[Span, list[Part]] = {}
    for part in parts:
        told.setdefault(part.span, []).append(part)
    expected = [(span.kind, _expected(text, span, told.get(span, ()))) for span in found]
    now = spans(result)
    for number, (span, wanted) in enumerate(zip(found, expected, strict=True)):
        if number >= len(now) or (now[number].kind, meaning(result, now[number])) != wanted:
            texts = ", ".join(repr(part.text) for part in told.get(span, ()) if part.text)
            why = f"{texts or 'a new text'} would be read as code of the template there"
            yield Place(line_of(text, span.begin), why)
            return


def _expected(text: str, span: Span, parts: Sequence[Part]) -> str:
    """What a span shall stand for, from its characters and not from how they are written."""
    if not parts:
        return meaning(text, span)
    said: list[str] = []
    at = span.begin
    for part in sorted(parts, key=lambda part: part.begin):
        said += [u.char for u in units(text, span) if at <= u.begin < part.begin]
        said.append(part.text)
        at = part.end
    return "".join([*said, *(u.char for u in units(text, span) if u.begin >= at)])
