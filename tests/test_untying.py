"""`[rows] untie`: a tied model gets a second matrix; old ids keep their bits, and all else stays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import grafts
import tiny
from raw_tensors import tensor_bytes, write_weights
from tokengraft import applying, flow
from tokengraft.errors import RecipeError
from tokengraft.families import families
from tokengraft.flow import making
from tokengraft.formats.loading import load
from tokengraft.formats.plan_files import read_plan
from tokengraft.plans import Keep
from tokengraft.results import Verification

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
ADD = '[[add]]\ntext = "<|a|>"\nuse = "tool"\ninit = "first-last"\n'
UNTIE = f"version = 1\n{ADD}[rows]\nuntie = true\n"
MANY = "".join(f'[[add]]\ntext = "<|many_{n}|>"\n' for n in range(80))


def written(folder: Path, recipe: str = UNTIE) -> Path:
    path = folder / "recipe.toml"
    path.write_text(recipe, encoding="utf-8")
    return path


def made(base: Path, folder: Path, recipe: str = UNTIE) -> tuple[Path, Verification]:
    """The output, and what `verify` says of it beside its base."""
    out = folder / "out"
    flow.apply(written(folder, recipe), base=str(base), out=out)
    return out, flow.verify(out, against=str(base))


def failures(told: Verification) -> list[str]:
    return [f"{check.name}: {check.evidence}" for check in told.checks if check.status == "fail"]


def refusal(base: Path, folder: Path, recipe: str = UNTIE) -> str:
    with pytest.raises(RecipeError) as caught:
        flow.make_plan(str(base), written(folder, recipe))
    return caught.value.detail


def notes(base: Path, folder: Path, recipe: str) -> tuple[str, ...]:
    return flow.make_plan(str(base), written(folder, recipe)).plan.notes


# ── what is made ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("more", ["", MANY], ids=["spare", "grown"])
@pytest.mark.parametrize(
    "fields",
    [
        {"dtype": "BF16", "shards": 1},
        {"dtype": "F16", "shards": 2},
        {"dtype": "F32", "shards": 2, "kind": "byte-fallback"},
    ],
    ids=str,
)
def test_both_matrices_hold_the_old_rows_bit_for_bit(
    tmp_path: Path, fields: dict[str, Any], more: str
) -> None:
    base = tiny.build(tmp_path / "base", tied=True, **fields)
    out, told = made(base, tmp_path, UNTIE + more)
    assert [] == failures(told)
    old, new = tensor_bytes(base), tensor_bytes(out)
    dtype, (n_rows, width), rows = old[EMBED]
    assert {*old, HEAD} == set(new)
    assert {name: value for name, value in old.items() if name != EMBED} == {
        name: new[name] for name in old if name != EMBED
    }
    n_tokens = _n_tokens(base)
    kept = n_tokens * len(rows) // n_rows
    for name in (EMBED, HEAD):
        assert (dtype, width) == (new[name][0], new[name][1][1])
        assert rows[:kept] == new[name][2][:kept], name
    assert new[EMBED][2] != new[HEAD][2], "the new token is read by one row and written by another"
    config = json.loads((out / "config.json").read_text())
    assert (False, new[HEAD][1][0]) == (config["tie_word_embeddings"], config["vocab_size"])


def _n_tokens(base: Path) -> int:
    tokenizer = load(base).tokenizer
    assert tokenizer is not None
    return tokenizer.n_tokens


@pytest.mark.parametrize("more", ["", MANY], ids=["spare", "grown"])
def test_the_index_names_the_new_matrix_and_weighs_it(tmp_path: Path, more: str) -> None:
    base = tiny.build(tmp_path / "base", tied=True, shards=2)
    out, _ = made(base, tmp_path, UNTIE + more)
    before, after = (
        json.loads((folder / "model.safetensors.index.json").read_text()) for folder in (base, out)
    )
    assert {**before["weight_map"], HEAD: before["weight_map"][EMBED]} == after["weight_map"]
    weight = sum(len(value[2]) for value in tensor_bytes(out).values())
    assert weight == after["metadata"]["total_size"]


def test_undo_gives_the_base_back_from_a_record_that_holds_no_matrix(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True, n_rows=4096, shards=2)
    out, _ = made(base, tmp_path)
    applying.undo(out, target=tmp_path / "back")
    assert grafts.tree(base) == grafts.tree(tmp_path / "back")
    assert (out / "tokengraft" / "undo.safetensors").stat().st_size < 4096 * tiny.D


def test_a_model_can_be_untied_without_a_new_token(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True)
    out, told = made(base, tmp_path, "version = 1\n[rows]\nuntie = true\n")
    assert [] == failures(told)
    new = tensor_bytes(out)
    assert new[EMBED] == new[HEAD] == tensor_bytes(base)[EMBED]
    edits = read_plan(out / "tokengraft" / "plan.json").plan.row_edits()
    assert [(HEAD, EMBED, (Keep(first=0, count=new[HEAD][1][0]),))] == [
        (name, edit.of, edit.rows) for name, edit in edits.items()
    ]


def test_every_config_of_a_nested_model_says_so(tmp_path: Path) -> None:
    """transformers 4 asks the language model's own part, transformers 5 both."""
    base = tiny.build(tmp_path / "base", tied=True)
    config = json.loads((base / "config.json").read_text())
    config.pop("tie_word_embeddings")
    nested = {"model_type": "gemma3", "text_config": config | {"model_type": "gemma3_text"}}
    (base / "config.json").write_text(json.dumps(nested))
    out, told = made(base, tmp_path)
    assert [] == failures(told)
    config = json.loads((out / "config.json").read_text())
    assert [False, False] == [
        level["tie_word_embeddings"] for level in (config, config["text_config"])
    ]


def test_rows_made_elsewhere_are_two_where_two_are_written(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True)
    rows = {
        "input": np.full((1, tiny.D), 0.5, np.float32),
        "output": np.full((1, tiny.D), -0.25, np.float32),
    }
    save_file(rows, tmp_path / "rows.safetensors", metadata={"tokens": '["<|a|>"]'})
    recipe = UNTIE + 'values = "rows.safetensors"\n'
    out, told = made(base, tmp_path, recipe)
    assert [] == failures(told)
    n = _n_tokens(base)
    with safe_open(out / "model.safetensors", "pt") as file:
        found = {name: file.get_tensor(name)[n].float().tolist() for name in (EMBED, HEAD)}
    assert {EMBED: [0.5] * tiny.D, HEAD: [-0.25] * tiny.D} == found


def test_a_sidecar_of_many_tokens_brings_both_matrices_back(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True, n_rows=2048)
    many = "".join(f'[[add]]\ntext = "<|n{n}|>"\n' for n in range(1_001))
    out, told = made(base, tmp_path, UNTIE + many)
    assert [] == failures(told)
    plan = read_plan(out / "tokengraft" / "plan.json").plan
    assert {EMBED: None, HEAD: EMBED} == {n: edit.of for n, edit in plan.row_edits().items()}
    assert {(EMBED, HEAD)} == {tuple(sorted(r.tensor for r in t.rows))[::-1] for t in plan.tokens}


# ── what it says ─────────────────────────────────────────────────────────────────────────────────


def test_the_plan_says_what_the_second_matrix_costs(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True, n_rows=320)
    (told,) = [note for note in notes(base, tmp_path, UNTIE) if note.startswith(HEAD)]
    size, numbers = 320 * tiny.D * 2, 320 * tiny.D
    assert f"costs {size:,} bytes on disk, as much in memory, and makes {numbers:,}" in told


def test_it_is_offered_with_its_cost_where_training_would_gain(tmp_path: Path) -> None:
    train = '[train]\nstages = ["fit"]\n'
    for tied, wanted in ((True, 1), (False, 0)):
        base = tiny.build(tmp_path / f"base-{tied}", tied=tied, n_rows=320)
        found = notes(base, tmp_path, f"version = 1\n{ADD}{train}")
        offers = [note for note in found if "[rows] untie = true" in note]
        assert wanted == len(offers)
        assert all(f"{320 * tiny.D * 2:,} bytes more on disk" in offer for offer in offers)
    assert not [note for note in notes(base, tmp_path, f"version = 1\n{ADD}") if "untie" in note]


def test_an_untied_model_is_left_as_it_is_and_told_so(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=False)
    found = flow.make_plan(str(base), written(tmp_path)).plan
    plain = flow.make_plan(str(base), written(tmp_path, f"version = 1\n{ADD}")).plan
    assert plain.edits == found.edits
    assert f"[rows] untie has nothing to do: the model writes by {HEAD} already" in found.notes


def test_a_program_that_cannot_serve_it_is_named(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True, files={"config.json": {"model_type": "gemma2"}})
    assert families()["gemma"].second_matrix_caution in notes(base, tmp_path, UNTIE)


def test_estimates_count_two_matrices(tmp_path: Path) -> None:
    from tokengraft.flow.estimating import estimate

    base = tiny.build(tmp_path / "base", tied=True, n_rows=320)
    recipe = written(tmp_path, f'version = 1\n{ADD}[train]\nstages = ["fit"]\n')
    one = estimate(str(base), recipe)
    two = estimate(str(base), recipe, overrides=("rows.untie=true",))
    assert 320 * tiny.D == two.parameters - one.parameters


# ── a matrix that is stored twice (E104) ─────────────────────────────────────────────────────────


def stored_twice(folder: Path, *, equal: bool) -> Path:
    base = tiny.build(folder, tied=True, n_rows=320)
    tensors = tensor_bytes(base)
    dtype, shape, rows = tensors[EMBED]
    head = rows if equal else bytes([rows[0] ^ 1]) + rows[1:]
    write_weights(base, {**tensors, HEAD: (dtype, shape, head)}, shards=1)
    return base


def test_estimates_count_a_stored_second_matrix_once(tmp_path: Path) -> None:
    from tokengraft.flow.estimating import estimate

    base = stored_twice(tmp_path / "base", equal=True)
    recipe = written(tmp_path, f'version = 1\n{ADD}[train]\nstages = ["fit"]\n')
    one = estimate(str(base), recipe)
    two = estimate(str(base), recipe, overrides=("rows.untie=true",))
    assert one.parameters == two.parameters


def test_a_copy_that_lies_there_becomes_the_second_matrix_for_nothing(tmp_path: Path) -> None:
    base = stored_twice(tmp_path / "base", equal=True)
    out, told = made(base, tmp_path)
    assert [] == failures(told)
    plan = read_plan(out / "tokengraft" / "plan.json").plan
    assert {EMBED: None, HEAD: None} == {name: edit.of for name, edit in plan.row_edits().items()}
    assert any("no byte is added" in note for note in plan.notes)
    assert tensor_bytes(out)[EMBED][2] != tensor_bytes(out)[HEAD][2]


# ── what verify finds ────────────────────────────────────────────────────────────────────────────


def test_verify_finds_an_old_row_of_the_new_matrix_that_changed(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True)
    out, _ = made(base, tmp_path)
    ref = load(out).tensors.tensors[HEAD]  # type: ignore[union-attr]
    data = bytearray((out / ref.file).read_bytes())
    data[ref.begin + 5 * ref.row_bytes] ^= 1
    (out / ref.file).write_bytes(data)
    said = failures(flow.verify(out, against=str(base)))
    assert any(f"{HEAD}[5]" in one and one.startswith("kept-rows") for one in said)
    assert any(f"{HEAD}[5]" in one and one.startswith("tensors-against-base") for one in said)


def test_verify_finds_a_config_that_ties_them_again(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True)
    out, _ = made(base, tmp_path)
    config = (out / "config.json").read_text()
    (out / "config.json").write_text(
        config.replace('"tie_word_embeddings": false', '"tie_word_embeddings": true ')
    )
    said = failures(flow.verify(out))
    assert any(one.startswith("shapes") and "says that the model is tied" in one for one in said)


def test_both_rows_are_where_training_begins(tmp_path: Path) -> None:
    from tokengraft.flow.starting_rows import starting_rows

    for base in (
        tiny.build(tmp_path / "tied", tied=True, n_rows=320),
        stored_twice(tmp_path / "twice", equal=True),
    ):
        wish = making.read_recipe(written(tmp_path))
        planned = making.plan_recipe(
            load(base), wish[0], text=wish[1], source=str(base), folder=tmp_path
        )
        rows = starting_rows(planned)
        assert rows.output_ND is not None
        old = tensor_bytes(base)[EMBED]
        with safe_open(base / "model.safetensors", "pt") as file:
            table = file.get_tensor(EMBED).float().numpy()
        assert old[1] == table.shape
        for found_D in (rows.input_ND[0], rows.output_ND[0]):
            assert (table == found_D).all(axis=1).any(), "first-last takes a piece for each job"
        assert not np.array_equal(rows.input_ND, rows.output_ND)
