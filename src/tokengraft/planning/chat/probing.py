"""Conversations that a template is shown, and what its message loop writes for each message."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tokengraft.checkpoint import JsonValue
from tokengraft.formats.template_spans import splice
from tokengraft.formats.template_tags import MessageLoop, leaves_early, message_loops, wrapped
from tokengraft.planning.chat.shapes import Asked, JsonObject, Render, Said

# Words that stand for what people and the model say: no template has them, none changes them.
USER, SAID, LAST, WHY, RESULT = "kvuser", "kvsaid", "kvlast", "kvwhy", "kvresult"
CALLED, ARGUMENT = "kvcalled", "kvargument"
TALK = 5  # messages of a plain conversation
CALL_ID = "kvcall123"  # nine characters: Mistral's templates insist
REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
# Variables that switch thinking on, where a template's usual prompt leaves it out.
SWITCHES: Mapping[str, JsonObject] = {
    name: {name: True} for name in ("enable_thinking", "thinking", "open_thinking")
}
_BEGIN, _END = "\x02", "\x03"
_BODY = re.compile(f"{_BEGIN}(.*?){_END}", re.DOTALL)

TOOL: JsonObject = {
    "type": "function",
    "function": {
        "name": CALLED,
        "description": "Look something up.",
        "parameters": {
            "type": "object",
            "properties": {ARGUMENT: {"type": "string", "description": "What to look up."}},
            "required": [ARGUMENT],
        },
        "return": {"type": "string", "description": "What was found."},
    },
}


class NotUnderstoodError(Exception):
    """A template does something that an edit could not keep.

    Caught where sections of the recipe are planned; it becomes a problem of the recipe.

    Attributes:
        section: of the recipe that cannot be carried out; empty where none of them can.
        why, instead: the reason, and what can be done in its place.
    """

    def __init__(self, section: str, why: str, instead: str = "") -> None:
        super().__init__(why)
        self.section = section
        self.why = why
        self.instead = instead


@dataclass(frozen=True, slots=True)
class Seen:
    """What the message loop wrote.

    Attributes:
        bodies: one text a message of the loop.
        after: the text behind the last one.
        whole: everything.
    """

    bodies: tuple[str, ...]
    after: str
    whole: str


def user(text: str = USER) -> JsonObject:
    """A message of a user."""
    return {"role": "user", "content": text}


def assistant(text: str = SAID, **more: JsonValue) -> JsonObject:
    """A message of the assistant."""
    return {"role": "assistant", "content": text, **more}


def call() -> JsonValue:
    """A call of `TOOL`."""
    function: JsonValue = {"name": CALLED, "arguments": {ARGUMENT: WHY}}
    return {"id": CALL_ID, "type": "function", "function": function}


def call_in_text() -> JsonValue:
    """A call whose arguments are JSON in a string, as the OpenAI API has them."""
    function: JsonValue = {"name": CALLED, "arguments": json.dumps({ARGUMENT: WHY})}
    return {"id": CALL_ID, "type": "function", "function": function}


def result(text: str = RESULT) -> JsonObject:
    """What `TOOL` gave back."""
    return {"role": "tool", "content": text, "name": CALLED, "tool_call_id": CALL_ID}


def conversations(template: str, *, with_tools: bool) -> Mapping[str, Asked]:
    """What a template is shown, by name.

    Args:
        with_tools: whether plain conversations come with tools too; some templates insist.
    """
    tools = (TOOL,)
    plain = tools if with_tools else None
    talk = (user(), assistant(), user(), assistant(), user())

    def calling(content: JsonValue, made: JsonValue) -> Asked:
        said: JsonObject = {"role": "assistant", "content": content, "tool_calls": [made]}
        return Asked(template, (user(), said, result(), assistant(LAST), user()), tools)

    asked = {
        "talk": Asked(template, talk, plain),
        "prompt": Asked(template, talk, plain, prompt=True),
        "last": Asked(template, talk[:-1], plain),
        "tools": Asked(template, (user(),), tools, prompt=True),
        "call": calling("", call()),
        "call, content null": calling(None, call()),
        "call, arguments in text": calling("", call_in_text()),
        "call, arguments in text, content null": calling(None, call_in_text()),
        "call and content": calling(SAID, call()),
    }
    for name, switch in SWITCHES.items():
        asked[f"prompt, {name}"] = Asked(template, talk, plain, prompt=True, extra=switch)
    for key in REASONING_KEYS:
        asked[key] = Asked(template, (user(), assistant(SAID, **{key: WHY})), plain)
    return asked


CALLING = tuple(
    name
    for name in conversations("", with_tools=True)
    if name.startswith("call, ") or name == "call"
)


def followed(text: str, loop: MessageLoop) -> str:
    """A template that also marks where its loop begins and ends a message."""
    places = wrapped(
        loop,
        f"{{%- if true %}}{{{{ '{_BEGIN}' }}}}",
        "endif",
        "if true",
        f"{{{{ '{_END}' }}}}{{% endif %}}",
    )
    return splice(text, places)


def seen(said: Said) -> Seen | None:
    """Read what a followed template wrote, None if it failed."""
    if said.text is None:
        return None
    behind = said.text.rpartition(_END)[2]
    whole = said.text.replace(_BEGIN, "").replace(_END, "")
    return Seen(tuple(_BODY.findall(said.text)), behind, whole)


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of showing a template its conversations.

    Attributes:
        loop: the loop that writes the messages.
        found: what it wrote, by the conversation's name; None where the template failed.
        with_tools: whether the template renders nothing without tools.
    """

    loop: MessageLoop
    found: Mapping[str, Seen | None]
    with_tools: bool


def probe(text: str, render: Render, named: Mapping[str, str]) -> Probed:
    """Find the loop that writes the messages, and what it writes for each conversation.

    Raises:
        NotUnderstoodError: there is no such loop, or the template fails with plain messages.
    """
    failure = ""
    for with_tools in (False, True):
        probed, failed = _probe(text, render, named, with_tools)
        if probed is not None:
            return probed
        failure = failure or failed
    if any(map(leaves_early, message_loops(text))):
        raise NotUnderstoodError("", "its message loop uses break or continue")
    if failure:
        raise NotUnderstoodError("", f"it cannot be rendered with plain messages: {failure}")
    raise NotUnderstoodError("", "it has no loop that writes each message")


def _probe(
    text: str,
    render: Render,
    named: Mapping[str, str],
    with_tools: bool,  # noqa: FBT001
) -> tuple[Probed | None, str]:
    loops = [loop for loop in message_loops(text) if not leaves_early(loop)]
    batches = [conversations(followed(text, loop), with_tools=with_tools) for loop in loops]
    answers = iter(render([asked for batch in batches for asked in batch.values()], named))
    failure = ""
    for loop, batch in zip(loops, batches, strict=True):
        said = {name: next(answers) for name in batch}
        found = {name: seen(answer) for name, answer in said.items()}
        talk = found["talk"]
        if talk is None:
            failure = failure or said["talk"].failure
        elif len(talk.bodies) == TALK and USER in talk.bodies[0] and SAID in talk.bodies[1]:
            return Probed(loop, found, with_tools), ""
    return None, failure
