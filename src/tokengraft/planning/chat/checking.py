"""Show the edited template conversations, old ones and new ones, before anybody relies on it.

What an edit must keep and what it must add is compared with what the templates really write. A
template on which it does not hold is refused with the difference, and stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tokengraft.checkpoint import JsonValue
from tokengraft.planning.chat.probing import (
    ARGUMENT,
    CALLED,
    LAST,
    REASONING_KEYS,
    SAID,
    TOOL,
    USER,
    WHY,
    NotUnderstoodError,
    assistant,
    call,
    call_in_text,
    result,
    user,
)
from tokengraft.planning.chat.shapes import (
    SPANS,
    Asked,
    Design,
    JsonObject,
    Render,
    Said,
    Shape,
    Wanted,
)

MODES: tuple[JsonObject, ...] = ({}, {"enable_thinking": False})


@dataclass(frozen=True, slots=True)
class Edit:
    """A template before and after, and what was known and wanted of it."""

    old: str
    new: str
    shape: Shape
    wanted: Wanted
    made: Design


def check(edit: Edit, render: Render, named: Mapping[str, str]) -> tuple[str, ...]:
    """Compare a template with its edit.

    Returns:
        What holds only with care, in sentences.
    Raises:
        NotUnderstoodError: the edit would break something; the reason names it.
    """
    tools = (TOOL,) if edit.shape.with_tools else None
    _check_old(edit, render, named, tools)
    _check_inputs(edit, render, named, tools)
    _check_speech(edit, render, named, tools)
    if edit.wanted.tools is not None:
        _check_tools(edit, render, named)
    return tuple(_cares(edit, render, named))


# ── what stays ───────────────────────────────────────────────────────────────────────────────────


def old_conversations(edit: Edit) -> Iterator[tuple[tuple[JsonObject, ...], bool]]:
    """Conversations without anything new, and whether they come with tools."""
    system: JsonObject = {"role": "system", "content": "kvsystem\nkvrules"}
    said = [assistant(), assistant(" kvwords\n\nin two parts "), assistant("")]
    reasons = [{key: f"{WHY}\n{LAST}"} for key in REASONING_KEYS if key != edit.wanted.reasoning]
    said += [assistant(SAID, **reason) for reason in reasons if edit.made.block is None]
    said.append(assistant(f"<think>\n{WHY}\n</think>\n\n{SAID}"))
    for answer in said:
        short = (user(), answer)
        for talk in (short, (*short, user("kvmore"), assistant(LAST))):
            yield talk, False
            yield (system, *talk), False
            yield (*talk, user(LAST)), False
    yield (user(),), False
    yield (system, user()), False
    if edit.made.calls is None:
        for made in (call(), call_in_text()):
            for content in (SAID, "", None):
                calls: JsonObject = {
                    "role": "assistant",
                    "content": content,
                    "tool_calls": [made] * 2,
                }
                work = (user(), calls, result(), result("kvother"), assistant(LAST), user())
                yield from ((work[:length], True) for length in range(1, len(work) + 1))
                yield work, False


def _check_old(
    edit: Edit, render: Render, named: Mapping[str, str], tools: Sequence[JsonObject] | None
) -> None:
    """What has nothing new is written as before, up to the markers that were replaced."""
    asked = [
        Asked(edit.old, talk, (TOOL,) if with_tools else tools, prompt, extra)
        for talk, with_tools in old_conversations(edit)
        for prompt in (False, True)
        for extra in MODES
    ]
    before = render(asked, named)
    after = render([replace(one, template=edit.new) for one in asked], named)
    for one, old, new in zip(asked, before, after, strict=True):
        if old.text is not None and new.text != renamed(old.text, edit.made):
            roles = ", ".join(str(message["role"]) for message in one.messages)
            raise NotUnderstoodError(
                "", f"a plain conversation ({roles}) would be written otherwise"
            )


def renamed(text: str, made: Design) -> str:
    """A text of the old template with the markers of the new one."""
    for old, new in made.renamed:
        text = text.replace(old, new)
    return text


# ── input roles ──────────────────────────────────────────────────────────────────────────────────


def _check_inputs(
    edit: Edit, render: Render, named: Mapping[str, str], tools: Sequence[JsonObject] | None
) -> None:
    shape = edit.shape
    for role, token in edit.wanted.inputs.items():
        message: JsonObject = {"role": role, "content": "kvtask\nkvdone "}
        turn = f"{shape.turn.open}{token}{shape.separator}kvtask\nkvdone {shape.turn.close}"
        talks = ((user(), assistant(), message), (message, assistant(), user()), (message,))
        for said in render([Asked(edit.new, talk, tools, prompt=True) for talk in talks], named):
            if said.text is None:
                raise NotUnderstoodError(
                    "roles", f"it fails with a turn of {role!r}: {said.failure}"
                )
            if said.text.count(turn) != 1:
                raise NotUnderstoodError(
                    "roles", f"a turn of {role!r} would not stand as it should"
                )
            if not said.text.endswith(shape.prompt):
                why = f"no generation prompt would follow a turn of {role!r}"
                raise NotUnderstoodError("roles", why)


def _cares(edit: Edit, render: Render, named: Mapping[str, str]) -> Iterator[str]:
    """Llama 3 writes tools into the first message, whatever its role is."""
    for role, token in edit.wanted.inputs.items():
        message: JsonObject = {"role": role, "content": SAID}
        with_user = Asked(edit.new, (user(), assistant(), message), (TOOL,))
        alone = replace(with_user, messages=(message, assistant(), user()))
        one, other = render((with_user, alone), named)
        if one.text is not None and token in one.text and token not in (other.text or ""):
            yield (
                f"where there are tools, the chat template takes the first message for a user's: a "
                f"turn of {role!r} must not come first there"
            )


# ── what the model says ──────────────────────────────────────────────────────────────────────────


def speeches(edit: Edit) -> Iterator[tuple[JsonObject, JsonObject, str]]:
    """Messages of the assistant with something new, and what the model writes after which prompt."""
    wanted, shape = edit.wanted, edit.shape
    roles = {"assistant": "", **{role: f"{token}\n" for role, token in wanted.outputs.items()}}
    spans = [(module, f"kvthought\n{number}\n") for number, module in enumerate(wanted.modules)]
    thoughts: list[JsonValue] = [{"module": module, "content": text} for module, text in spans]
    block, thinking = edit.made.block, shape.thinking
    for role, opening in roles.items():
        plain: JsonObject = {"role": role, "content": SAID}
        if opening:
            yield plain, {}, f"{opening}{shape.goes_on}{SAID}{shape.end}"
        if block is not None:
            mode = {} if thinking is None or thinking.mode is None else thinking.mode
            begin = "" if thinking is not None and thinking.prompted else block.open
            inside = "".join(module + text for module, text in spans)
            said = f"{opening}{begin}{inside}{block.close}{shape.goes_on}{SAID}{shape.end}"
            yield {**plain, SPANS: thoughts}, mode, said


def _check_speech(
    edit: Edit, render: Render, named: Mapping[str, str], tools: Sequence[JsonObject] | None
) -> None:
    said = list(speeches(edit))
    asked: list[Asked] = []
    for message, mode, _ in said:
        asked.append(Asked(edit.new, (user(),), tools, prompt=True, extra=mode))
        asked.append(Asked(edit.new, (user(), message), tools))
        asked.append(Asked(edit.new, (user(), message, user(USER), assistant(LAST)), tools))
    answers = iter(render([*asked, Asked(edit.new, (user(), assistant()), tools)], named))
    for message, _, text in said:
        prompt = next(answers)
        for _ in range(2):
            _check_turn(message, next(answers), prompt, text)
    last = next(answers)
    if last.text is None or not any(SAID in last.text[a:b] for a, b in last.generated):
        raise NotUnderstoodError("", "what the assistant says could not be marked as such")


def _check_turn(message: JsonObject, answer: Said, prompted: Said, text: str) -> None:
    section = "thinking" if SPANS in message else "roles"
    role = message["role"]
    prompt = prompted.text
    if answer.text is None or prompt is None:
        failure = answer.failure or prompted.failure
        raise NotUnderstoodError(section, f"it fails with a turn of {role!r}: {failure}")
    if not answer.text.startswith(prompt + text):
        raise NotUnderstoodError(
            section, f"a turn of {role!r} would not continue the generation prompt"
        )
    if (len(prompt), len(prompt) + len(text)) != answer.generated[0]:
        raise NotUnderstoodError(
            section, f"what a turn of {role!r} says could not be marked as such"
        )


# ── tools ────────────────────────────────────────────────────────────────────────────────────────


def _check_tools(edit: Edit, render: Render, named: Mapping[str, str]) -> None:
    tools = edit.wanted.tools
    assert tools is not None
    message: JsonObject = {"role": "assistant", "content": SAID, "tool_calls": [call(), call()]}
    talk = (user(), message, result(), assistant(LAST))
    plain = (user(),)
    asked = [Asked(edit.new, talk[:length], (TOOL,)) for length in (2, 3, 4)]
    told, *said = render([Asked(edit.new, plain, (TOOL,), prompt=True), *asked], named)
    if told.text is None or CALLED not in told.text:
        raise NotUnderstoodError("tools", f"it does not tell the model of tools: {told.failure}")
    if tools.open not in told.text or tools.close not in told.text:
        raise NotUnderstoodError("tools", "its instructions would not name the new markers")
    made = json.dumps({"name": CALLED, "arguments": {ARGUMENT: WHY}})
    one = f"{tools.open}\n{made}\n{tools.close}"
    for answer in said:
        if answer.text is None:
            raise NotUnderstoodError("tools", f"it fails with calls: {answer.failure}")
        spans = "".join(answer.text[begin:end] for begin, end in answer.generated)
        if f"{SAID}\n{one}\n{one}{edit.shape.end}" not in spans:
            raise NotUnderstoodError("tools", "calls would not be written as they are read back")
    _check_result(edit, said[1].text or "", said[0].text or "")


def _check_result(edit: Edit, with_result: str, without: str) -> None:
    tools = edit.wanted.tools
    assert tools is not None
    added = with_result.removeprefix(without)
    if "kvresult" not in added:
        raise NotUnderstoodError("tools", "it would lose the results of calls")
    markers = (tools.result_open, tools.result_close)
    if any(marker is not None and marker not in added for marker in markers):
        raise NotUnderstoodError("tools", "results would not stand between the new markers")
