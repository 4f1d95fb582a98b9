"""Conversations with nothing new in them are written as before, to the character, at random."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat_templates import NAMED, TEMPLATES
from chats import (
    CASES,
    INPUTS,
    REAL,
    TOOLS,
    Message,
    Taught,
    calls,
    example,
    renderer,
    taught,
    texts,
    want,
)
from tokengraft.formats.template_text import turn_ends
from tokengraft.formats.turns import turns
from tokengraft.planning.chat import Render, teach
from tokengraft.planning.chat.checking import renamed
from tokengraft.planning.chat.learning import learn
from tokengraft.planning.chat.probing import TOOL
from tokengraft.vocabulary import AddedToken, ChatTemplate, NamedToken, TokenId, Tokenizer

MARKERS = (
    *("<|im_start|>", "<|im_end|>", "<|head|>", "<|body|>", "<|eot|>", "<turn>", "</turn>"),
    *("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "</s>", "<s>", "<|endoftext|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<start_of_turn>", "<end_of_turn>"),
    *("[INST]", "[/INST]", "<|my_agi_mode|>", "<|planner|>", "[critic]"),
)


@pytest.fixture(scope="module")
def render() -> Iterator[Render]:
    with renderer() as render:
        yield render


@pytest.fixture(scope="module", params=[*CASES, *REAL])
def model(request: pytest.FixtureRequest, render: Render) -> Taught:
    text, wanted = example(request.param, lambda: request.getfixturevalue("data"))
    return taught(text, wanted, render)


def plain(model: Taught) -> st.SearchStrategy[list[Message]]:
    """Turns in any order, which many templates refuse: then both must."""
    content = st.fixed_dictionaries({"content": texts()})
    kinds = [
        content.map(lambda m, role=role: {"role": role, **m})  # type: ignore[misc]
        for role in ("user", "assistant", "system", *(() if model.made.results else ("tool",)))
    ]
    reasoning = {"reasoning_content", "thinking", "reasoning"} - {model.wanted.reasoning}
    if model.made.block is None or model.shape.thinking is None:
        reasoning = set()  # what the template reads itself stays what it was
    kinds += [
        content.map(lambda m, key=key: {"role": "assistant", key: "why", **m})  # type: ignore[misc]
        for key in sorted(reasoning)
    ]
    if model.made.calls is None:
        said = st.fixed_dictionaries({"content": texts(), "tool_calls": calls()})
        kinds.append(said.map(lambda m: {"role": "assistant", **m}))
    user, assistant, *others = kinds
    in_turn = st.lists(st.tuples(user, st.one_of([assistant, *others])), max_size=3).map(
        lambda pairs: [message for pair in pairs for message in pair]
    )
    return st.one_of(in_turn, st.lists(st.one_of(kinds), max_size=5))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_nothing_new_is_written_as_before(model: Taught, data: st.DataObject) -> None:
    talk = data.draw(plain(model))
    tools = (TOOL,) if model.made.calls is None and data.draw(st.booleans()) else None
    asked: dict[str, Any] = {"prompt": data.draw(st.booleans())}
    if tools is not None:
        asked["tools"] = tools
    asked["extra"] = data.draw(st.sampled_from(({}, {"enable_thinking": False})))
    before, after = model.said(talk, old=True, **asked), model.said(talk, **asked)
    if before.text is None:
        assert after.text is None
    else:
        assert renamed(before.text, model.made) == after.text


def test_plain_answers_are_marked_where_they_stand(model: Taught) -> None:
    talk = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "four"},
    ]
    said = model.said(talk)
    assert said.text is not None
    first, second = (said.text[begin:end] for begin, end in said.generated)
    assert ("two" in first, "four" in second) == (True, True)
    assert all(word not in first + second for word in ("one", "three"))
    assert second.endswith(model.shape.end)


# ── what else is read from a template ────────────────────────────────────────────────────────────


def tokenizer(text: str) -> Tokenizer:
    """A tokenizer that knows every marker, with this template."""
    added = {
        TokenId(number): AddedToken(marker, special=True) for number, marker in enumerate(MARKERS)
    }
    return Tokenizer(
        kind="BPE",
        vocab={},
        declared=(),
        effective={},
        added=added,
        added_ids={token.content: number for number, token in added.items()},
        n_tokens=len(added),
        conflicts=(),
        named=(NamedToken("eos", NAMED["eos"], None, "tokenizer_config.json", "/eos_token"),),
        templates=(ChatTemplate("default", text, "chat_template.jinja", ""),),
        byte_level=True,
        tokenizer_class=None,
    )


def test_the_end_of_turns_is_found_in_a_taught_template_too(model: Taught) -> None:
    before, after = tokenizer(model.old), tokenizer(model.new)
    old, new = before.template(), after.template()
    assert old is not None
    assert new is not None
    assert turn_ends(before, old)[:1] == turn_ends(after, new)[:1]
    assert turns(before, old) == turns(after, new)


def test_a_template_that_reads_tools_from_the_first_message_is_noted(render: Render) -> None:
    for name, count in (("headers", 1), ("chatml", 0)):
        text = TEMPLATES[name]
        notes = teach(
            text, learn(text, render, NAMED), want(INPUTS, {}, TOOLS), render, NAMED
        ).notes
        assert count == len([note for note in notes if "must not come first" in note])
