"""Which of 28 real templates can be taught what, and that the rest of what they write stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chat_templates import NAMED, TEMPLATES
from chats import INPUTS, MODULES, OUTPUTS, TOOLS, WITH_RESULTS, renderer, want
from tokengraft.formats.template_spans import splice
from tokengraft.formats.template_tags import message_loops, tags, wrapped
from tokengraft.planning.chat import Asked, Render, teach
from tokengraft.planning.chat.learning import learn
from tokengraft.planning.chat.probing import TOOL, NotUnderstoodError
from tokengraft.planning.chat.shapes import Wanted

OPENED = (
    "its generation prompt opens the thinking block already, so the model cannot write a role's "
    "token first"
)
FORM = (
    "its calls have a form of their own, and what it tells of tools holds no call that could be "
    "restated"
)
UNTOLD = "it renders calls in a form of its own, and does not tell of tools"
NUMBERED = (
    "its calls carry ids that results refer to, and a call here has a name and arguments only"
)
LOST = "it has no turn for the results of calls"
WANTS: Mapping[str, Wanted] = {
    "input": want(INPUTS),
    "output": want({}, OUTPUTS),
    "tools": want({}, {}, TOOLS),
    "results": want({}, {}, WITH_RESULTS),
    "thinking": want({}, {}, None, MODULES),
}
# Every template: a reason for all, or the reasons for what it cannot be taught; the rest it can.
TABLE: Mapping[str, str | Mapping[str, str]] = {
    "ByteDance-Seed-OSS": {"tools": FORM, "results": FORM},
    "CohereForAI-c4ai-command-r-plus-tool_use": {
        "output": "a turn of 'planner' would not continue the generation prompt",
        "thinking": "a turn of 'assistant' would not continue the generation prompt",
        "tools": FORM,
        "results": FORM,
    },
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": (
        "it writes a generation prompt where none is asked for"
    ),
    "Mistral-Small-3.2-24B-Instruct-2506": {"tools": NUMBERED, "results": NUMBERED},
    "NVIDIA-Nemotron-Nano-v2": (
        "it writes the last turn of the assistant outside its message loop"
    ),
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": {},
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": {},
    "Qwen-QwQ-32B": {"output": OPENED},
    "Qwen-Qwen2.5-7B-Instruct": {},
    "Qwen-Qwen3-0.6B": {},
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": {
        "output": OPENED,
        "tools": UNTOLD,
        "results": UNTOLD,
    },
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": {
        "output": OPENED,
        "tools": UNTOLD,
        "results": UNTOLD,
    },
    "deepseek-ai-DeepSeek-V3.1": {
        "input": "no generation prompt would follow a turn of 'my_agi_mode'",
        "tools": UNTOLD,
        "results": UNTOLD,
    },
    "fireworks-ai-llama-3-firefunction-v2": (
        "it cannot be rendered with plain messages: line 21: UndefinedError: 'functions' is undefined"
    ),
    "google-gemma-2-2b-it": {"tools": LOST},
    "ibm-granite-granite-3.3-2B-Instruct": (
        "it writes the generation prompt inside its message loop"
    ),
    "llama-cpp-deepseek-r1": {
        "output": OPENED,
        "tools": LOST,
        "results": (
            "it does not tell the model of tools: line 12: TypeError: Object of type generator is not "
            "JSON serializable"
        ),
    },
    "llama-cpp-rwkv-world": "no token ends the turns of the assistant",
    "meetkai-functionary-medium-v3.1": {"tools": FORM, "results": FORM},
    "meetkai-functionary-medium-v3.2": {
        "output": "the model goes on with 'all\\n' before it says anything",
        "thinking": "the model goes on with 'all\\n' before it says anything",
        "tools": FORM,
        "results": FORM,
    },
    "meta-llama-Llama-3.1-8B-Instruct": {},
    "meta-llama-Llama-3.2-3B-Instruct": {},
    "meta-llama-Llama-3.3-70B-Instruct": {},
    "microsoft-Phi-3.5-mini-instruct": {"tools": LOST},
    "mistralai-Mistral-Nemo-Instruct-2407": {"tools": NUMBERED, "results": NUMBERED},
    "moonshotai-Kimi-K2": {"tools": FORM, "results": FORM},
    "openai-gpt-oss-120b": "it ends the last turn of the assistant in another way than others",
    "unsloth-mistral-Devstral-Small-2507": {"tools": FORM, "results": FORM},
}


@pytest.fixture(scope="module")
def render() -> Iterator[Render]:
    with renderer() as render:
        yield render


def real(data: Path, name: str) -> str:
    return (data / "templates" / f"{name}.jinja").read_bytes().decode()


def test_the_table_names_every_template(data: Path) -> None:
    assert {path.stem for path in (data / "templates").glob("*.jinja")} == set(TABLE)
    assert len(TABLE) == 28


def refusals(text: str, render: Render) -> str | dict[str, str]:
    """Why a template can be taught nothing, or what it cannot be taught and why."""
    try:
        shape = learn(text, render, NAMED)
    except NotUnderstoodError as error:
        return error.why
    found: dict[str, str] = {}
    for what, wanted in WANTS.items():
        try:
            teach(text, shape, wanted, render, NAMED)
        except NotUnderstoodError as error:
            found[what] = error.why
    return found


@pytest.mark.parametrize("name", TABLE)
def test_a_real_template_is_taught_or_refused_with_this_reason(
    name: str, data: Path, render: Render
) -> None:
    assert TABLE[name] == refusals(real(data, name), render)


# ── tags ─────────────────────────────────────────────────────────────────────────────────────────


def test_tags_know_their_place_their_words_and_their_signs() -> None:
    text = "a\n  {%- if x == 'y' -%}\n b{% endif %}\n{{ c }}{%+ set d = 1 +%}"
    found = [(tag.words, text[tag.begin : tag.end], tag.before, tag.after) for tag in tags(text)]
    assert found == [
        (("if", "x", "==", "'y'"), "{%- if x == 'y' -%}", "-", "-"),
        (("endif",), "{% endif %}", "", ""),
        (("set", "d", "=", "1"), "{%+ set d = 1 +%}", "+", "+"),
    ]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("{% for m in messages %}{{ m }}{% endfor %}", 1),
        ("{% for m in loop_messages[1:] %}{{ m }}{% endfor %}", 1),
        ("{% if x %}{% for m in messages %}{{ m }}{% endfor %}{% endif %}", 1),
        ("{% for m in messages %}{% for n in messages %}{% endfor %}{% endfor %}", 2),
        ("{% for m in tools %}{{ m }}{% endfor %}", 0),
        ("{% for a, b in messages %}{{ a }}{% endfor %}", 0),
        ("{% set x %}{% for m in messages %}{{ m }}{% endfor %}{% endset %}", 0),
        ("{% macro f() %}{% for m in messages %}{{ m }}{% endfor %}{% endmacro %}", 0),
        ("{% for m in messages %}{{ m }}{% else %}none{% endfor %}", 0),
        ("{% for m in messages %}{{ m }}", 0),
    ],
)
def test_loops_over_messages_are_found_where_they_print_at_once(text: str, count: int) -> None:
    assert count == len(message_loops(text))


TALKS: tuple[tuple[list[dict[str, Any]], bool], ...] = (
    ([{"role": "user", "content": " a\n"}], True),
    ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "\tb "}], False),
    ([{"role": "system", "content": "s"}, {"role": "user", "content": "a"}], True),
)


@pytest.mark.parametrize("name", [*TEMPLATES, *TABLE])
def test_a_wrapped_loop_writes_the_same_white_space(
    name: str, request: pytest.FixtureRequest, render: Render
) -> None:
    text = TEMPLATES.get(name) or real(request.getfixturevalue("data"), name)
    for loop in message_loops(text):
        places = wrapped(loop, "{%- if true %}", "endif", "if true", "{% endif %}")
        for talk, prompt in TALKS:
            asked = [Asked(t, talk, (TOOL,), prompt) for t in (text, splice(text, places))]
            one, other = render(asked, NAMED)
            assert one.text == other.text
