"""Decide what changes in a template, or say why nothing can."""

from __future__ import annotations

from dataclasses import replace

from tokengraft.planning.chat.probing import NotUnderstoodError
from tokengraft.planning.chat.shapes import Around, Calls, Design, Shape, Wanted
from tokengraft.planning.chat.thinking import CLOSE_THINKING, OPEN_THINKING, THINKING
from tokengraft.recipes import Tools

GIVE_RESULTS = "name result_open and result_close in [tools]"


def design(shape: Shape, wanted: Wanted) -> Design:
    """Say what has to change in a template of this shape.

    Raises:
        NotUnderstoodError: the template writes turns that cannot hold what is wanted.
    """
    if wanted.outputs or wanted.modules:
        _check_speech(shape, wanted)
    made = Design(reads=shape.calls.markers)
    if wanted.modules:
        made = replace(made, block=THINKING if shape.thinking is None else shape.thinking.block)
    return (
        made
        if wanted.tools is None
        else _results(_tools(made, shape.calls, wanted.tools), shape, wanted.tools)
    )


def _check_speech(shape: Shape, wanted: Wanted) -> None:
    """Whether the model's own words can begin with something new."""
    section = "roles" if wanted.outputs else "thinking"
    if shape.goes_on.strip():
        why = f"the model goes on with {shape.goes_on!r} before it says anything"
        raise NotUnderstoodError(section, why)
    opened = shape.prompt[len(shape.head) :]
    if wanted.outputs and opened and (wanted.modules or "</" not in opened):
        raise NotUnderstoodError(
            "roles",
            "its generation prompt opens the thinking block already, so the model cannot write a "
            "role's token first",
            'side = "input" can be had',
        )
    thinking = shape.thinking
    if wanted.modules and thinking is not None and thinking.mode is None:
        raise NotUnderstoodError("thinking", "its generation prompt closes the thinking block")


def _tools(made: Design, calls: Calls, tools: Tools) -> Design:
    pair = Around(tools.open, tools.close)
    made = replace(made, reads=pair)
    if calls.declared and calls.markers is not None:
        old = calls.markers
        renamed = ((old.open, pair.open), (old.close, pair.close))
        return replace(made, renamed=renamed, calls=None if calls.keeps_content else pair)
    if not calls.declared and not calls.shown:
        return replace(made, calls=pair, declares=True)
    if calls.numbered:
        why = "its calls carry ids that results refer to, and a call here has a name and arguments only"
        raise NotUnderstoodError("tools", why)
    if not calls.shown:
        raise NotUnderstoodError("tools", "it tells the model of tools and renders no calls")
    if not calls.declared:
        raise NotUnderstoodError(
            "tools", "it renders calls in a form of its own, and does not tell of tools"
        )
    return replace(made, calls=pair, restates=True)


def _results(made: Design, shape: Shape, tools: Tools) -> Design:
    calls = shape.calls
    if tools.result_open is None or tools.result_close is None:
        if calls.results is None:
            raise NotUnderstoodError(
                "tools", "it has no turn for the results of calls", GIVE_RESULTS
            )
        return made
    pair = Around(tools.result_open, tools.result_close)
    if calls.result_markers is not None:
        old = calls.result_markers
        renamed = ((old.open, pair.open), (old.close, pair.close))
        return replace(made, renamed=(*made.renamed, *renamed))
    return replace(made, results=pair, results_as_user=calls.results is None)


def own_tokens(shape: Shape, wanted: Wanted) -> tuple[str, ...]:
    """Tokens that an edit writes beside those that the recipe names."""
    if wanted.modules and shape.thinking is None:
        return (OPEN_THINKING, CLOSE_THINKING)
    return ()
