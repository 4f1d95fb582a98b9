"""A real model is asked: answers, what is read back of them, what text costs; and suites from data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

import served
import tiny_chat
from tokengraft.behaviour import Behaviour, Rate
from tokengraft.checkpoint import RECORD_FOLDER
from tokengraft.flow.behaving import NothingToAsk, asked, derived
from tokengraft.formats.loading import load
from tokengraft.formats.plan_files import read_plan
from tokengraft.formats.suites import parse_suite
from tokengraft.results import Check
from tokengraft.verifying.behaviour import Questions, check_behaviour
from tokengraft.verifying.records import read_graft

WEATHER = [tiny_chat.TOOLS["get_weather"]]


def asks(content: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], **more}


SUITE = (
    {
        "kind": "wanted",
        **asks(served.QUESTION, tools=WEATHER),
        "wants": {
            "tokens": list(served.NEW),
            "tool_calls": [{"name": "get_weather", "arguments": {"city": "Nowhere"}}],
        },
    },
    {
        "kind": "neutral",
        **asks("What colour is the sky?"),
        "wants": {"content": "The sky is blue."},
    },
    {"kind": "near-miss", **asks("What is the capital of France?", tools=WEATHER)},
    {"kind": "neutral", "prompt": "The capital of France is"},
    {"kind": "text", "text": "A baker bakes bread. The sky is blue."},
    {"kind": "text", "text": "What is 3 plus 4? 3 plus 4 is 7."},
    {"kind": "settings", "max_new_tokens": 40},
    {"kind": "bounds", "emitted": 1.0, "closed": 1.0, "names": 1.0, "neutral": 0.0},
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served.build(tmp_path_factory.mktemp("behaviour"))


@pytest.fixture(scope="module")
def told(result: Path) -> tuple[Behaviour, dict[str, Check]]:
    suite = parse_suite("\n".join(map(json.dumps, SUITE)), name="suite.jsonl")
    graft, questions = read_graft(result), Questions(suite, None, load(served.CHAT, weights=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "tokengraft.formats.loading.load", None
        )  # what is handed over is not read again
        found, checks = check_behaviour(graft, questions)
    assert found is not None, checks
    return found, {check.name: check for check in checks}


def test_new_tokens_are_seen_where_the_model_says_them(
    told: tuple[Behaviour, dict[str, Check]],
) -> None:
    opens, ends = told[0].tokens
    assert (opens.text, ends.text) == served.NEW
    assert (opens.wanted, ends.wanted) == (Rate.of(1, 1), Rate.of(1, 1))
    assert (opens.neutral, opens.near_miss) == (Rate.of(0, 2), Rate.of(0, 1))
    assert (opens.closes, ends.closes) == (Rate.of(1, 1), None)
    assert told[1]["new-tokens-said"].status == "pass"


def test_answers_are_read_back_and_compared(told: tuple[Behaviour, dict[str, Check]]) -> None:
    tools, back = told[0].tools, told[0].read_back
    assert tools is not None
    assert back is not None
    assert (tools.parsed, tools.names, tools.arguments) == (*[Rate.of(1, 1)] * 2, Rate.of(0, 1))
    assert back.content == Rate.of(1, 1)
    assert told[1]["answers-read-back"].status == "pass"  # of arguments the suite asks nothing
    wrong = [example for example in told[0].examples if not example.ok]
    assert served.QUESTION in [example.prompt for example in wrong]


def test_text_costs_what_the_new_rows_take_from_it(
    told: tuple[Behaviour, dict[str, Check]],
) -> None:
    bits = told[0].neutral_bits
    assert bits is not None
    assert bits.difference is not None
    assert 0 < bits.difference < 0.01  # a larger softmax, and nothing else
    assert told[1]["neutral-text"].status == "unknown"
    assert set(told[0].versions) == {"torch", "transformers"}


def test_a_token_that_is_not_there_is_no_model_to_run(result: Path) -> None:
    lines = [json.dumps({"kind": "wanted", "prompt": "x", "wants": {"tokens": ["<nowhere>"]}})]
    suite = parse_suite("\n".join(lines), name="suite.jsonl")
    found, (check,) = check_behaviour(read_graft(result), Questions(suite))
    assert found is None
    assert check.status == "fail"
    assert "<nowhere>" in check.evidence


# ── a suite from what a training held out ────────────────────────────────────────────────────────


def test_held_out_rows_become_prompts_with_what_they_want(result: Path, tmp_path: Path) -> None:
    plan = read_plan(result / RECORD_FOLDER / "plan.json").plan
    out = tmp_path / "out"
    with pytest.raises(NothingToAsk, match="held rows out"):
        derived(out, plan)
    call = {"function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
    rows = [
        {
            "messages": [
                {"role": "user", "content": "How is the weather in Rome?"},
                {"role": "assistant", "content": "", "tool_calls": [call]},
            ],
            "tools": WEATHER,
        },
        {
            "messages": [
                {"role": "user", "content": "Hello!"},
                {"role": "assistant", "content": "Hello! How can I help you?"},
            ]
        },
        {"messages": [{"role": "user", "content": "Nobody answers."}]},
        {"text": "Once upon a time."},
        {"text": "Text with a <tool_start> in it."},
    ]
    folder = tmp_path / "out.training" / "sft"
    folder.mkdir(parents=True)
    place = folder / "held_out.jsonl"
    place.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    suite = derived(out, plan)
    wanted, neutral = suite.prompts
    assert (wanted.kind, wanted.wants.tokens) == ("wanted", served.NEW)
    assert wanted.wants.tool_calls is not None
    assert wanted.wants.tool_calls[0].arguments == {"city": "Rome"}
    assert (neutral.kind, neutral.wants.tokens) == ("neutral", ())
    assert [text.text for text in suite.texts] == [
        "Hello!\nHello! How can I help you?",
        "Once upon a time.",
    ]
    lines = [{"prompt": "A", "completion": " <tool_start>"}, {"prompt": "B", "completion": "b"}]
    place.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    kinds = [(one.kind, one.prompt, one.wants.tokens) for one in derived(out, plan).prompts]
    assert kinds == [("wanted", "A", ("<tool_start>",)), ("neutral", "B", ())]
    place.write_text(json.dumps(rows[2]), encoding="utf-8")
    with pytest.raises(NothingToAsk, match="ask nothing"):
        derived(out, plan)


@pytest.mark.parametrize(
    ("is_own", "said"),
    [(True, "the rows of this folder are the untrained ones"), (False, "could not be made again")],
)
def test_what_was_before_is_made_where_the_paths_of_the_recipe_start(
    is_own: bool, said: str, result: Path, tmp_path: Path
) -> None:
    suite = tmp_path / "suite.jsonl"
    suite.write_text(json.dumps(SUITE[0]), encoding="utf-8")
    folder = result.parent if is_own else tmp_path
    with asked(result, str(suite), base=load(served.CHAT), folder=folder) as questions:
        assert questions is not None
        assert questions.base is not None
        assert questions.base.root == served.CHAT
        (note,) = questions.notes
        assert said in note
