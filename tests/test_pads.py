"""`[pad]`: an existing unused token first, never eos, never without a row, in every file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from test_planning import add, changes, planned, problems
from tiny import QWEN_LIKE, Tiny, build
from tokengraft.flow import making

AUTO = '[pad]\ntoken = "auto"\n'
CONFIG, GENERATION = "tokenizer_config.json", "generation_config.json"
N = Tiny().n_tokens()
ID = {token.content: token_id for token_id, token in Tiny().table().items()}


def named(text: str) -> str:
    return f'[pad]\ntoken = "{text}"\n'


def test_every_file_that_holds_a_pad_token_names_the_new_one(tmp_path: Path) -> None:
    files: dict[str, dict[str, Any]] = {
        "config.json": {
            "text_config": {"model_type": "qwen3", "pad_token_id": 1, "vocab_size": 320}
        },
        "tokenizer.json": {"padding": {"pad_id": 1, "pad_token": "x", "pad_type_id": 0}},
        CONFIG: {"pad_token": {"content": "<|endoftext|>", "special": True}},
    }
    folder = build(tmp_path / "src", base=True, legacy=True, files=files)
    outcome = planned(folder, AUTO)
    after = outcome.after
    assert after.value(CONFIG, "/pad_token") == "<|pad|>"
    assert after.value("special_tokens_map.json", "/pad_token") == "<|pad|>"
    assert after.value("config.json", "/pad_token_id") == N
    assert after.value("config.json", "/text_config/pad_token_id") == N
    assert after.value(GENERATION, "/pad_token_id") == N
    assert after.value("tokenizer.json", "/padding/pad_id") == N
    assert after.value("tokenizer.json", "/padding/pad_token") == "<|pad|>"
    assert after.value("added_tokens.json", "/<|pad|>") == N


def test_a_pad_token_that_is_renamed_stays_the_pad_token(tmp_path: Path) -> None:
    rename = '[[rename]]\nfrom = "<|endoftext|>"\nto = "<|fill|>"\n'
    made = planned(build(tmp_path / "src"), rename + AUTO).plan
    assert [(token.text, token.action) for token in made.tokens] == [("<|fill|>", "rename")]
    assert changes(made, CONFIG)["/pad_token"] == "<|fill|>"
    assert changes(made, GENERATION) == {}


def test_a_present_pad_without_a_row_is_replaced(tmp_path: Path) -> None:
    files = {CONFIG: {"pad_token": "<|pad|>"}}
    tokens = (*QWEN_LIKE, "<|x|>", "<|pad|>")
    folder = build(tmp_path / "src", added=tokens, files=files, n_rows=N + 1)
    made = planned(folder, AUTO).plan
    assert [token.text for token in made.tokens] == ["<|pad_2|>"]
    assert changes(made, CONFIG)["/pad_token"] == "<|pad_2|>"
    assert f"'<|pad|>' has the id {N + 1}, and there is no row for it" in problems(
        folder, named("<|pad|>")
    )


def test_a_present_pad_that_the_template_writes_is_replaced(tmp_path: Path) -> None:
    files = {CONFIG: {"pad_token": "<|im_start|>"}}
    made = planned(build(tmp_path / "src", files=files), AUTO).plan
    assert [token.text for token in made.tokens] == ["<|pad|>"]


def test_a_new_pad_has_a_text_that_no_token_has(tmp_path: Path) -> None:
    files = {CONFIG: {"eos_token": "<|pad|>", "pad_token": None}}
    folder = build(tmp_path / "src", added=(*QWEN_LIKE, "<|pad|>"), files=files)
    assert [token.text for token in planned(folder, AUTO).plan.tokens] == ["<|pad_2|>"]


def test_a_pad_that_the_recipe_adds_is_taken(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", base=True)
    for recipe in (add("<|pad|>") + AUTO, add("<|pad|>") + named("<|pad|>")):
        made = planned(folder, recipe).plan
        assert [(token.text, token.use) for token in made.tokens] == [("<|pad|>", "marker")]
        assert changes(made, "config.json") == {"/pad_token_id": N}


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (named("<|im_end|>"), "'<|im_end|>' is an eos token: a model trained with it as padding"),
        (named("<|im_start|>"), "the chat template in tokenizer_config.json writes '<|im_start|>'"),
        (named("<think>"), "the chat template in tokenizer_config.json writes '<think>'"),
        (named("hello"), "'hello' is an ordinary piece of the vocabulary"),
        (
            add("<|r|>", use='"role"') + named("<|r|>"),
            "'<|r|>' is to be learned, and a pad token is not: training leaves it out",
        ),
        (
            '[[rename]]\nfrom = "<|im_start|>"\nto = "<|x|>"\n' + named("<|x|>"),
            "the chat template in tokenizer_config.json writes '<|x|>'",
        ),
        (
            '[protocol]\nturn_start = "<|a|>"\nturn_end = "<|b|>"\nmode = "add"\n' + named("<|a|>"),
            "the chat template in tokenizer_config.json writes '<|a|>'",
        ),
    ],
)
def test_what_is_used_for_something_else_is_refused(
    tmp_path: Path, recipe: str, words: str
) -> None:
    assert words in problems(build(tmp_path / "src"), recipe)


def test_the_turn_end_of_a_base_model_is_refused_too(tmp_path: Path) -> None:
    said = problems(build(tmp_path / "src", base=True), named("<|im_end|>"))
    assert "'<|im_end|>' ends the turns of the chat template" in said


@pytest.mark.parametrize("name", ["qwen3-30b-a3b-base", "minimind", "phi-2", "gpt2", "roberta"])
def test_real_tokenizers_get_a_pad_token_that_is_fit(data: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "pad.toml").write_text(f"version = 1\n{AUTO}", encoding="utf-8")
    folder = data / "tokenizers" / name
    made = making.make_plan(str(folder), tmp_path / "pad.toml")
    tokenizer = made.checkpoint.tokenizer
    assert tokenizer is not None
    pad = changes(made.plan, CONFIG).get("/pad_token", tokenizer.named_content("pad"))
    wanted = {
        "qwen3-30b-a3b-base": "<|vision_pad|>",
        "minimind": "<|endoftext|>",  # its eos is <|im_end|>
        "roberta": "<pad>",
    }
    assert pad == wanted.get(name, "<|pad|>")
