"""The `response_template` that reads a model's words back into a message.

It is the format of transformers 5 (`utils/chat_parsing`, read in 5.23), kept in
tokenizer_config.json. `tokenizer.parse_response`, the pipelines and `transformers serve` use it, and so
does vLLM (`--tool-call-parser response_template`), which knows the fields `thinking`, `content` and
`tool_calls` alone and refuses any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tokengraft.checkpoint import JsonValue
from tokengraft.planning.chat.shapes import SPANS, Around, Design, Shape, Wanted

SERVED = frozenset({"thinking", "content", "tool_calls"})  # vllm/parser/response_template.py


def response_template(
    shape: Shape, wanted: Wanted, made: Design, ends: Iterable[str]
) -> dict[str, JsonValue]:
    """Say how to read what a model writes in this shape.

    Every line end that the template itself writes beside a marker belongs to the marker, so that
    contents come back to the character; one that a model leaves out is not missed.

    Args:
        ends: tokens that end generation, the turn end among them.
    """
    end = _any(dict.fromkeys(ends))
    fields: dict[str, JsonValue] = dict(_fields(shape, wanted, made, end))
    fields["content"] = {
        "close_pattern": rf"{end}\s*",
        "content": "text",
        "content_args": {"strip": False},
    }
    defaults: dict[str, JsonValue] = {"role": "assistant"}
    if not set(fields) <= SERVED:
        defaults["content"] = ""  # vLLM would refuse it; others give back a message as it was
    return {"defaults": defaults, **_anchor(shape), "fields": fields}


def _anchor(shape: Shape) -> dict[str, JsonValue]:
    if shape.head:
        # A prompt that closes the thinking block leaves nothing of it to be read.
        opened = shape.prompt[len(shape.head) :]
        anchors: list[JsonValue] = [shape.prompt, shape.head]
        return {"start_anchor": anchors if "</" in opened else shape.head}
    results = shape.calls.results
    closes = [shape.user.close, "" if results is None else results.close]
    anchors = [close.strip() for close in closes if close.strip()]
    return {"start_anchor": anchors}


def _fields(
    shape: Shape, wanted: Wanted, made: Design, end: str
) -> Iterator[tuple[str, JsonValue]]:
    if wanted.outputs:
        yield "role", _role(wanted)
    block = made.block
    if block is None and shape.thinking is not None:
        block = shape.thinking.block
    if block is not None:
        closed = rf"{_line_ends(block.close)}|(?={end})"
        module = _any(wanted.modules) if wanted.spans else ""
        yield (
            wanted.reasoning,
            {
                "open_pattern": _line_ends(block.open),
                "close_pattern": rf"(?={module})|{closed}" if module else closed,
                "content": "text",
                "content_args": {"strip": False},
            },
        )
        if module:
            yield (
                SPANS,
                {
                    "open_pattern": f"(?P<module>{module})",
                    "close_pattern": rf"(?={module})|{closed}",
                    "content": "text",
                    "content_args": {"strip": False},
                    "repeats": True,
                    "transform": {"module": "{module}", "content": "{content}"},
                },
            )
    if made.reads is not None:
        yield "tool_calls", _calls(made.reads)


def _calls(pair: Around) -> JsonValue:
    return {
        "open_pattern": rf"\n?{_escaped(pair.open)}",
        # White space behind a call would open an empty content over the one that stands before it.
        "close_pattern": rf"{_escaped(pair.close)}\s*",
        "repeats": True,
        "content": "json",
        "transform": {"type": "function", "function": "{content}"},
    }


def _role(wanted: Wanted) -> JsonValue:
    """A field that holds the role whose token was written; nothing but the token is in it."""
    tokens = list(wanted.outputs.items())
    if len(tokens) == 1:
        ((role, token),) = tokens
        return {"open_pattern": rf"{_escaped(token)}\n?", "close_pattern": "", "transform": role}
    named = "|".join(captured(role, token) for role, token in tokens)
    return {"open_pattern": rf"(?:{named})\n?", "close_pattern": "", "transform": "{role}"}


def captured(role: str, token: str) -> str:
    """A pattern of a token that captures its role's name in it: a response is read by its text."""
    before, _, after = token.partition(role)
    return f"{_escaped(before)}(?P<role>{_escaped(role)}){_escaped(after)}"


def _line_ends(text: str) -> str:
    """A pattern of a marker, with the line ends around it or without them."""
    core = text.strip()
    before, after = text[: text.index(core)], text[text.index(core) + len(core) :]
    return f"{_optional(before)}{_escaped(core)}{_optional(after)}"


def _optional(space: str) -> str:
    if not space.strip("\n"):
        return {0: "", 1: r"\n?"}.get(len(space), rf"\n{{0,{len(space)}}}")
    return f"(?:{_escaped(space)})?"


def _any(texts: Iterable[str]) -> str:
    """A pattern of one of several texts, the longer ones first."""
    ordered = sorted(texts, key=lambda text: (-len(text), text))
    return f"(?:{'|'.join(map(_escaped, ordered))})"


def _escaped(text: str) -> str:
    return re.escape(text).replace("\\\n", r"\n").replace("\\ ", " ")
