"""Suites are read line by line, answers become figures, and figures are held against bounds."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest

import behaviour_samples
import served
from tokengraft.behaviour import (
    Bounds,
    Call,
    Prompt,
    Rate,
    SaidBehaviour,
    Suite,
    Text,
    Thought,
    Wants,
)
from tokengraft.errors import ReadFailed, SuiteError, TargetExists
from tokengraft.flow import story
from tokengraft.flow.behaving import NothingToAsk, may_write_record, write_record
from tokengraft.formats.loading import load
from tokengraft.formats.suites import parse_suite, read_suite
from tokengraft.reporting import schemas
from tokengraft.reporting.screen import Screen
from tokengraft.reporting.text import view
from tokengraft.results import Verification
from tokengraft.verifying.behaviour import Questions, _behaviour, _checks
from tokengraft.verifying.behaviour_figures import measured, neutral_bits

TOKENS = {"<a>": 90, "</a>": 91}
SAY = ({"role": "user", "content": "Hi"},)


def line(**fields: Any) -> str:
    return json.dumps(fields)


WANTED = line(
    kind="wanted", messages=[{"role": "user", "content": "Hi"}], wants={"tokens": ["<a>"]}
)

# ── suites ───────────────────────────────────────────────────────────────────────────────────────


def test_a_suite_is_its_lines(tmp_path: Path) -> None:
    lines = [
        line(kind="settings", max_new_tokens=32),
        line(kind="bounds", emitted=0.9),
        WANTED,
        "",
        line(kind="near-miss", prompt="Once upon"),
        line(kind="text", text="A line separator\u2028of Unicode."),
    ]
    path = tmp_path / "suite.jsonl"
    path.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    suite = read_suite(path)
    assert [prompt.kind for prompt in suite.prompts] == ["wanted", "near-miss"]
    assert suite.texts == (Text(kind="text", text="A line separator\u2028of Unicode."),)
    assert suite.settings.max_new_tokens == 32
    assert suite.bounds == Bounds(kind="bounds", emitted=0.9)
    shown = json.loads(suite.to_json())
    jsonschema.validate(shown, schemas.schema(Suite))


def test_every_wrong_line_is_named_by_its_number() -> None:
    wrong = [
        "{",
        line(kind="wanted", prompt="x"),
        WANTED,
        line(kind="neutral", prompt="x", wants={"tokens": ["<a>"]}),
        line(kind="other"),
        line(kind="neutral"),
        line(kind="text", text=1),
        line(kind="bounds", emitted=2),
        line(kind="neutral", prompt="x", mesages=[]),
    ]
    with pytest.raises(SuiteError) as told:
        parse_suite("\n".join(wrong), name="suite.jsonl")
    lines = told.value.detail.split("\n")
    assert [text.split(":")[0] for text in lines] == ["1", "2", "4", "5", "6", "7", "8", "9"]
    assert "mesages" in lines[-1]
    assert told.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "asks nothing"),
        (line(kind="settings"), "asks nothing"),
        ("\n".join([line(kind="bounds")] * 2 + [WANTED]), "has a problem"),
    ],
)
def test_a_suite_that_asks_nothing_or_twice_is_refused(text: str, says: str) -> None:
    with pytest.raises(SuiteError, match=says):
        parse_suite(text, name="suite.jsonl")


def test_a_suite_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ReadFailed, match="cannot be read"):
        read_suite(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"kind": "text", "text": "\xff"}')
    with pytest.raises(SuiteError, match="not UTF-8"):
        read_suite(tmp_path / "latin.jsonl")


def test_many_wrong_lines_are_counted() -> None:
    with pytest.raises(SuiteError, match="30 problems") as told:
        parse_suite("{\n" * 30, name="suite.jsonl")
    assert told.value.detail.endswith("and 10 more")


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    # By hand from Wilson's formula; the first is a textbook's example (Brown, Cai, DasGupta 2001 use z = 1.96).
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (95, 100, 0.8882, 0.9785),
        (1, 2, 0.0945, 0.9055),
    ],
)
def test_shares_have_wilsons_interval(hits: int, n: int, low: float, high: float) -> None:
    found = Rate.of(hits, n)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_nothing_asked_is_no_share() -> None:
    assert Rate.of(0, 0) is None


def said(*ids: int, text: str = "", stopped: bool = True, **more: Any) -> dict[str, Any]:
    return {"ids": list(ids), "text": text, "stopped": stopped, "parsed": None, **more}


def asked(kind: str, *tokens: str, **wants: Any) -> Prompt:
    return Prompt(kind=kind, messages=SAY, wants=Wants(tokens=tokens, **wants))  # type: ignore[arg-type]


def test_tokens_are_counted_where_they_are_wanted_and_where_not() -> None:
    prompts = [
        asked("wanted", "<a>", "</a>"),
        asked("wanted", "<a>", "</a>"),
        asked("wanted", "</a>"),
        asked("neutral"),
        asked("near-miss"),
    ]
    answers = [
        said(90, 5, 91, spans=[["\n<a>", True]]),
        said(90, 5, stopped=False, spans=[["\n<a>", False]]),
        said(90),
        said(3, 91),
        said(3),
    ]
    found = measured(prompts, answers, TOKENS)
    opens, ends = found.tokens
    assert (opens.wanted, opens.elsewhere) == (Rate.of(2, 2), Rate.of(1, 1))
    assert (opens.neutral, opens.near_miss) == (Rate.of(0, 1), Rate.of(0, 1))
    assert opens.closes == Rate.of(1, 2)
    assert (ends.wanted, ends.neutral, ends.closes) == (Rate.of(1, 3), Rate.of(1, 1), None)
    together = SaidBehaviour(wanted=Rate.of(1, 3), neutral=Rate.of(1, 1), near_miss=Rate.of(0, 1))
    assert found.said == together
    assert found.stop is not None
    assert found.stop.stopped == Rate.of(4, 5)
    wrong = [example.kind for example in found.examples if not example.ok]
    assert wrong == ["wanted", "wanted", "neutral"]


def test_calls_are_compared_with_the_truth() -> None:
    truth = (Call(name="get", arguments={"city": "Paris", "n": 2}),)
    prompts = [asked("wanted", "<a>", tool_calls=truth) for _ in range(4)]

    def call(name: str, **arguments: Any) -> dict[str, Any]:
        one = {"type": "function", "function": {"name": name, "arguments": arguments}}
        return said(90, parsed={"role": "assistant", "tool_calls": [one]})

    answers = [
        call("get", city="Paris", n=2),
        call("get", city="Rome", n=2),
        call("put", city="Paris", n=2),
        said(90),
    ]
    found = measured(prompts, answers, TOKENS)
    assert found.tools is not None
    shares = (found.tools.parsed, found.tools.names, found.tools.arguments)
    assert shares == (Rate.of(3, 4), Rate.of(2, 4), Rate.of(1, 4))


def test_roles_and_thoughts_are_compared_with_what_is_wanted() -> None:
    wants = {"role": "agent", "thoughts": (Thought(module="<a>", content="why"),)}
    prompts = [asked("wanted", "<a>", **wants) for _ in range(3)]
    right = {"role": "agent", "thoughts": [{"module": "<a>", "content": " why\n"}]}
    other = {"role": "assistant", "thoughts": [{"module": "<a>", "content": "who"}]}
    joined = {"role": "agent", "reasoning_content": "why"}
    answers = [said(90, parsed=one) for one in (right, other, joined)]
    found = measured(prompts, answers, TOKENS)
    assert found.read_back is not None
    back = found.read_back
    assert back.role == Rate.of(2, 3)
    assert back.modules == Rate.of(3, 3)  # joined into one text, their order is that of the ids
    assert back.thoughts == Rate.of(1, 3)


def test_text_costs_bits_a_byte() -> None:
    before = [{"bits": 10.0, "bytes": 10.0}, {"bits": 30.0, "bytes": 20.0}]
    after = [{"bits": 11.0, "bytes": 10.0}, {"bits": 31.0, "bytes": 20.0}]
    found = neutral_bits(after, before, "the base")
    assert found is not None
    assert (found.before, found.after) == (pytest.approx(4 / 3), pytest.approx(1.4))
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.difference <= found.high
    alone = neutral_bits(after, None, "")
    assert alone is not None
    assert alone.before is None
    assert neutral_bits([], None, "") is None


def test_a_prompt_counts_once_however_many_tokens_there_are() -> None:
    prompts = (
        asked("wanted", "<a>", "</a>"),
        *(asked(k) for k in ("neutral",) * 4 + ("near-miss",) * 2),
    )
    suite = Suite(name="s", prompts=prompts)
    answers = [said(90, 91), said(90, 91), said(91), said(3), said(3), said(90), said(3)]
    found = _behaviour(Questions(suite), TOKENS, [{"answers": answers}], {})
    (check, *_) = _checks(found, suite)
    assert check.evidence.startswith(
        "2 new tokens are said where wanted 1 of 1 (100.0 %), "
        "on neutral prompts 2 of 4 (50.0 %), on near misses 1 of 2 (50.0 %)"
    )


def test_all_tokens_together_are_shown_above_each() -> None:
    rows = [
        " ".join(row.split()) for row in view(behaviour_samples.BEHAVIOUR, Screen()).split("\n")
    ]
    at = rows.index("all together, by prompts 97.0 % (94–99) 0.0 % (0–2) 2.0 % (1–5)")
    assert rows[at + 1] == "before 0.0 % (0–2) 0.0 % (0–2) 0.5 % (0–3)"
    assert rows[at + 2].startswith("<tool_start> 97.5 %")


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────


def judged(bounds: Bounds | None) -> dict[str, tuple[str, str]]:
    prompts = (asked("wanted", "<a>"), asked("wanted", "<a>"), asked("neutral"))
    texts = (Text(kind="text", text="x"),)
    suite = Suite(name="s", prompts=prompts, texts=texts, bounds=bounds)
    answers = [said(90), said(1), said(1)]
    models = [
        {"answers": answers, "texts": [{"bits": 12.0, "bytes": 10.0}]},
        {"texts": [{"bits": 10.0, "bytes": 10.0}]},
    ]
    questions = Questions(suite, None, load(served.CHAT, weights=False))
    found = _behaviour(questions, {"<a>": 90}, models, {"torch": "2"})
    return {check.name: (check.status, check.evidence) for check in _checks(found, suite)}


def test_without_bounds_figures_are_reported_and_nothing_is_claimed() -> None:
    found = judged(None)
    assert {status for status, _ in found.values()} == {"unknown"}
    assert "where wanted 1 of 2 (50.0 %)" in found["new-tokens-said"][1]


def test_bounds_that_hold_pass_and_others_fail() -> None:
    kind = {"kind": "bounds"}
    held = judged(Bounds(**kind, emitted=0.5, neutral=0.0, stopped=1.0, neutral_bits=0.3))  # type: ignore[arg-type]
    assert {status for status, _ in held.values()} == {"pass"}
    broken = judged(Bounds(**kind, emitted=0.6, role=0.5, neutral_bits=0.1))  # type: ignore[arg-type]
    assert broken["new-tokens-said"][0] == "fail"
    assert "'<a>' where it is wanted: 50.0 %" in broken["new-tokens-said"][1]
    assert broken["answers-read-back"][0] == "fail"  # a bound on what the suite never asks
    assert broken["neutral-text"][0] == "fail"
    assert broken["answers-stop"][0] == "unknown"


# ── records ──────────────────────────────────────────────────────────────────────────────────────


def test_a_record_replaces_a_record_and_nothing_else(tmp_path: Path) -> None:
    place = tmp_path / "behaviour.json"
    for _ in range(2):
        write_record(behaviour_samples.BEHAVIOUR, place)
    assert json.loads(place.read_text("utf-8"))["schema"] == "tokengraft/behaviour"
    place.write_text("my notes", encoding="utf-8")
    with pytest.raises(TargetExists, match="no record of behaviour"):
        may_write_record(place)


def test_a_run_whose_data_ask_nothing_is_verified_without_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call is refused before anything is proved; the second asks nothing."""
    (tmp_path / "out.training").mkdir()
    (tmp_path / "out.training" / "held_out.jsonl").write_text("{}\n", encoding="utf-8")
    asked_for: list[str | None] = []
    proof = Verification(passed=True, checks=())

    def verify(*_: object, behaviour: str | None = None, **__: object) -> Verification:
        asked_for.append(behaviour)
        if behaviour is not None:
            raise NothingToAsk("the rows that the training held out ask nothing")
        return proof

    monkeypatch.setattr(story, "verify", verify)
    notes: list[object] = []
    done = SimpleNamespace(folder=tmp_path / "out.training")
    found = story._proof(tmp_path / "out", "base", done, tmp_path, notes.append)  # type: ignore[arg-type]
    assert found is proof
    assert asked_for == ["auto", None]
    assert len(notes) == 1
