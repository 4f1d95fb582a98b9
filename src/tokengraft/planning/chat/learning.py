"""Learn how a chat template writes turns, by showing it conversations.

Templates are programs; what they write is what a model was trained on. So the turns are taken from
what a template writes, not from how it is programmed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from tokengraft.formats.template_text import MARKER
from tokengraft.planning.chat.probing import (
    ARGUMENT,
    CALL_ID,
    CALLED,
    CALLING,
    RESULT,
    SAID,
    SWITCHES,
    TALK,
    USER,
    WHY,
    NotUnderstoodError,
    Seen,
    probe,
)
from tokengraft.planning.chat.shapes import Around, Calls, Render, Shape
from tokengraft.planning.chat.thinking import Prompt, learn_thinking


def learn(text: str, render: Render, named: Mapping[str, str]) -> Shape:
    """Say how a template writes its turns.

    Args:
        text: the template.
        named: bos, eos … by name, as the template sees them.
    Raises:
        NotUnderstoodError: with the reason; the template must then be edited by hand.
    """
    probed = probe(text, render, named)
    talk, prompted, last = (probed.found[name] for name in ("talk", "prompt", "last"))
    if talk is None or prompted is None or last is None:
        raise NotUnderstoodError("", "it fails where a conversation ends with the assistant")
    if len(last.bodies) != TALK - 1:
        raise NotUnderstoodError(
            "", "it writes the last turn of the assistant outside its message loop"
        )
    early, late = _around(talk.bodies[3], SAID), _around(last.bodies[3], SAID)
    _check_turns(talk, early, late)
    prompts = _prompts(talk, prompted, probed.found)
    head, thinking = learn_thinking(probed.found, early.open, late.open, prompts)
    if thinking is None and prompts[0][1] != head:
        raise NotUnderstoodError("", "its generation prompt is not what its turns begin with")
    end, tail = _ending(early.close)
    user = _around(talk.bodies[2], USER)
    turn, separator = _input_turn(user)
    goes_on = early.open[len(head) :]
    return Shape(
        loop=probed.loop,
        head=head,
        end=end,
        tail=tail,
        prompt=prompts[0][1],
        goes_on="" if thinking is not None and goes_on == thinking.empty else goes_on,
        turn=turn,
        separator=separator,
        user=user,
        thinking=thinking,
        calls=_calls(probed.found, head, end + tail),
        with_tools=probed.with_tools,
    )


def _around(body: str, word: str) -> Around:
    before, found, after = body.partition(word)
    if not found:
        raise NotUnderstoodError("", "it does not write what a message says")
    return Around(before, after)


def _prompts(talk: Seen, prompted: Seen, found: Mapping[str, Seen | None]) -> tuple[Prompt, ...]:
    """The generation prompts by what switches them on, the usual one first."""
    usual = _prompt(talk, prompted)
    others = [(switch, found[f"prompt, {name}"]) for name, switch in SWITCHES.items()]
    switched = [(switch, _prompt(talk, seen)) for switch, seen in others if seen is not None]
    return (({}, usual), *((switch, text) for switch, text in switched if text != usual))


def _prompt(talk: Seen, prompted: Seen) -> str:
    """The generation prompt: what stands behind the messages if one is asked for."""
    if talk.bodies != prompted.bodies:
        raise NotUnderstoodError("", "it writes the generation prompt inside its message loop")
    if talk.after and talk.after == prompted.after:
        raise NotUnderstoodError("", "it writes a generation prompt where none is asked for")
    if talk.after and prompted.after.startswith(talk.after):
        return prompted.after[len(talk.after) :]
    return prompted.after


def _check_turns(talk: Seen, early: Around, late: Around) -> None:
    if early.close != late.close:
        raise NotUnderstoodError(
            "", "it ends the last turn of the assistant in another way than others"
        )
    if talk.bodies[2] != talk.bodies[4] or talk.bodies[1] != talk.bodies[3]:
        raise NotUnderstoodError("", "it writes equal turns in different ways")


def _ending(close: str) -> tuple[str, str]:
    """What the model ends its turn with, and the white space that the template writes behind it."""
    end = close.rstrip()
    if not MARKER.search(end):
        raise NotUnderstoodError("", "no token ends the turns of the assistant")
    return end, close[len(end) :]


def _input_turn(user: Around) -> tuple[Around, str]:
    """The turn of a user with a gap for the role token, and what follows the gap.

    The token stands where the role's name stands. Where that is inside a marker, as in `<|user|>`,
    it stands for the whole marker; where no role is named, as in `[INST]`, behind what opens the turn.
    """
    names = list(re.finditer("user", user.open, re.IGNORECASE))
    if not names:
        return user, "\n"
    begin, end = names[0].start(), names[-1].end()
    for marker in MARKER.finditer(user.open):
        if marker.start() < end and begin < marker.end():
            begin, end = min(begin, marker.start()), max(end, marker.end())
    return Around(user.open[:begin], user.close), user.open[end:] or "\n"


def _calls(found: Mapping[str, Seen | None], head: str, close: str) -> Calls:
    tools = found["tools"]
    declared = tools is not None and CALLED in tools.whole
    calls = [seen for name in CALLING if (seen := found[name]) is not None]
    answers = [body for seen in calls for body in seen.bodies if RESULT in body]
    written = [body for seen in calls for body in seen.bodies if CALLED in body and WHY in body]
    plain = found["call"] or found["call, content null"]
    with_content = found["call and content"]
    return Calls(
        declared=declared,
        shown=bool(written),
        markers=_markers(written[0], head, close) if written and plain else None,
        keeps_content=with_content is not None
        and any(SAID in body and WHY in body for body in with_content.bodies),
        numbered=any(CALL_ID in body for body in written),
        results=_result(answers[0]) if answers else None,
        result_markers=_result_markers(answers[0]) if answers else None,
    )


def _markers(body: str, head: str, close: str) -> Around | None:
    """The markers around a call, if it is an object of name and arguments between two markers."""
    inside = body[len(head) :].removesuffix(close)
    call = json.dumps({"name": CALLED, "arguments": {ARGUMENT: WHY}})
    before, there, after = inside.partition(call)
    one, other = before.strip(), after.strip()
    if there and MARKER.fullmatch(one) and MARKER.fullmatch(other):
        return Around(one, other)
    return None


def _result(answer: str) -> Around:
    """What stands around a result; quotes of JSON belong to the result."""
    around = _around(answer, RESULT)
    if around.open.endswith('"') and around.close.startswith('"'):
        return Around(around.open[:-1], around.close[1:])
    return around


def _result_markers(answer: str) -> Around | None:
    """A pair such as <tool_response> and </tool_response> right around a result."""
    before, there, after = answer.partition(RESULT)
    opening = list(MARKER.finditer(before))
    closing = MARKER.match(after.lstrip())
    if not there or not opening or closing is None or before[opening[-1].end() :].strip():
        return None
    one, other = opening[-1].group(), closing.group()
    return (
        Around(one, other) if re.sub(r"[/｜|]", "", other) == re.sub(r"[/｜|]", "", one) else None
    )
