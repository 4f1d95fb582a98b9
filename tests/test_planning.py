"""Planning: pure, complete, and never further than the files allow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tiny import QWEN_LIKE, Tiny, build
from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import (
    ConflictingFiles,
    RecipeError,
    RefusedError,
    UnsafePath,
    UnsupportedFormat,
)
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.loading import load
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.planning import Outcome, Ports, plan
from tokengraft.planning.predicting import edited_files
from tokengraft.plans import Keep, Mean, Mix, PatchJson, Plan, SetKey

N_TOKENS = Tiny().n_tokens()
N_ROWS = Tiny().rows()


def fake_encode(texts: Sequence[str]) -> list[list[int]]:
    """One id a word, so that a mean is easy to check by hand."""
    return [[10 + len(word) for word in text.split()] for text in texts]


def planned(
    folder: Path | Checkpoint, recipe: str = "", encode: Callable[..., object] | None = fake_encode
) -> Outcome:
    wish, text = parse_recipe(f"version = 1\n{recipe}")
    checkpoint = load(folder) if isinstance(folder, Path) else folder
    ports = Ports(encode=encode, digest=lambda name: f"digest of {name}")  # type: ignore[arg-type]
    return plan(checkpoint, wish, text=text, tool="tokengraft test", ports=ports)


def problems(folder: Path, recipe: str) -> str:
    with pytest.raises(RecipeError) as caught:
        planned(folder, recipe)
    return caught.value.detail


def add(text: str, **keys: str) -> str:
    lines = [f'text = "{text}"', *(f"{key} = {value}" for key, value in keys.items())]
    return "[[add]]\n" + "\n".join(lines) + "\n"


def changes(made: Plan, path: str) -> dict[str, object]:
    edits = [e for e in made.edits if isinstance(e, PatchJson) and e.path == path]
    return {c.pointer: c.value for e in edits for c in e.changes if isinstance(c, SetKey)}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("shards", [1, 2])
def test_an_empty_recipe_on_files_in_step_changes_nothing(
    tmp_path: Path, tied: bool, shards: int
) -> None:
    made = planned(build(tmp_path / "src", tied=tied, shards=shards)).plan
    assert made.edits == ()
    assert not made.changes_anything
    assert {file.action for file in made.files} == {"copy"}
    assert made.ids is not None
    assert made.ids.before == made.ids.after


def test_the_same_recipe_gives_the_same_plan_to_the_byte(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", out_of_step=True)
    recipe = add("<|x|>") + '[pad]\ntoken = "<|pad|>"\n'
    assert planned(folder, recipe).plan.to_json() == planned(folder, recipe).plan.to_json()


def test_files_out_of_step_are_reconciled_first_and_the_plan_says_so(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", out_of_step=True)
    outcome = planned(folder, add("<|x|>"))
    assert len(outcome.plan.reconciled) == 1
    assert (
        "tokenizer.json declares 5 added tokens, tokenizer_config.json 7"
        in (outcome.plan.reconciled[0])
    )
    assert [(t.text, t.action) for t in outcome.plan.tokens] == [
        ("<think>", "keep"),
        ("</think>", "keep"),
        ("<|x|>", "add"),
    ]
    assert [t.id for t in outcome.plan.tokens] == [N_TOKENS - 2, N_TOKENS - 1, N_TOKENS]


def test_an_empty_recipe_only_reconciles_files_out_of_step(tmp_path: Path) -> None:
    made = planned(build(tmp_path / "src", out_of_step=True)).plan
    assert [edit.kind for edit in made.edits] == ["patch-json"]
    assert made.totals.rows_written == 0


def test_new_tokens_take_spare_rows_before_any_matrix_grows(tmp_path: Path) -> None:
    outcome = planned(build(tmp_path / "src"), add("<|x|>") + add("<|y|>"))
    rows = outcome.plan.row_edits()["lm_head.weight"]
    assert rows.n_rows_after == rows.n_rows_before == N_ROWS
    assert rows.rows[0] == Keep(first=0, count=N_TOKENS)
    assert rows.rows[-1] == Keep(first=N_TOKENS + 2, count=N_ROWS - N_TOKENS - 2)
    assert changes(outcome.plan, "config.json") == {}


def test_past_the_spare_rows_all_matrices_grow_to_a_multiple_of_64(tmp_path: Path) -> None:
    count = N_ROWS - N_TOKENS + 3
    recipe = "".join(add(f"<|t{number}|>") for number in range(count))
    outcome = planned(build(tmp_path / "src", shards=2), recipe)
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        rows = outcome.plan.row_edits()[name]
        assert rows.n_rows_after == N_ROWS + 64
        assert rows.rows[-1] == Mean(first=0, count=N_TOKENS, rows=61)
    assert changes(outcome.plan, "config.json") == {"/vocab_size": N_ROWS + 64}
    assert outcome.after.tensors is not None
    assert outcome.after.tensors.total_size == outcome.after.tensors.size_bytes
    assert outcome.after.layout is not None
    assert outcome.after.layout.n_rows == N_ROWS + 64


def test_a_tied_model_gets_new_rows_in_its_one_matrix(tmp_path: Path) -> None:
    made = planned(build(tmp_path / "src", tied=True), add("<|x|>")).plan
    assert list(made.row_edits()) == ["model.embed_tokens.weight"]


def test_rows_start_from_the_meaning_then_the_words_and_copies_from_like(tmp_path: Path) -> None:
    recipe = (
        add("<|a|>", meaning='"one three"')
        + add("<|four_sixsix|>")
        + add("<|c|>", like='"<|im_start|>"')
        + add("<|z|>", init='"zero"')
        + add("<|m|>", init='"mean"')
    )
    made = planned(build(tmp_path / "src"), recipe).plan
    sources = [(t.init, t.rows[0].source) for t in made.tokens]
    start = Tiny().table()
    im_start = next(i for i, t in start.items() if t.content == "<|im_start|>")
    assert sources == [
        ("meaning-mean", Mix(parents=((13, 0.5), (15, 0.5)))),
        ("words-mean", Mix(parents=((14, 0.5), (16, 0.5)))),
        ("copy", Mix(parents=((im_start, 1.0),))),
        ("zero", Mix(parents=())),
        ("mean", Mean(first=0, count=N_TOKENS)),
    ]


def test_without_a_tokenizer_to_ask_rows_start_at_the_mean(tmp_path: Path) -> None:
    made = planned(build(tmp_path / "src"), add("<|x|>", meaning='"a b"'), encode=None).plan
    assert made.tokens[0].init == "mean"


def test_flags_follow_the_use_and_can_be_set(tmp_path: Path) -> None:
    recipe = (
        add("<|role|>", use='"role"')
        + add("<tool>", use='"tool"')
        + add("<|deep|>", use='"thinking"')
        + add("<plain>", special="false", lstrip="true")
    )
    made = planned(build(tmp_path / "src"), recipe).plan
    assert [t.special for t in made.tokens] == [True, False, False, False]
    assert made.tokens[3].lstrip


def test_a_claimed_token_keeps_its_id_and_gets_a_row_and_flags(tmp_path: Path) -> None:
    start = Tiny().table()
    unused = next(i for i, t in start.items() if t.content == "</tool_call>")
    folder = build(tmp_path / "src", template=False)
    outcome = planned(folder, add("<|mine|>", into=str(unused), use='"role"'))
    token = outcome.plan.tokens[0]
    assert (token.id, token.action, token.was) == (unused, "claim", "</tool_call>")
    assert outcome.after.tokenizer is not None
    assert outcome.after.tokenizer.added[unused].content == "<|mine|>"  # type: ignore[index]
    assert outcome.after.tokenizer.n_tokens == N_TOKENS
    assert outcome.plan.row_edits()["lm_head.weight"].rows[0] == Keep(first=0, count=unused)


def test_a_token_in_use_cannot_be_claimed(tmp_path: Path) -> None:
    start = Tiny().table()
    im_end = next(i for i, t in start.items() if t.content == "<|im_end|>")
    text = problems(build(tmp_path / "src"), add("<|mine|>", into=str(im_end)))
    assert "is in use" in text


def test_renaming_follows_every_file_and_keeps_rows(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", template="both", legacy=True)
    outcome = planned(folder, '[[rename]]\nfrom = "<|im_end|>"\nto = "<|end|>"\n')
    made = outcome.plan
    assert made.row_edits() == {}
    files = edited_files(load(folder), made.edits, made.tokens)
    assert sorted(files) == [
        "added_tokens.json",
        "chat_template.jinja",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for data in files.values():
        assert b"<|im_end|>" not in data
        assert b"<|end|>" in data
    assert outcome.after.tokenizer is not None
    assert outcome.after.tokenizer.named_content("eos") == "<|end|>"


def test_a_stop_list_gains_the_turn_end_and_keeps_what_it_has(tmp_path: Path) -> None:
    made = planned(build(tmp_path / "src", base=True)).plan
    start = {t.content: i for i, t in Tiny().table().items()}
    assert changes(made, "generation_config.json") == {
        "/eos_token_id": [start["<|endoftext|>"], start["<|im_end|>"]]
    }


def test_a_stop_list_can_be_left_alone(tmp_path: Path) -> None:
    made = planned(build(tmp_path / "src", base=True), '[stop]\ntokens = "keep"\n').plan
    assert made.edits == ()


def test_without_a_generation_config_one_is_made_for_the_stop_list(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", base=True, files={"generation_config.json": None})
    outcome = planned(folder)
    assert [edit.kind for edit in outcome.plan.edits] == ["write-file"]
    start = {t.content: i for i, t in Tiny().table().items()}
    assert outcome.after.value("generation_config.json", "/eos_token_id") == [
        start["<|endoftext|>"],
        start["<|im_end|>"],
    ]


def test_a_pad_that_is_not_eos_is_left_alone(tmp_path: Path) -> None:
    made = planned(build(tmp_path / "src"), '[pad]\ntoken = "auto"\n').plan
    assert changes(made, "tokenizer_config.json") == {}
    assert made.tokens == ()


def test_a_pad_that_is_eos_is_replaced_in_every_file(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", base=True, legacy=True)
    outcome = planned(folder, '[pad]\ntoken = "auto"\n[stop]\ntokens = "keep"\n')
    made = outcome.plan
    assert [(t.text, t.id) for t in made.tokens] == [("<|pad|>", N_TOKENS)]
    assert changes(made, "tokenizer_config.json") == {"/pad_token": "<|pad|>"}
    assert changes(made, "special_tokens_map.json") == {"/pad_token": "<|pad|>"}
    assert changes(made, "config.json") == {"/pad_token_id": N_TOKENS}
    assert changes(made, "generation_config.json") == {"/pad_token_id": N_TOKENS}


def test_an_existing_unused_token_is_taken_as_pad_before_a_new_one(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", base=True, added=(*QWEN_LIKE, "<|vision_pad|>"))
    made = planned(folder, '[pad]\ntoken = "auto"\n').plan
    assert made.tokens == ()
    assert changes(made, "tokenizer_config.json") == {"/pad_token": "<|vision_pad|>"}


def test_eos_is_refused_as_pad(tmp_path: Path) -> None:
    assert "never stops" in problems(build(tmp_path / "src"), '[pad]\ntoken = "<|im_end|>"\n')


def test_context_fields_are_set_together(tmp_path: Path) -> None:
    made = planned(build(tmp_path / "src"), "[context]\nlength = 1024\n").plan
    assert changes(made, "config.json") == {
        "/rope_scaling": {
            "rope_type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 256,
        },
        "/max_position_embeddings": 1024,
    }
    assert changes(made, "tokenizer_config.json") == {"/model_max_length": 1024}
    assert any("256 trained positions" in note for note in made.notes)


@pytest.mark.parametrize("method", ["linear", "dynamic"])
def test_linear_and_dynamic_scaling_keep_the_length_that_engines_multiply(
    tmp_path: Path, method: str
) -> None:
    recipe = f'[context]\nlength = 512\nmethod = "{method}"\n'
    made = planned(build(tmp_path / "src"), recipe).plan
    assert changes(made, "config.json") == {"/rope_scaling": {"rope_type": method, "factor": 2.0}}


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("[context]\nlength = 256\n", "within the 256 positions"),
        (add(" <|x|>"), "white space"),
        (add("   "), "only white space"),
        (add("é\\u0120x"), "would decode to something else"),
        (add("a\\u200bb"), "invisible"),
        (add("e\\u0301"), "normal form C"),
        (add("x" * 300), "the limit is 256"),
        (add("hello"), "ordinary piece of the vocabulary already"),
        (add("<|x|>", init='"clever"'), "no initializer is named"),
        (add("<|x|>", like='"<|nobody|>"'), "is no token of the base"),
        (add("<|x|>", init='"copy"'), "copy needs `like`"),
        (add("<|x|>", init='"meaning-mean"'), "needs `meaning`"),
        (add("<|x|>", into="3"), "id 3 is no added token"),
        ('[[rename]]\nfrom = "<|im_ende|>"\nto = "<|e|>"\n', "did you mean '<|im_end|>'"),
        ('[[rename]]\nfrom = "hello"\nto = "<|e|>"\n', "ordinary piece"),
        ('[[rename]]\nfrom = "<|im_end|>"\nto = "<think>"\n', "is a token already"),
        ('[lora]\nadapter = "a"\n', "cannot be read here"),
        (add("<think>", special="true"), "exists as"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_place(tmp_path: Path, recipe: str, said: str) -> None:
    assert said in problems(build(tmp_path / "src"), recipe)


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    recipe = add(" <|x|>") + add("<|y|>", init='"clever"') + '[pad]\ntoken = "<|im_end|>"\n'
    assert len(problems(build(tmp_path / "src"), recipe).splitlines()) == 3


def test_adding_what_exists_is_noted_and_adds_nothing(tmp_path: Path) -> None:
    made = planned(build(tmp_path / "src"), add("<think>")).plan
    assert made.tokens == ()
    assert "nothing is added" in made.notes[0]


def test_contradicting_files_are_refused_by_name(tmp_path: Path) -> None:
    other = {str(i): {"content": f"<|n{i}|>"} for i in Tiny().table()}
    folder = build(
        tmp_path / "src", files={"tokenizer_config.json": {"added_tokens_decoder": other}}
    )
    with pytest.raises(ConflictingFiles) as caught:
        planned(folder, add("<|x|>"))
    assert "tokenizer_config.json" in caught.value.subject


def test_a_vocabulary_with_a_hole_is_refused_where_libraries_would_shift_ids(
    tmp_path: Path,
) -> None:
    folder = build(tmp_path / "src")
    path = folder / "tokenizer.json"
    vocab = max(Tiny().vocab().values())
    path.write_bytes(path.read_bytes().replace(f": {vocab - 1},".encode(), b": 290,", 1))
    with pytest.raises((ConflictingFiles, RecipeError)):
        planned(folder, add("<|x|>"))


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = build(tmp_path / "src")
    (folder / "notes.txt").symlink_to("/etc/hostname")
    with pytest.raises(UnsafePath):
        planned(folder)


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", shards=2)
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ConflictingFiles, match="disagree on model-00002"):
        planned(folder, add("<|x|>"))


def test_pickled_weights_alone_are_refused(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", shards=0)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(UnsupportedFormat):
        load(folder)


def test_without_weights_rows_are_planned_by_name_and_growth_is_refused(tmp_path: Path) -> None:
    whole = build(tmp_path / "whole", shards=2)
    small = build(tmp_path / "src", shards=0)
    index = "model.safetensors.index.json"
    (small / index).write_bytes((whole / index).read_bytes())
    made = planned(small, add("<|x|>")).plan
    assert sorted(made.row_edits()) == ["lm_head.weight", "model.embed_tokens.weight"]
    assert any("applied to the whole checkpoint" in note for note in made.notes)
    too_many = "".join(add(f"<|t{n}|>") for n in range(N_ROWS - N_TOKENS + 1))
    with pytest.raises(RefusedError, match="no weights to grow"):
        planned(small, too_many)


def test_predicted_files_are_what_the_edits_make_of_the_real_ones(tmp_path: Path) -> None:
    folder = build(tmp_path / "src", out_of_step=True, base=True)
    outcome = planned(folder, add("<|x|>") + '[pad]\ntoken = "<|pad|>"\n')
    files = edited_files(load(folder), outcome.plan.edits, outcome.plan.tokens)
    for path, data in files.items():
        assert parse_json(data, file=path).value == outcome.after.value(path)
