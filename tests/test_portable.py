"""What transformers 5 saved is written so that version 4 and others read the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oracles.asking import ask
from test_planning import planned
from tiny import DROP, Tiny, build
from tokengraft.flow import making, proving
from tokengraft.formats.loading import load

V5_TOKENIZER: dict[str, Any] = {
    "additional_special_tokens": DROP,
    "added_tokens_decoder": DROP,
    "extra_special_tokens": ["<|im_start|>", "<|im_end|>"],
}
THETA = 1_000_000.0
V5_ROPE: dict[str, Any] = {
    "rope_theta": DROP,
    "rope_scaling": DROP,
    "rope_parameters": {"rope_theta": THETA, "rope_type": "default"},
}
V5 = {"tokenizer_config.json": V5_TOKENIZER, "config.json": V5_ROPE}
ADD = '[[add]]\ntext = "<|x|>"\n\n[[rename]]\nfrom = "<|im_start|>"\nto = "<|turn|>"\n'


@pytest.mark.oracle4
@pytest.mark.oracle5
def test_what_version_5_saved_is_read_by_both_after_a_plan(
    tmp_path: Path, tf4: Path, tf5: Path
) -> None:
    folder = build(tmp_path / "src", files=V5, template="jinja")
    path = tmp_path / "r.toml"
    path.write_text(f"version = 1\n{ADD}", encoding="utf-8")
    making.apply(path, base=str(folder), out=tmp_path / "out")
    job = {"folder": str(tmp_path / "out"), "tokens": ["<|x|>", "<|turn|>"], "texts": ["a<|x|>"]}
    told = {}
    for python, major in ((tf4, "4"), (tf5, "5")):
        old = ask(python, "ask_tokenizers.py", [{"folder": str(folder)}], home=tmp_path / "old")
        assert ("error" in old[0]["auto"]) == (major == "4")  # version 4 cannot load the base
        answer = ask(python, "ask_tokenizers.py", [job], home=tmp_path / major)[0]
        told[major] = answer["auto"]
        assert answer["auto"]["ids"] == {"<|x|>": 294, "<|turn|>": 288}
        assert "<|x|>" in answer["auto"]["special"]
        theta = answer["config"]["theta"] or answer["config"]["rope"]["rope_theta"]
        assert theta == THETA
    assert told["4"]["special"] == told["5"]["special"]
    assert told["4"]["texts"] == told["5"]["texts"]
    assert proving.verify(tmp_path / "out", against=str(folder)).passed


def test_an_empty_recipe_mends_spellings_that_mislead_and_nothing_else(tmp_path: Path) -> None:
    outcome = planned(build(tmp_path / "src", files=V5))
    assert sorted(edit.path for edit in outcome.plan.edits if hasattr(edit, "path")) == [
        "config.json",
        "tokenizer_config.json",
    ]
    after = outcome.after
    assert after.value("tokenizer_config.json", "/extra_special_tokens") is None
    assert after.value("tokenizer_config.json", "/additional_special_tokens") == [
        "<|im_start|>",
        "<|im_end|>",
    ]
    assert after.value("tokenizer_config.json", "/added_tokens_decoder") is None
    assert after.value("config.json", "/rope_theta") == THETA
    assert len(outcome.plan.reconciled) == 2
    again = planned(build(tmp_path / "plain"))
    assert not again.plan.changes_anything


def test_scaling_is_mirrored_and_nested_parameters_are_left(tmp_path: Path) -> None:
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    rope = {**V5_ROPE, "rope_parameters": {**yarn, "rope_theta": 10_000.0}}
    after = planned(build(tmp_path / "yarn", files={"config.json": rope})).after
    assert after.value("config.json", "/rope_scaling") == yarn
    assert after.value("config.json", "/rope_theta") == 10_000.0
    nested = {"full_attention": {"rope_theta": THETA, "rope_type": "default"}}
    rope = {**V5_ROPE, "rope_parameters": nested}
    left = planned(build(tmp_path / "nested", files={"config.json": rope}))
    assert not left.plan.changes_anything


def test_lists_are_joined_without_doubles(tmp_path: Path) -> None:
    both = {"additional_special_tokens": ["<|im_end|>"], "extra_special_tokens": ["<|im_start|>"]}
    both["extra_special_tokens"].append("<|im_end|>")
    after = planned(build(tmp_path / "src", files={"tokenizer_config.json": both})).after
    listed = after.value("tokenizer_config.json", "/additional_special_tokens")
    assert listed == ["<|im_end|>", "<|im_start|>"]


@pytest.mark.parametrize("place", ["config", "jinja"])
def test_a_changed_template_stands_in_both_places(place: str, tmp_path: Path) -> None:
    folder = build(tmp_path / "src", template=place)
    recipe = '[[rename]]\nfrom = "<|im_start|>"\nto = "<|turn|>"\n'
    after = planned(folder, recipe).after
    texts = {(t.file, t.pointer): t.text for t in after.tokenizer.templates}  # type: ignore[union-attr]
    assert set(texts) == {("chat_template.jinja", ""), ("tokenizer_config.json", "/chat_template")}
    assert len(set(texts.values())) == 1
    assert "<|turn|>" in texts["chat_template.jinja", ""]


def test_an_untouched_template_stays_where_it_is(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", template="config")
    after = planned(folder, '[[add]]\ntext = "<|x|>"\n').after
    assert after.tokenizer is not None
    assert len(after.tokenizer.templates) == 1


def test_a_table_is_written_where_the_plan_changes_it(tmp_path: Path) -> None:
    dropped = {"tokenizer_config.json": {"added_tokens_decoder": DROP}}
    folder = build(tmp_path / "src", files=dropped)
    after = planned(folder, '[[add]]\ntext = "<|x|>"\n').after
    table = after.value("tokenizer_config.json", "/added_tokens_decoder")
    assert isinstance(table, dict)
    assert [int(key) for key in table] == [*Tiny().table(), Tiny().n_tokens()]
    assert load(folder).value("tokenizer_config.json", "/added_tokens_decoder") is None


@pytest.mark.parametrize("v5", [False, True])
def test_a_table_that_is_written_whole_survives_renames_that_follow_each_other(
    v5: bool,
    tmp_path: Path,
) -> None:
    files = {"tokenizer_config.json": V5_TOKENIZER if v5 else {}}
    recipe = (
        '[[rename]]\nfrom = "<|im_start|>"\nto = "<|turn|>"\n'
        '[[rename]]\nfrom = "<|im_end|>"\nto = "<|im_start|>"\n'
    )
    after = planned(build(tmp_path / "src", files=files), recipe).after
    table = after.value("tokenizer_config.json", "/added_tokens_decoder")
    assert isinstance(table, dict)
    assert [entry["content"] for entry in table.values()][1:3] == ["<|turn|>", "<|im_start|>"]  # type: ignore[index, call-overload]
    listed = after.value("tokenizer_config.json", "/additional_special_tokens")
    assert listed == ["<|turn|>", "<|im_start|>"]
