"""The protocol change on every published template whose turns have two markers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Library

from conversations import conversations, rendered
from test_planning import planned, problems
from test_template_markers import SPELLED
from tiny import Added, Tiny
from tokengraft.checkpoint import Checkpoint
from tokengraft.flow.recipes import new_recipe
from tokengraft.formats.loading import load
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.sandbox.templates import TemplateChild

ID, NAMES = ("<|start_header_id|>", "<|eot_id|>"), ("<|im_start|>", "<|im_end|>")
TURN = ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>")
# The markers of each template.
MARKERS = {
    "ByteDance-Seed-OSS": ("<seed:bos>", "<seed:eos>"),
    "CohereForAI-c4ai-command-r-plus-tool_use": TURN,
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": TURN,
    "NVIDIA-Nemotron-Nano-v2": ("<SPECIAL_11>", "<SPECIAL_12>"),
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": NAMES,
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": NAMES,
    "Qwen-QwQ-32B": NAMES,
    "Qwen-Qwen2.5-7B-Instruct": NAMES,
    "Qwen-Qwen3-0.6B": NAMES,
    "fireworks-ai-llama-3-firefunction-v2": ID,
    "google-gemma-2-2b-it": ("<start_of_turn>", "<end_of_turn>"),
    "ibm-granite-granite-3.3-2B-Instruct": ("<|start_of_role|>", "<|end_of_text|>"),
    "meetkai-functionary-medium-v3.1": ID,
    "meetkai-functionary-medium-v3.2": ID,
    "meta-llama-Llama-3.1-8B-Instruct": ID,
    "meta-llama-Llama-3.2-3B-Instruct": ID,
    "meta-llama-Llama-3.3-70B-Instruct": ID,
}
ROLES = "turns of different roles open with different tokens: "
# The templates that have no such pair, with the reason.
WITHOUT = {
    "Mistral-Small-3.2-24B-Instruct-2506": "no token opens turns there",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": f"{ROLES}'<｜User｜>', '<｜Assistant｜>'",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B": f"{ROLES}'<｜User｜>', '<｜Assistant｜>'",
    "deepseek-ai-DeepSeek-V3.1": f"{ROLES}'<｜User｜>', '<｜Assistant｜>'",
    "llama-cpp-deepseek-r1": f"{ROLES}'<｜User｜>', '<｜Assistant｜>'",
    "llama-cpp-rwkv-world": "no token opens turns there",
    "microsoft-Phi-3.5-mini-instruct": f"{ROLES}'<|system|>', '<|user|>', '<|assistant|>'",
    "mistralai-Mistral-Nemo-Instruct-2407": "no token opens turns there",
    "moonshotai-Kimi-K2": f"{ROLES}'<|im_system|>', '<|im_user|>', '<|im_assistant|>'",
    "openai-gpt-oss-120b": "turns end with the eos '<|return|>' in some places and with '<|end|>'",
    "unsloth-mistral-Devstral-Small-2507": "no token opens turns there",
}
# What some templates want, so that they accept all conversations.
WANTS: dict[str, dict[str, Any]] = {
    "CohereForAI-c4ai-command-r-plus-tool_use": {"tools": True},
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": {"tools": True},
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": {"tools": True},
    "fireworks-ai-llama-3-firefunction-v2": {"functions": "[]", "datetime": "now", "as_text": True},
    "meetkai-functionary-medium-v3.1": {"as_text": True},
    "meetkai-functionary-medium-v3.2": {"as_text": True},
    "ByteDance-Seed-OSS": {"as_text": False},
    "google-gemma-2-2b-it": {"plain": True},
    "deepseek-ai-DeepSeek-V3.1": {"as_text": True},
    "llama-cpp-deepseek-r1": {"plain": True},
}
SPECIAL = re.compile(
    r"<\|.*\|>|<｜.*｜>|<SPECIAL_\d+>|<(start|end)_of_turn>|<seed:[be]os>|\[/?[A-Z_]+\]|</?[A-Z]+>"
)
EOS = {"openai-gpt-oss-120b": "<|return|>", "google-gemma-2-2b-it": "</EOS>"}
RECIPE = '[protocol]\nturn_start = "<|turn|>"\nturn_end = "<|turn_end|>"\nmode = "{mode}"\n'


@pytest.fixture(scope="module")
def child() -> Iterator[TemplateChild]:
    with TemplateChild() as child:
        yield child


def with_template(data: Path, name: str, folder: Path) -> Path:
    """A checkpoint with a published template and with the tokens that it writes."""
    text = (data / "templates" / f"{name}.jinja").read_bytes()
    end = MARKERS[name][1] if name in MARKERS else "</EOS>"
    eos = EOS.get(name, end)
    tokens = sorted({*SPELLED.findall(text.decode()), eos, "<BOS>"})
    files = {
        "tokenizer_config.json": {"bos_token": "<BOS>", "eos_token": eos, "pad_token": None},
        "generation_config.json": {"eos_token_id": 3},
    }
    if name == "ByteDance-Seed-OSS":  # its turn start is its bos
        files["tokenizer_config.json"]["bos_token"] = MARKERS[name][0]
    added = [Added(token, special=SPECIAL.fullmatch(token) is not None) for token in tokens]
    Tiny(added=added, template=False, files=files).build(folder)
    (folder / "chat_template.jinja").write_bytes(text)
    return folder


def names_of(checkpoint: Checkpoint) -> dict[str, str]:
    assert checkpoint.tokenizer is not None
    found = {name: checkpoint.tokenizer.named_content(name) for name in ("bos", "eos")}
    return {name: text for name, text in found.items() if text is not None}


def template_of(checkpoint: Checkpoint) -> str:
    assert checkpoint.tokenizer is not None
    template = checkpoint.tokenizer.template()
    assert template is not None
    return template.text


def library(checkpoint: Checkpoint) -> Library:
    return Library.from_str(checkpoint.small_files["tokenizer.json"].decode())


@pytest.mark.parametrize("mode", ["rename", "add"])
@pytest.mark.parametrize("name", MARKERS)
def test_conversations_differ_in_the_markers_alone(
    data: Path, tmp_path: Path, child: TemplateChild, name: str, mode: str
) -> None:
    start, end = MARKERS[name]
    folder = with_template(data, name, tmp_path / "src")
    before, after = load(folder), planned(folder, RECIPE.format(mode=mode)).after
    new = {start: "<|turn|>", end: "<|turn_end|>"}
    old, made = library(before), library(after)
    moved = {made.token_to_id(new[text]): old.token_to_id(text) for text in new}
    count = 0
    for conversation in conversations(**WANTS.get(name, {})):
        text, said = rendered(child, template_of(before), names_of(before), conversation)
        text2, said2 = rendered(child, template_of(after), names_of(after), conversation)
        count += not said
        assert said2 == said
        wanted = re.sub("|".join(map(re.escape, new)), lambda m: new[m.group()], text)
        assert text2 == wanted
        assert (start in text and end in text) or said or conversation["add_generation_prompt"]
        ids = [moved.get(token_id, token_id) for token_id in made.encode(text2).ids]
        assert ids == old.encode(text).ids
    assert count == 20


@pytest.mark.parametrize("name", WITHOUT)
def test_a_template_without_two_markers_is_refused_by_name(
    data: Path, tmp_path: Path, name: str
) -> None:
    folder = with_template(data, name, tmp_path / "src")
    said = problems(folder, RECIPE.format(mode="rename"))
    assert f"chat_template.jinja, {WITHOUT[name]}" in said
    assert "[[rename]] gives each marker another text" in said


@pytest.mark.parametrize("name", [*MARKERS, *WITHOUT])
def test_the_preset_writes_a_recipe_that_works(data: Path, tmp_path: Path, name: str) -> None:
    folder = with_template(data, name, tmp_path / "src")
    text = new_recipe(str(folder), ["protocol"])
    wish, _ = parse_recipe(text)
    assert (wish.protocol is not None) == (name in MARKERS)
    made = planned(folder, text.partition("\n")[2].partition("\n")[2])
    renamed = [token.was for token in made.plan.tokens]
    if name in MARKERS:
        assert sorted(map(str, renamed)) == sorted(MARKERS[name])
    else:
        assert "# [protocol] replaces the one token" in text
        assert len(renamed) == (WITHOUT[name].startswith("turns end") or "rwkv" in name) ^ 1


def test_every_published_template_is_one_or_the_other(data: Path) -> None:
    names = {path.stem for path in (data / "templates").glob("*.jinja")}
    assert names == {*MARKERS, *WITHOUT}
    assert len(names) == 28


@pytest.mark.parametrize("name", WITHOUT)
def test_their_markers_can_be_renamed_one_by_one(
    data: Path, tmp_path: Path, child: TemplateChild, name: str
) -> None:
    folder = with_template(data, name, tmp_path / "src")
    before = load(folder)
    assert before.tokenizer is not None
    olds = [t.content for t in before.tokenizer.added.values() if t.special]
    new = {old: f"<|n{number}|>" for number, old in enumerate(olds)}
    recipe = "".join(f'[[rename]]\nfrom = "{old}"\nto = "{to}"\n' for old, to in new.items())
    after = planned(folder, recipe).after
    old_ids, new_ids = library(before), library(after)
    count = 0
    for conversation in conversations(**WANTS.get(name, {})):
        text, said = rendered(child, template_of(before), names_of(before), conversation)
        text2, said2 = rendered(child, template_of(after), names_of(after), conversation)
        count += not said
        assert re.sub("|".join(map(re.escape, new)), lambda m: new[m.group()], said) == said2
        assert text2 == re.sub("|".join(map(re.escape, new)), lambda m: new[m.group()], text)
        assert new_ids.encode(text2).ids == old_ids.encode(text).ids
    assert count == 20
