"""Training data in the forms that people have them in, made one.

Messages, prompt and completion, ShareGPT, Alpaca and plain text are told apart by their keys, row
by row, so that a file may hold several. What a row cannot say is a `BadRow`, with its reason.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Form = Literal["messages", "prompt-completion", "sharegpt", "alpaca", "text"]
Message = dict[str, Any]

# ShareGPT's speakers, by the names that files give them, as roles of a chat template.
_SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
}
_CALLERS = ("function_call", "tool_call")


class BadRow(Exception):
    """A row that cannot be trained on; its text says why."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages that a chat template writes.

    Attributes:
        tools: schemas of functions; None without.
        variables: further variables of the template, such as `enable_thinking`.
        n_given: messages at the beginning that are a prompt, and so never in the loss.
    """

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    n_given: int = 0

    def as_row(self) -> dict[str, Any]:
        """The row in the form of messages."""
        row: dict[str, Any] = {"messages": list(self.messages)}
        if self.tools is not None:
            row["tools"] = list(self.tools)
        if self.variables:
            row["chat_template_kwargs"] = dict(self.variables)
        return row


@dataclass(frozen=True, slots=True)
class Continued:
    """A text and what follows it; what follows is in the loss, and ends with a stop token."""

    prompt: str
    completion: str

    def as_row(self) -> dict[str, Any]:
        """The row in the form of prompt and completion, or of plain text."""
        if not self.prompt:
            return {"text": self.completion}
        return {"prompt": self.prompt, "completion": self.completion}


Example = Conversation | Continued


def example_of(row: object) -> tuple[Form, Example]:
    """Tell the form of a row, and make an example of it.

    Raises:
        BadRow: the row has no form that is known, or not what its form demands.
    """
    if not isinstance(row, Mapping):
        raise BadRow("it is no object")
    if "messages" in row:
        return "messages", _conversation(row, row["messages"])
    if "prompt" in row and "completion" in row:
        return "prompt-completion", _continued(row)
    if "conversations" in row or "conversation" in row:
        turns = row.get("conversations", row.get("conversation"))
        if (
            isinstance(turns, Sequence)
            and turns
            and isinstance(turns[0], Mapping)
            and "role" in turns[0]
        ):
            return "messages", _conversation(row, turns)
        return "sharegpt", _sharegpt(row, turns)
    if "instruction" in row and "output" in row:
        return "alpaca", _alpaca(row)
    if "text" in row:
        return "text", _text(row["text"])
    raise BadRow(
        "it has no known form: messages, prompt and completion, conversations, instruction and "
        "output, or text"
    )


def _conversation(row: Mapping[str, Any], messages: object, n_given: int = 0) -> Conversation:
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise BadRow("it has no messages")
    cleaned = []
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise BadRow("a message has no role")
        # Tables hold null for keys that a message never had, and templates ask whether a key is there.
        cleaned.append({key: value for key, value in message.items() if value is not None})
    variables = row.get("chat_template_kwargs") or {}
    if not isinstance(variables, Mapping):
        raise BadRow("chat_template_kwargs is no object")
    return Conversation(tuple(cleaned), _tools(row.get("tools")), variables, n_given)


def _tools(given: object) -> tuple[dict[str, Any], ...] | None:
    """Schemas of functions, also where a table holds them as one text of JSON."""
    if given is None or given == "":
        return None
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise BadRow("its tools are a text that is not JSON") from error
    if not isinstance(given, Sequence) or not all(isinstance(tool, Mapping) for tool in given):
        raise BadRow("its tools are no list of objects")
    if not given:
        return None
    return tuple(
        dict(tool) if "function" in tool else {"type": "function", "function": dict(tool)}
        for tool in given
    )


def _continued(row: Mapping[str, Any]) -> Example:
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(prompt, str) and isinstance(completion, str):
        if not completion:
            raise BadRow("its completion is empty")
        return Continued(prompt, completion)
    if isinstance(prompt, Sequence) and isinstance(completion, Sequence):
        if isinstance(prompt, str) or isinstance(completion, str):
            raise BadRow("prompt and completion are not of one kind: texts, or lists of messages")
        return _conversation(row, [*prompt, *completion], len(prompt))
    raise BadRow("prompt and completion are neither texts nor lists of messages")


def _sharegpt(row: Mapping[str, Any], turns: object) -> Conversation:
    if not isinstance(turns, Sequence) or isinstance(turns, str) or not turns:
        raise BadRow("it has no conversation")
    messages: list[Message] = []
    system = row.get("system")
    if isinstance(system, str) and system:
        messages.append({"role": "system", "content": system})
    for turn in turns:
        if not isinstance(turn, Mapping):
            raise BadRow("a turn is no object")
        speaker, value = turn.get("from"), turn.get("value")
        if not isinstance(speaker, str) or not isinstance(value, str):
            raise BadRow("a turn does not say `from` and `value`")
        if speaker in _CALLERS:
            messages.append({"role": "assistant", "content": "", "tool_calls": _calls(value)})
        else:  # any other name is a role of its own, which the template knows or refuses
            messages.append({"role": _SPEAKERS.get(speaker, speaker), "content": value})
    return _conversation(row, messages)


def _calls(value: str) -> list[Message]:
    try:
        told = json.loads(value)
    except ValueError as error:
        raise BadRow("a function call is not JSON") from error
    calls = told if isinstance(told, list) else [told]
    made: list[Message] = []
    for call in calls:
        if not isinstance(call, Mapping) or not isinstance(call.get("name"), str):
            raise BadRow("a function call has no name")
        arguments = call.get("arguments", call.get("parameters", {}))
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except ValueError as error:
                raise BadRow("the arguments of a function call are not JSON") from error
        function = {"name": call["name"], "arguments": arguments}
        made.append({"type": "function", "function": function})
    return made


def _alpaca(row: Mapping[str, Any]) -> Conversation:
    instruction, output = row["instruction"], row["output"]
    if not isinstance(instruction, str) or not isinstance(output, str):
        raise BadRow("instruction or output is no text")
    if not output:
        raise BadRow("its output is empty")
    messages: list[Message] = []
    system = row.get("system")
    if isinstance(system, str) and system:
        messages.append({"role": "system", "content": system})
    history = row.get("history") or ()
    for pair in history if isinstance(history, Sequence) else ():
        if not isinstance(pair, Sequence) or len(pair) != 2:  # noqa: PLR2004 - asked and answered
            raise BadRow("its history is no list of pairs")
        messages.append({"role": "user", "content": pair[0]})
        messages.append({"role": "assistant", "content": pair[1]})
    more = row.get("input")
    asked = f"{instruction}\n\n{more}" if isinstance(more, str) and more else instruction
    messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": output}]
    return _conversation(row, messages)


def _text(text: object) -> Continued:
    if not isinstance(text, str) or not text.strip():
        raise BadRow("its text is empty")
    return Continued("", text)
