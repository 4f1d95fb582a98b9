"""Write a template anew: new turns beside the old ones, and what the model says marked as such.

The body of the message loop stays as it is. What it writes for a turn is caught, so that what the
model itself has said can be told from what the template wrote, and roles, thoughts and calls can be
put into it. `{% generation %}` is spelled as text-generation-inference expects to find it, and stands
where transformers counts right: in the loop, not in what is caught.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from tokengraft.formats.template_markers import replaced
from tokengraft.formats.template_spans import LITERAL, meaning, spans, splice
from tokengraft.formats.template_tags import (
    Edit,
    MessageLoop,
    message_loops,
    without_generation,
    wrapped,
)
from tokengraft.planning.chat.probing import NotUnderstoodError
from tokengraft.planning.chat.shapes import Around, Design, Shape, Wanted
from tokengraft.planning.chat.turn_lines import TurnLines, quoted, stated_call

# {"name": …, "parameters": …} in the words of Llama 3, as it stands in a template's source.
_STATED = re.compile(r'\{(\\?")name\\?": ([^{}"]+), \\?"(?:parameters|arguments)\\?": ([^{}"]+)\}')


def write(text: str, shape: Shape, wanted: Wanted, made: Design) -> str:
    """Edit a template.

    Args:
        text: the template.
    Raises:
        NotUnderstoodError: its markers cannot be replaced, or its instructions on tools restated.
    """
    number = [loop.opening.begin for loop in message_loops(text)].index(shape.loop.opening.begin)
    edited = replaced(text, dict(made.renamed))
    if edited.places:
        raise NotUnderstoodError("tools", edited.places[0].why)
    text = edited.text
    if made.restates and made.reads is not None:
        text = _restated(text, made.reads)
    loops = message_loops(text)
    loop = loops.pop(number)
    lines = TurnLines(shape, wanted, made, _prefix(text))
    opening = "\n".join(lines.before())
    places = wrapped(
        loop,
        f"{opening}\n    ",
        f"set {lines.name('turn')}",
        "endset",
        "\n".join(["", *lines.after()]),
    )
    counted = _counted_as_user(text, loops, wanted)
    return splice(text, (*places, *without_generation(loop), *counted))


def _counted_as_user(text: str, loops: list[MessageLoop], wanted: Wanted) -> Iterator[Edit]:
    """Let input roles pass where a template insists that user and assistant take turns.

    Mistral's templates do, in a loop of its own: what is compared with "user" there may be one of
    the new roles, too.
    """
    roles = ", ".join(map(quoted, ("user", *wanted.inputs)))
    for loop in loops if wanted.inputs else ():
        begin, end = loop.opening.end, loop.closing.begin
        if "raise_exception" not in text[begin:end]:
            continue
        words = [s for s in spans(text) if s.kind != "whitespace" and begin <= s.begin < end]
        for one, other in itertools.pairwise(words):
            is_user = other.kind == "string" and meaning(text, other) == "user"
            if is_user and text[one.begin : one.end] == "==":
                yield one.begin, other.end, f"in [{roles}]"


def _prefix(text: str) -> str:
    """What the edit's own names begin with; a template may have been edited before."""
    for number in itertools.count(1):
        prefix = "graft_" if number == 1 else f"graft{number}_"
        if prefix not in text:
            return prefix
    raise AssertionError


def _restated(text: str, pair: Around) -> str:
    """Put instructions such as `{"name": …, "parameters": …}` into the words of the new calls."""
    edits: list[Edit] = []
    for span in spans(text):
        if span.kind not in LITERAL:
            continue
        line = "\\n" if span.kind == "string" else "\n"
        edits += [
            (*match.span(), stated_call(match, line, pair))
            for match in _STATED.finditer(text, span.begin, span.end)
        ]
    if not edits:
        why = (
            "its calls have a form of their own, and what it tells of tools holds no call that could be "
            "restated"
        )
        raise NotUnderstoodError("tools", why)
    return splice(text, edits)
