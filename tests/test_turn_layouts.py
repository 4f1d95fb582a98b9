"""One token for the whole beginning of a turn, in every published template with turn markers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conversations import conversations, rendered
from test_planning import planned, problems
from test_turn_templates import MARKERS, WANTS, library, names_of, template_of, with_template
from tiny import TEMPLATE, Tiny, build
from tokengraft.flow import making, proving
from tokengraft.formats.loading import load
from tokengraft.formats.template_layouts import with_tokens
from tokengraft.plans import Mean, Mix
from tokengraft.sandbox.templates import TemplateChild

CHATML = ("<|im_start|>{}\n", ("user", "assistant", "system"))
HEADER = ("<|start_header_id|>{}<|end_header_id|>\n\n", ("user", "assistant", "system"))
COHERE = ("<|START_OF_TURN_TOKEN|><|{}_TOKEN|>", ("USER", "CHATBOT", "SYSTEM"))
# How turns begin, and beginnings that are left since they are written in pieces.
BEGINNINGS: dict[str, tuple[tuple[str, tuple[str, ...]], set[str]]] = {
    "ByteDance-Seed-OSS": (
        ("<seed:bos>{}\n", ("user", "assistant", "system")),
        {"user", "assistant", "system"},
    ),
    "CohereForAI-c4ai-command-r-plus-tool_use": (COHERE, set()),
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": (COHERE, set()),
    "NVIDIA-Nemotron-Nano-v2": (("<SPECIAL_11>{}\n", ("User", "Assistant")), set()),
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": (CHATML, {"assistant"}),
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": (CHATML, {"assistant"}),
    "Qwen-QwQ-32B": (CHATML, {"user", "assistant"}),
    "Qwen-Qwen2.5-7B-Instruct": (CHATML, {"user", "assistant"}),
    "Qwen-Qwen3-0.6B": (CHATML, {"user"}),  # results of tools
    "fireworks-ai-llama-3-firefunction-v2": (HEADER, set()),
    "google-gemma-2-2b-it": (("<start_of_turn>{}\n", ("user", "model")), set()),
    "ibm-granite-granite-3.3-2B-Instruct": (
        ("<|start_of_role|>{}<|end_of_role|>", ("user", "assistant", "system")),
        {"assistant"},
    ),
    "meetkai-functionary-medium-v3.1": (HEADER, set()),
    "meetkai-functionary-medium-v3.2": (HEADER, set()),
    "meta-llama-Llama-3.1-8B-Instruct": (HEADER, set()),
    "meta-llama-Llama-3.2-3B-Instruct": (HEADER, set()),
    "meta-llama-Llama-3.3-70B-Instruct": (HEADER, set()),
}


@pytest.fixture(scope="module")
def child() -> Iterator[TemplateChild]:
    with TemplateChild() as child:
        yield child


def recipe_of(tokens: dict[str, str]) -> str:
    lines = []
    for sequence, token in tokens.items():
        written = sequence.replace("\n", "\\n")
        lines.append(f'[[add]]\ntext = "{token}"\nsequence = "{written}"\n')
    return "".join(lines)


@pytest.mark.parametrize("name", BEGINNINGS)
def test_conversations_say_the_same_with_one_token_for_each_beginning(
    data: Path, tmp_path: Path, child: TemplateChild, name: str
) -> None:
    (form, roles), left = BEGINNINGS[name]
    tokens = {form.format(role): f"<|turn_{role.lower()}|>" for role in roles}
    folder = with_template(data, name, tmp_path / "src")
    before, outcome = load(folder), planned(folder, recipe_of(tokens))
    after, still = outcome.after, set()
    ids = {library(after).token_to_id(token) for token in tokens.values()}
    count = 0
    for conversation in conversations(**WANTS.get(name, {})):
        text, said = rendered(child, template_of(before), names_of(before), conversation)
        text2, said2 = rendered(child, template_of(after), names_of(after), conversation)
        assert said == said2 == ""
        restored = text2
        for sequence, token in tokens.items():
            restored = restored.replace(token, sequence)
        assert restored == text
        still |= {role for role in roles if form.format(role) in text2}
        count += sum(token_id in ids for token_id in library(after).encode(text2).ids)
    assert still == left
    assert (count > 40) == (name != "ByteDance-Seed-OSS")
    # What is left is named with its line, and nothing else is.
    notes = [note for note in outcome.plan.notes if "is left" in note]
    for role in left:
        assert any(repr(form.format(role)) in note for note in notes)
    assert bool(notes) == bool(left)


def test_the_row_starts_from_the_sequence(tmp_path: Path) -> None:
    made = planned(build(tmp_path / "src"), recipe_of({"<|im_start|>user\n": "<|user|>"})).plan
    (token,) = made.tokens
    assert token.init == "sequence"
    assert all(isinstance(row.source, Mix | Mean) for row in token.rows)


def test_a_value_that_names_the_role_is_asked(tmp_path: Path) -> None:
    tokens = {"<|im_start|>user\n": "<|user|>", "<|im_start|>tool\n": "<|result|>"}
    outcome = planned(build(tmp_path / "src"), recipe_of(tokens))
    wanted = TEMPLATE.replace(
        "'<|im_start|>' + message.role + '\\n'",
        "'' + ('<|user|>' if message.role == 'user' else '<|result|>' if message.role == 'tool' "
        "else '<|im_start|>' + message.role + '\\n') + ''",
    )
    assert template_of(outcome.after) == wanted


def test_a_layout_and_a_protocol_go_together(tmp_path: Path) -> None:
    recipe = '[protocol]\nturn_start = "<|turn|>"\nturn_end = "<|done|>"\n' + recipe_of(
        {"<|im_start|>user\n": "<|user|>"}
    )
    (tmp_path / "recipe.toml").write_text(f"version = 1\n{recipe}", encoding="utf-8")
    base = build(tmp_path / "src", base=True)
    making.apply(tmp_path / "recipe.toml", base=str(base), out=tmp_path / "out")
    text = template_of(load(tmp_path / "out"))
    assert "('<|user|>' if message.role == 'user' else '<|turn|>' + message.role + '\\n')" in text
    assert "<|im_start|>" not in text
    assert proving.verify(tmp_path / "out").passed


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("a{{ '<|s|>user\\n' + x }}", "a{{ '<U>' + x }}"),
        ("<|s|>user\n{{ x }}", "<U>{{ x }}"),
        (
            "b<|s|>{{ m['role'] }}\nc",
            "b{{ ('<U>' if m['role'] == 'user' else '<|s|>' + m['role'] + '\\n') }}c",
        ),
        (
            "{{ '<|s|>' ~ role }}\n",
            "{{ '' ~ ('<U>' if role == 'user' else '<|s|>' + role + '\\n') }}",
        ),
        (
            "{{ f('<|s|>' + r + '\\n') }}",
            "{{ f('' + ('<U>' if r == 'user' else '<|s|>' + r + '\\n') + '') }}",
        ),
        ("{# <|s|>user\n #}", "{# <|s|>user\n #}"),
        ("{{ '<|s|>' + r | upper + '\\n' }}", "{{ '<|s|>' + r | upper + '\\n' }}"),
        ("{{ '<|s|>' + r + '\\n' * 2 }}", "{{ '<|s|>' + r + '\\n' * 2 }}"),
        ("{{ '<|s|>user' }}", "{{ '<|s|>user' }}"),
        ("{% if %}", "{% if %}"),
    ],
)
def test_where_a_sequence_is_found(template: str, expected: str) -> None:
    tokens = {"<|s|>user\n": "<U>"}
    if template.endswith("\n"):  # the last newline of a template is not written
        template, expected = f"{template}x", f"{expected}x"
    assert with_tokens(template, tokens, ["<|s|>"]).text == expected


def test_an_edit_that_would_change_white_space_is_not_made() -> None:
    text = "<|s|>{{ role }}\n  {% if x %}a{% endif %}"
    found = with_tokens(text, {"<|s|>user\n": "<U>"}, ["<|s|>"])
    assert found.text == text
    assert [place.line for place in found.places] == [1]


def test_two_tokens_for_one_sequence_are_refused(tmp_path: Path) -> None:
    recipe = recipe_of({"<|im_start|>user\n": "<|a|>"}) + recipe_of({"<|im_start|>user\n": "<|b|>"})
    said = problems(build(tmp_path / "src"), recipe)
    assert said == "add[1].sequence: '<|a|>' stands for the same sequence (keep one of the two)"


def test_a_sequence_without_a_special_token_leaves_templates_alone(tmp_path: Path) -> None:
    template = "You are here. {{ messages[0].content }}<|im_end|>"
    files = {"tokenizer_config.json": {"chat_template": template}}
    recipe = recipe_of({"You are here": "<|here|>"})
    outcome = planned(build(tmp_path / "src", files=files), recipe)
    assert template_of(outcome.after) == template
    assert [token.init for token in outcome.plan.tokens] == ["sequence"]


def test_every_template_with_turn_markers_is_tried() -> None:
    assert set(BEGINNINGS) == set(MARKERS)
    assert Tiny().n_tokens() > 0


def test_a_layout_and_a_role_of_the_models_own_go_together(tmp_path: Path) -> None:
    recipe = (
        recipe_of({"<|im_start|>user\n": "<|user|>", "<|im_start|>assistant\n": "<|answer|>"})
        + '[roles]\nplanner = { token = "<|planner|>", side = "output" }\n'
    )
    (tmp_path / "recipe.toml").write_text(f"version = 1\n{recipe}", encoding="utf-8")
    base = build(tmp_path / "src")
    making.apply(tmp_path / "recipe.toml", base=str(base), out=tmp_path / "out")
    out = load(tmp_path / "out")
    anchors = out.value("tokenizer_config.json", "/response_template/start_anchor")
    assert anchors == ["<|answer|>", "<|im_start|>assistant\n"]
    found = proving.verify(tmp_path / "out", witnesses=("transformers",))
    assert found.passed, [check for check in found.checks if check.status == "fail"]


def test_a_token_for_the_end_of_a_turn_ends_generation_and_what_is_read(tmp_path: Path) -> None:
    reading = {
        "start_anchor": "<|im_start|>assistant\n",
        "fields": {
            "thinking": {"open": ["<think>", "<|im_start|>think"], "close": "</think>"},
            "content": {"close_pattern": r"(?:<\|endoftext\|>|<\|im_end\|>)\s*"},
        },
    }
    recipe = recipe_of({"<|im_end|>\n": "<|over|>", "<|im_start|>assistant\n": "<|answer|>"})
    protocol = '[protocol]\nturn_start = "<|turn|>"\nturn_end = "<|done|>"\nmode = "{}"\n'
    ends = {
        "": "<|im_end|>",
        protocol.format("rename"): "<|done|>",
        protocol.format("add"): "<|im_end|>",
    }
    files = {"tokenizer_config.json": {"response_template": reading}}
    folder = build(tmp_path / "src", files=files)
    for first, old in ends.items():
        after = planned(folder, first + recipe).after
        assert after.tokenizer is not None
        stops = after.value("generation_config.json", "/eos_token_id")
        assert isinstance(stops, list)
        texts = [after.tokenizer.added[i].content for i in stops]  # type: ignore[index]
        assert {"<|over|>", old} <= set(texts)
        assert "<|over|>" in template_of(after)
        found: Any = after.value("tokenizer_config.json", "/response_template")
        pattern = re.compile(found["fields"]["content"]["close_pattern"])
        wanted = ["<|endoftext|>", "<|over|>", old, *(["<|done|>"] if "add" in first else [])]
        assert [text for text in wanted if not pattern.fullmatch(text + "\n")] == []
        assert pattern.match("<|turn|>") is None
        start = "<|turn|>" if first else "<|im_start|>"
        assert {"<|answer|>", f"{start}assistant\n"} <= set(found["start_anchor"])
        opens = found["fields"]["thinking"]["open"]
        assert {"<think>", f"{start}think"} <= set(opens)
        assert ("<|im_start|>think" in opens) == ("rename" not in first)
        assert found["fields"]["thinking"]["close"] == "</think>"
