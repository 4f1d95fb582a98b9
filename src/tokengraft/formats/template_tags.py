"""The statements of a chat template, and the loops over its messages, so that it can be spliced."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tokengraft.formats.template_spans import Span, spans

Edit = tuple[int, int, str]  # begin, end, and what stands there then
_BLOCKS = frozenset({"for", "if", "macro", "call", "filter", "generation", "block", "autoescape"})


@dataclass(frozen=True, slots=True)
class Tag:
    """A statement such as `{%- for message in messages %}`.

    Attributes:
        name: its first word.
        words: all its tokens but white space, in order.
        begin, end: its place, with the braces but without white space that it strips.
        before, after: the signs beside its braces, `-`, `+` or nothing.
    """

    name: str
    words: tuple[str, ...]
    begin: int
    end: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class MessageLoop:
    """A loop over messages that prints at once, so that what it prints can be followed.

    Attributes:
        variable: the name of the message in it.
        opening, closing: its `for` and its `endfor`.
        inside: the tags between them.
    """

    variable: str
    opening: Tag
    closing: Tag
    inside: tuple[Tag, ...]


@lru_cache(maxsize=32)
def tags(text: str) -> tuple[Tag, ...]:
    """The statements of a template, in order; none if Jinja cannot read it."""
    found: list[Tag] = []
    words: list[str] = []
    start: Span | None = None
    for span in spans(text):
        value = text[span.begin : span.end]
        if span.kind == "block_begin":
            start, words = span, []
        elif span.kind == "block_end" and start is not None:
            closing = value.rstrip()  # with the white space that it strips
            before, after = text[start.begin + 2 : start.end], closing[:-2]
            end = span.begin + len(closing)
            found.append(Tag(words[0], tuple(words), start.begin, end, before, after))
            start = None
        elif start is not None and span.kind not in ("whitespace", "trimmed"):
            words.append(value)
    return tuple(found)


def message_loops(text: str) -> list[MessageLoop]:
    """The loops `for X in …messages…` that are neither in a macro nor in another buffer."""
    found: list[MessageLoop] = []
    every = tags(text)
    stack: list[tuple[Tag, int]] = []
    for number, tag in enumerate(every):
        if tag.name in _BLOCKS or (tag.name == "set" and "=" not in tag.words):
            stack.append((tag, number))
        elif tag.name.startswith("end") and stack:
            opening, first = stack.pop()
            buffers = [t for t, _ in stack if t.name not in ("for", "if")]
            if opening.name == "for" and not buffers and _is_over_messages(opening):
                inside = every[first + 1 : number]
                if not _has_own_else(inside):
                    found.append(MessageLoop(opening.words[1], opening, tag, inside))
    return sorted(found, key=lambda loop: loop.opening.begin)


def _is_over_messages(tag: Tag) -> bool:
    over = tag.words[3:]
    return len(over) > 0 and tag.words[2] == "in" and any("messages" in word for word in over)


def _has_own_else(inside: tuple[Tag, ...]) -> bool:
    """Whether the loop itself has an `else`, for no messages."""
    depth = 0
    for tag in inside:
        if tag.name in ("for", "if"):
            depth += 1
        elif tag.name in ("endfor", "endif"):
            depth -= 1
        elif tag.name == "else" and depth == 0:
            return True
    return False


def leaves_early(loop: MessageLoop) -> bool:
    """Whether a `break` or `continue` belongs to the loop itself."""
    depth = 0
    for tag in loop.inside:
        depth += (tag.name == "for") - (tag.name == "endfor")
        if tag.name in ("break", "continue") and depth == 0:
            return True
    return False


def wrapped(loop: MessageLoop, before: str, last: str, first: str, after: str) -> tuple[Edit, Edit]:
    """What to insert where, so that a loop's body stands between own statements.

    The statements next to the body strip what the loop's own ones stripped, and nothing else.

    Args:
        before, last: text in front of the body; `last` is the statement next to it, without braces.
        first, after: the statement next behind the body, and the text behind that.
    """
    opening, closing = loop.opening, loop.closing
    return (
        (opening.end, opening.end, f"{before}{{%- {last} {opening.after}%}}"),
        (closing.begin, closing.begin, f"{{%{closing.before} {first} %}}{after}"),
    )


def without_generation(loop: MessageLoop) -> tuple[Edit, ...]:
    """Turn the generation tags in a loop into tags that say nothing; white space stays as it is."""
    names = {"generation": "if true", "endgeneration": "endif"}
    return tuple(
        (tag.begin, tag.end, f"{{%{tag.before} {names[tag.name]} {tag.after}%}}")
        for tag in loop.inside
        if tag.name in names
    )
