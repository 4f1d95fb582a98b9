"""What a model says comes back as the message that it was written from, on conversations at random."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat_templates import TEMPLATES
from chats import (
    CASES,
    REAL,
    USER,
    WITH_RESULTS,
    Message,
    Taught,
    example,
    renderer,
    speeches,
    taught,
    texts,
)
from tokengraft.planning.chat import Render
from tokengraft.planning.chat.responding import SERVED

parsing = pytest.importorskip("transformers.utils.chat_parsing", reason="needs transformers 5")
pytestmark = pytest.mark.oracle5

# These strip contents; Qwen 3 takes leading line ends off the last turn.
STRIPPING = (
    *("headers", "turns", "meta-llama-Llama-3.1-8B-Instruct", "google-gemma-2-2b-it"),
    "Qwen-Qwen3-0.6B",
)
WITH_EOS = ("pipes", "microsoft-Phi-3.5-mini-instruct")  # eos where no prompt is asked for


@pytest.fixture(scope="module")
def render() -> Iterator[Render]:
    with renderer() as render:
        yield render


@pytest.fixture(scope="module", params=[*CASES, *REAL])
def case(request: pytest.FixtureRequest, render: Render) -> tuple[str, Taught]:
    text, wanted = example(request.param, lambda: request.getfixturevalue("data"))
    name = CASES[request.param][0] if request.param in CASES else request.param
    return name, taught(text, wanted, render)


def mode(case: Taught, message: Message) -> dict[str, Any]:
    """What the prompt needs so that the message can follow it."""
    if "thoughts" in message and case.shape.thinking is not None:
        return dict(case.shape.thinking.mode or {})
    return {}


def can_follow(case: Taught, message: Message) -> bool:
    """Whether a turn continues a generation prompt: plain ones do where they did before."""
    if case.shape.prompt == case.shape.head or "thoughts" in message:
        return True
    return "</" in case.shape.prompt[len(case.shape.head) :]


def is_steady(case: Taught, message: Message) -> bool:
    """Whether a turn is written alike wherever it stands, as Qwen 3's plain turns are not."""
    is_new = message["role"] != "assistant" or "thoughts" in message
    thinking = case.shape.thinking
    if thinking is not None and case.wanted.reasoning in message and not is_new:
        return False
    return can_follow(case, message) and (is_new or thinking is None or not thinking.empty)


def as_read(case: Taught, message: Message) -> Message:
    """A message as a reading gives it: transformers leaves empty values out that have no default."""
    return {
        key: value for key, value in message.items() if value or key in case.reading["defaults"]
    }


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_what_is_said_is_read_back(case: tuple[str, Taught], data: st.DataObject) -> None:
    template, model = case
    message = data.draw(speeches(model, stripped=template in STRIPPING))
    before = (
        [USER, {"role": "assistant", "content": "Hello"}, USER]
        if data.draw(st.booleans())
        else [USER]
    )
    prompt = model.text(before, prompt=True, extra=mode(model, message))
    said = model.said([*before, message])
    assert said.text is not None
    if not can_follow(model, message):
        assert said.text.startswith(model.text(before) or prompt)
        return
    assert said.text.startswith(prompt)
    response = said.text[len(prompt) :]
    assert as_read(model, message) == parsing.parse_response(response, model.reading, prefix=prompt)

    # What the model wrote is marked, all of it and nothing else.
    tail = model.shape.tail + ("</s>" if template in WITH_EOS else "")
    assert (len(prompt), len(said.text) - len(tail)) == said.generated[-1]
    assert len(said.generated) == sum(1 for m in [*before, message] if m["role"] != "user")


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_a_stream_is_read_like_the_whole(case: tuple[str, Taught], data: st.DataObject) -> None:
    template, model = case
    message = data.draw(speeches(model, stripped=template in STRIPPING))
    if not can_follow(model, message):
        return
    prompt = model.text([USER], prompt=True, extra=mode(model, message))
    response = model.text([USER, message])[len(prompt) :]
    stream = parsing.ResponseParser(model.reading, prefix=prompt)
    at = 0
    while at < len(response):
        step = data.draw(st.integers(1, 9))
        stream.feed(response[at : at + step])
        at += step
    assert as_read(model, message) == stream.finalize()[0]


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_each_beginning_of_a_conversation_is_a_beginning_of_its_text(
    case: tuple[str, Taught], data: st.DataObject
) -> None:
    template, model = case
    stripped = template in STRIPPING
    # A model's turn that the old template wrote alike wherever it stood.
    steady = speeches(model, stripped=stripped).filter(lambda message: is_steady(model, message))
    turns = [USER, *(data.draw(steady) if n % 2 == 0 else USER for n in range(4))]
    for role in model.wanted.inputs:
        if data.draw(st.booleans()):
            turns[2] = {"role": role, "content": data.draw(texts(stripped=stripped))}
    whole = model.text(turns)
    for length in range(1, len(turns)):
        prompted = turns[length]["role"] in ("assistant", *model.wanted.outputs)
        extra = mode(model, turns[length]) if prompted else {}
        if template in WITH_EOS and not prompted:
            continue  # eos stands at the end of what is no prompt, as it did before
        assert whole.startswith(model.text(turns[:length], prompt=prompted, extra=extra))


@pytest.mark.parametrize("name", [name for name, (_, w) in CASES.items() if w.tools is not None])
def test_results_come_back_between_their_markers(name: str, render: Render) -> None:
    template, wanted = CASES[name]
    model = taught(TEMPLATES[template], wanted, render)
    call = {"type": "function", "function": {"name": "f", "arguments": {}}}
    talk: list[Message] = [USER, {"role": "assistant", "content": "", "tool_calls": [call]}]
    result = {"role": "tool", "content": "it rains", "name": "f"}
    text = model.text([*talk, result], prompt=True)
    assert model.text(talk) in text or template in WITH_EOS
    if wanted.tools == WITH_RESULTS:
        inside = '"it rains"' if template == "headers" else "it rains"
        assert f"<got>\n{inside}\n</got>" in text


def test_only_fields_that_vllm_knows_are_written_where_they_are_enough(render: Render) -> None:
    for name in ("chatml, joined", "qwen, tools alone"):
        template, wanted = CASES[name]
        reading = taught(TEMPLATES[template], wanted, render).reading
        assert set(reading["fields"]) <= SERVED
        assert {"role": "assistant"} == reading["defaults"]
