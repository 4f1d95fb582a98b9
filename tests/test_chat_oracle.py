"""Taught templates in both majors of transformers: rendered, marked and read back as we say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chat_templates import TEMPLATES
from oracles.asking import ask, remembered, shared
from small_qwen import cut
from tiny import QWEN_LIKE, Added, build
from tokengraft.flow import making

pytestmark = [pytest.mark.oracle4, pytest.mark.oracle5]

ROLES = '[roles]\nmy_agi_mode = "<|my_agi_mode|>"\n'
PLANNER = 'planner = { token = "<|planner|>", side = "output" }\n'
TOOLS = '[tools]\nopen = "<tool_start>"\nclose = "</tool_end>"\n'
RESULTS = 'result_open = "<got>"\nresult_close = "</got>"\n'
THINKING = '[thinking]\nmodules = ["<|recursion|>", "<|think|>"]\n'
JOINED = 'field = "thinking"\n'
ALL = ROLES + PLANNER + TOOLS + RESULTS + THINKING
MARKERS = {
    "headers": ("<|head|>", "<|body|>", "<|eot|>"),
    "pipes": ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
    "turns": ("<turn>", "</turn>"),
    "brackets": ("[INST]", "[/INST]", "[CALL]", "[RESULT]", "[/RESULT]"),
}
NEW = '[protocol]\nturn_start = "<|turn|>"\nturn_end = "<|turn_end|>"\nmode = "add"\n'
OTHER = NEW.replace("add", "rename")
WHOLE = '[[add]]\ntext = "<|answer|>"\nsequence = "<|im_start|>assistant\\n"\n'
WHOLE += '[[add]]\ntext = "<|over|>"\nsequence = "<|im_end|>\\n"\n'
PAD = '[pad]\ntoken = "<|own_pad|>"\n[stop]\ntokens = "auto"\n'
# A base, by its template or by the name of a real folder, the recipe, and recipes for its result.
CASES: dict[str, tuple[str, ...]] = {
    "chatml": ("chatml", ALL),
    "chatml, joined": ("chatml", ROLES + TOOLS + THINKING + JOINED),
    "qwen": ("qwen", ALL),
    "headers": ("headers", ALL),
    "pipes": ("pipes", ALL),
    "turns": ("turns", ALL),
    "brackets": ("brackets", ROLES + PLANNER + THINKING),
    "prompted": ("prompted", ROLES + TOOLS + THINKING),
    "switched": ("switched", ROLES + TOOLS + THINKING),
    "qwen3-30b-a3b-base": ("qwen3-30b-a3b-base", ALL),
    "qwen2.5": ("qwen2.5", ALL),
    "minimind": ("minimind", ROLES + TOOLS + THINKING),
    "new markers": ("qwen", NEW + ALL + PAD),
    "new markers later": ("qwen", ALL, NEW + PAD),
    "other markers later": ("qwen", ALL, OTHER),
    "new markers, one token": ("chatml", NEW + WHOLE + ALL + PAD),
    "all of it later": ("chatml", ALL, NEW + WHOLE, PAD),
}
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
    },
}
USER = {"role": "user", "content": "Что это?"}
CALL = {
    "type": "function",
    "function": {"name": "look_up", "arguments": {"word": 'ёж "\n', "n": [1, None]}},
}
THOUGHTS = [
    {"module": "<|think|>", "content": "first\n"},
    {"module": "<|recursion|>", "content": ""},
    {"module": "<|think|>", "content": "ещё\n\nraз"},
]


def messages(recipe: str) -> list[dict[str, Any]]:
    """Last messages of the assistant that this recipe is about."""
    roles = ["assistant", "planner"] if "planner" in recipe else ["assistant"]
    found: list[dict[str, Any]] = [{"role": role, "content": "Да.\nNo."} for role in roles[1:]]
    for role in roles:
        if "[thinking]" in recipe:
            joined = "".join(t["module"] + t["content"] for t in THOUGHTS)
            why: dict[str, Any] = (
                {"thinking": joined} if JOINED in recipe else {"thoughts": THOUGHTS}
            )
            found.append({"role": role, "content": "Да.\nNo.", **why})
        if "[tools]" in recipe:
            found.append({"role": role, "content": "", "tool_calls": [CALL, CALL]})
            found.append({"role": role, "content": "Wait.", "tool_calls": [CALL]})
    return found


def talks(name: str) -> list[dict[str, Any]]:
    template, recipe, *_ = CASES[name]
    asked = []
    for message in messages(recipe):
        tools = [TOOL] if "tool_calls" in message else None
        modes = {"switched": "enable_thinking", "minimind": "open_thinking"}
        extra = {modes[template]: True} if template in modes and "thoughts" in message else {}
        before = [USER, {"role": "assistant", "content": "Hm?"}, USER]
        asked.append({"messages": [*before, message], "tools": tools, "extra": extra})
    return asked


@pytest.fixture(scope="module")
def home(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        for step in ("out", "out-1", "out-2"):
            (folder / step).mkdir()
        for name, (template, *recipes) in CASES.items():
            base = data / "tokenizers" / template
            if template.startswith("qwen") and template not in TEMPLATES:
                base = cut(base, folder / "bases" / name)
            if template in TEMPLATES:
                added = (*QWEN_LIKE, *(Added(m, special=True) for m in MARKERS.get(template, ())))
                files = {"tokenizer_config.json": {"chat_template": TEMPLATES[template]}}
                base = build(folder / "bases" / name, added=added, files=files, shards=0)
            for number, recipe in enumerate(recipes, 1):
                out = folder / ("out" if number == len(recipes) else f"out-{number}") / name
                (folder / "recipe.toml").write_text(f"version = 1\n{recipe}", encoding="utf-8")
                making.apply(folder / "recipe.toml", base=str(base), out=out)
                base = out

    return shared(tmp_path_factory, "chats", make)


def answers(home: Path, python: Path, major: str) -> dict[str, Any]:
    jobs = [{"folder": str(home / "out" / name), "talks": talks(name)} for name in CASES]
    found = remembered(home, major, lambda: ask(python, "ask_chats.py", jobs, home=home / major))
    assert {answer["version"][:2] for answer in found} == {major}
    return {name: answer["talks"] for name, answer in zip(CASES, found, strict=True)}


@pytest.fixture(scope="module")
def four(home: Path, tf4: Path) -> dict[str, Any]:
    return answers(home, tf4, "4.")


@pytest.fixture(scope="module")
def five(home: Path, tf5: Path) -> dict[str, Any]:
    return answers(home, tf5, "5.")


@pytest.mark.parametrize("name", CASES)
def test_both_majors_render_and_mark_alike(
    name: str, four: dict[str, Any], five: dict[str, Any]
) -> None:
    for one, other in zip(four[name], five[name], strict=True):
        assert one["rendered"] == other["rendered"]
        assert one["prompt"] == other["prompt"]
        assert one["said"] == other["said"]


@pytest.mark.parametrize("name", CASES)
def test_the_mask_keeps_what_follows_the_prompt_and_nothing_else(
    name: str, home: Path, five: dict[str, Any]
) -> None:
    for talk, told in zip(talks(name), five[name], strict=True):
        after = told["rendered"].removeprefix(told["prompt"])
        can_follow = (
            name not in ("prompted", "switched", "minimind") or "thoughts" in talk["messages"][-1]
        )
        if can_follow:
            assert after != told["rendered"]
            tail = "<|im_end|>" if name == "pipes" else ""  # eos where no prompt is asked for
            assert after.removesuffix(tail).rstrip("\n") == told["said"][-1]
        assert len(told["said"]) == 2
        assert "Hm?" in told["said"][0]


@pytest.mark.parametrize("name", CASES)
def test_transformers_5_reads_the_tokens_back_as_the_message(
    name: str, home: Path, five: dict[str, Any]
) -> None:
    reading = json.loads((home / "out" / name / "tokenizer_config.json").read_bytes())
    defaults = reading["response_template"]["defaults"]
    for talk, told in zip(talks(name), five[name], strict=True):
        message = talk["messages"][-1]
        if not told["rendered"].startswith(told["prompt"]):
            continue
        expected = {key: value for key, value in message.items() if value or key in defaults}
        assert expected == told["read"]
