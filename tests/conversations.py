"""Conversations to render templates with: every shape that published templates know, by a seed."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tokengraft.sandbox.templates import TemplateChild, TemplateFailed

Message = dict[str, Any]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "Say the weather.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "Where."}},
                "required": ["city"],
            },
        },
    }
]
WORDS = ("hello", "мир", "2 < 3 |> x", "<b>", "a\nb", "ends", "im_end", "  ", "{'x': 1}")


def conversations(
    count: int = 20,
    *,
    tools: bool | None = None,
    plain: bool = False,
    as_text: bool | None = None,
    **extra: Any,
) -> list[dict[str, Any]]:
    """Arguments of `TemplateChild.render`: messages, tools, generation prompt, options.

    Args:
        tools: whether there are tools; by default in one conversation of four.
        plain: no system turns and no tools, which some templates refuse.
        as_text: whether arguments of calls are JSON texts; by default every other time.
        extra: variables that a template wants.
    """
    dice = Random(7)
    made = []
    for number in range(count):
        with_tools = number % 4 == 1 if tools is None else tools
        calls = (number % 8 == 1 if as_text is None else as_text) if with_tools else None
        made.append(_conversation(dice, number, calls=None if plain else calls, plain=plain))
        made[-1]["extra"] |= extra
    return made


def _conversation(dice: Random, number: int, *, calls: bool | None, plain: bool) -> dict[str, Any]:
    messages: list[Message] = []
    if number % 3 == 0 and not plain:
        messages.append({"role": "system", "content": _text(dice)})
    for turn in range(1 + number % 3):
        messages.append({"role": "user", "content": _text(dice)})
        if calls is not None and turn == 0:
            messages += _tool_turns(dice, as_text=calls)
        messages.append(_answer(dice, number))
    prompted = dice.random() < 0.5
    if prompted:
        messages.pop()  # the model is to speak next
    return {
        "messages": messages,
        "tools": None if calls is None else TOOLS,
        "add_generation_prompt": prompted,
        "extra": {"enable_thinking": dice.random() < 0.5} if number % 2 else {},
    }


def _answer(dice: Random, number: int) -> Message:
    message: Message = {"role": "assistant", "content": _text(dice)}
    if number % 5 == 2:
        message["reasoning_content"] = message["thinking"] = _text(dice)
    if number % 5 == 3:
        message["content"] = f"<think>\n{_text(dice)}\n</think>\n\n{message['content']}"
    return message


def _tool_turns(dice: Random, *, as_text: bool) -> list[Message]:
    arguments: Any = {"city": dice.choice(["Oslo", "Пермь"])}
    call = {
        "id": "call12345",
        "type": "function",
        "function": {
            "name": "weather",
            "arguments": json.dumps(arguments) if as_text else arguments,
        },
    }
    return [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": '{"t": 3}', "tool_call_id": "call12345", "name": "weather"},
    ]


def _text(dice: Random) -> str:
    return " ".join(dice.choice(WORDS) for _ in range(dice.randint(1, 5)))


def rendered(
    child: TemplateChild, template: str, names: dict[str, str], conversation: dict[str, Any]
) -> tuple[str, str]:
    """What comes out: the text, or what the template has against the conversation."""
    try:
        return child.render(template, named_tokens=names, **conversation).text, ""
    except TemplateFailed as error:
        return "", error.detail
