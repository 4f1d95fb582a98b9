"""Files that disagree are put into step first, and the plan says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from test_planning import add, changes, planned
from tiny import QWEN_LIKE, Added, Tiny, build
from tokengraft.errors import RecipeError, UnsupportedFormat
from tokengraft.flow import making
from tokengraft.flow.recipes import new_recipe
from tokengraft.formats.loading import load
from tokengraft.formats.recipe_file import parse_recipe


def ids() -> dict[str, int]:
    return {token.content: token_id for token_id, token in Tiny().table().items()}


def test_flags_that_differ_follow_the_file_that_loaders_believe(tmp_path: Path) -> None:
    decoder = {str(i): {"content": t.content} for i, t in Tiny().table().items()}
    for token_id, token in Tiny().table().items():
        decoder[str(token_id)]["special"] = token.content != "<think>" and token.special
    decoder[str(ids()["<think>"])]["special"] = True
    files = {"tokenizer_config.json": {"added_tokens_decoder": decoder}}
    outcome = planned(build(tmp_path / "src", files=files))
    assert "gives <think> other flags" in outcome.plan.reconciled[0]
    assert outcome.after.tokenizer is not None
    flags = {
        dict(table.tokens)[ids()["<think>"]].special  # type: ignore[index]
        for table in outcome.after.tokenizer.declared
    }
    assert flags == {True}


def test_stale_entries_of_added_tokens_json_are_put_right(tmp_path: Path) -> None:
    stale = {"<think>": 7, "<gone>": 9, "</think>": ids()["</think>"]}
    folder = build(tmp_path / "src", legacy=True)
    (folder / "added_tokens.json").write_text(str(stale).replace("'", '"'), encoding="utf-8")
    outcome = planned(folder)
    assert outcome.after.value("added_tokens.json") == ids()
    assert any("that the other files contradict" in line for line in outcome.plan.reconciled)


def test_the_pad_that_is_found_is_named_in_a_note(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", base=True, added=(*QWEN_LIKE, "<|vision_pad|>"))
    made = planned(folder, '[pad]\ntoken = "auto"\n').plan
    assert any("padding will be '<|vision_pad|>'" in note for note in made.notes)


def test_tokens_are_refused_where_the_input_rows_cannot_be_edited(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", files={"config.json": {"model_type": "mllama_text_model"}})
    path = folder / "model.safetensors"
    # Same length, so that the header stays whole: a name that is a quantised matrix's.
    data = path.read_bytes().replace(b"model.embed_tokens.weight", b"model.embed_xtokens.scale", 1)
    path.write_bytes(data)
    with pytest.raises(UnsupportedFormat):
        planned(folder, add("<|x|>"))


def test_a_list_of_special_tokens_gains_the_special_ones(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", legacy=True)
    recipe = add("<|role|>", use='"role"') + add("<tool>", use='"tool"')
    outcome = planned(folder, recipe)
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        listed = outcome.after.value(file, "/additional_special_tokens")
        assert isinstance(listed, list)
        assert listed[-1] == "<|role|>"
        assert "<tool>" not in listed


def test_padding_that_is_baked_into_the_tokenizer_follows(tmp_path: Path) -> None:
    baked = {"pad_id": ids()["<|endoftext|>"], "pad_token": "<|endoftext|>", "pad_type_id": 0}
    files = {"tokenizer.json": {"padding": baked}}
    made = planned(
        build(tmp_path / "src", base=True, files=files), '[pad]\ntoken = "<|pad|>"\n'
    ).plan
    assert changes(made, "tokenizer.json") == {
        "/padding/pad_id": Tiny().n_tokens(),
        "/padding/pad_token": "<|pad|>",
    }


@pytest.mark.parametrize("preset", ["roles", "tools", "thinking", "protocol", "pad", "context"])
def test_a_recipe_from_a_preset_can_be_planned_as_it_is(tmp_path: Path, preset: str) -> None:
    folder = build(tmp_path / "src", base=True)
    wish, text = parse_recipe(new_recipe(str(folder), [preset]))
    made = making.plan_recipe(load(folder), wish, text=text, source=str(folder)).plan
    assert made.changes_anything


def test_a_token_of_a_byte_fallback_model_is_planned_like_any_other(tmp_path: Path) -> None:
    outcome = planned(build(tmp_path / "src", kind="byte-fallback", tied=True), add("<|x|>"))
    assert outcome.plan.tokens[0].id == Tiny(kind="byte-fallback").n_tokens()


def test_a_claimed_id_must_be_an_added_token_that_nothing_uses(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", added=(*QWEN_LIKE, Added("<|spare|>", special=True)))
    spare = Tiny().n_tokens()
    assert planned(folder, add("<|x|>", into=str(spare))).plan.tokens[0].action == "claim"
    with pytest.raises(RecipeError):
        planned(folder, add("<|x|>", into=str(ids()["<|im_start|>"])))
