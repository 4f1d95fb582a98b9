"""`[rows] values`: rows made elsewhere, from the file to the proof, and every way they are refused."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from tiny import D, build, row_bytes
from tokengraft import flow
from tokengraft.errors import RecipeError
from tokengraft.flow.ports import values_port
from tokengraft.formats import row_file
from tokengraft.formats.loading import load
from tokengraft.formats.plan_files import read_plan
from tokengraft.formats.recipe_file import read_recipe
from tokengraft.planning import Ports, plan
from tokengraft.plans import Mix, Stored

INPUT, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
TEXTS = ["<|a|>", "<|b|>"]
ADD = "".join(f"[[add]]\ntext = {json.dumps(text)}\nlike = '<think>'\n" for text in TEXTS)
RECIPE = f'version = 1\n{ADD}[rows]\nvalues = "made/rows.safetensors"\n'
Matrix = NDArray[Any]


def numbers(n_rows: int = 2, width: int = D, *, seed: int = 1, dtype: Any = np.float32) -> Matrix:
    return np.random.default_rng(seed).normal(size=(n_rows, width)).astype(dtype)


def written(
    folder: Path, tensors: dict[str, Matrix], tokens: object = TEXTS, recipe: str = RECIPE
) -> Path:
    """A recipe, and the file of rows that it names."""
    (folder / "made").mkdir(exist_ok=True)
    metadata = None if tokens is None else {"tokens": json.dumps(tokens)}
    save_file(tensors, folder / "made" / "rows.safetensors", metadata=metadata)
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    return folder / "recipe.toml"


def refusal(base: Path, recipe: Path) -> str:
    """What planning says, without the children that other parts of a plan need."""
    wish, text = read_recipe(recipe)
    with ExitStack() as opened:
        values = values_port(recipe.parent, opened)
        ports = Ports(lambda texts: [[0] for _ in texts], lambda name: name, values=values)
        with pytest.raises(RecipeError) as caught:
            plan(load(base), wish, text=text, tool="test", ports=ports)
    return caught.value.detail


def first_new(base: Path) -> int:
    checkpoint = load(base)
    assert checkpoint.tokenizer is not None
    return checkpoint.tokenizer.n_tokens


@pytest.mark.parametrize(("dtype", "tied"), [("BF16", False), ("F16", True), ("F32", False)])
def test_given_rows_are_written_as_they_are_and_proved(
    tmp_path: Path, dtype: Any, tied: bool
) -> None:
    base = build(tmp_path / "base", tied=tied, dtype=dtype, shards=2)
    own = {"BF16": ml_dtypes.bfloat16, "F16": np.float16, "F32": np.float32}[dtype]
    tensors = {"input": numbers(dtype=own)}
    if not tied:
        tensors["output"] = numbers(seed=2, dtype=own)
    recipe, out = written(tmp_path, tensors, TEXTS[::-1]), tmp_path / "out"
    flow.apply(recipe, base=str(base), out=out)
    first = first_new(base)
    for name, matrix in {INPUT: "input", **({} if tied else {OUTPUT: "output"})}.items():
        # The second token's row comes first in the file.
        assert row_bytes(out, name)[first] == tensors[matrix][1].tobytes()
        assert row_bytes(out, name)[first + 1] == tensors[matrix][0].tobytes()
    proof = flow.verify(out, against=str(base))
    assert proof.passed
    (rows,) = [check for check in proof.checks if check.name == "rows-as-planned"]
    assert f"({2 if tied else 4} of them from" in rows.evidence
    restored = tmp_path / "again"
    flow.undo(out, target=restored)
    assert (restored / "config.json").read_bytes() == (base / "config.json").read_bytes()


def test_plan_and_sidecar_alone_carry_the_rows(tmp_path: Path) -> None:
    base = build(tmp_path / "base")
    recipe = written(tmp_path, {"input": numbers(), "output": numbers(seed=2)})
    made = flow.make_plan(str(base), recipe)
    assert [token.init for token in made.plan.tokens] == ["values"] * 2
    assert [row.source for row in made.plan.tokens[1].rows] == [Stored(index=1)] * 2
    assert {token.takes.kind for token in made.plan.tokens if token.takes} == {"unknown"}
    assert any("of the start of '<|a|>', '<|b|>' gives way" in note for note in made.plan.notes)
    flow.write_plan(made, tmp_path / "plan.json")
    flow.apply(recipe, base=str(base), out=tmp_path / "one")
    (tmp_path / "made" / "rows.safetensors").unlink()
    assert read_plan(tmp_path / "plan.json").plan.sidecar == made.plan.sidecar
    flow.apply(tmp_path / "plan.json", base=str(base), out=tmp_path / "two")
    one, two = ((tmp_path / name / "MANIFEST.sha256").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_changed_row_is_found(tmp_path: Path) -> None:
    base, out = build(tmp_path / "base", tied=True), tmp_path / "out"
    flow.apply(written(tmp_path, {"input": numbers()}), base=str(base), out=out)
    at = first_new(base)
    row = row_bytes(out, INPUT)[at]
    weights = out / "model.safetensors"
    data = weights.read_bytes()
    assert data.count(row) == 1
    weights.write_bytes(data.replace(row, row[:-1] + bytes([row[-1] ^ 1])))
    proof = flow.verify(out, against=str(base))
    (check,) = [check for check in proof.checks if check.name == "rows-as-planned"]
    assert (check.status, f"{INPUT}[{at}]" in check.evidence) == ("fail", True)


def test_rows_of_another_kind_of_number_are_rounded_once_and_the_plan_says_so(
    tmp_path: Path,
) -> None:
    base = build(tmp_path / "base", tied=True, dtype="BF16")
    exact = numbers(dtype=np.float64)
    made = flow.make_plan(str(base), written(tmp_path, {"input": exact}))
    assert made.sidecar is not None
    (tmp_path / "sidecar").write_bytes(b"".join(made.sidecar.blocks()))
    with safe_open(str(tmp_path / "sidecar"), "np") as file:
        stored = file.get_tensor(f"values.{INPUT}")
    # By hand: of the two bfloat16 numbers around a value, the nearer one.
    away = np.abs(stored.astype(np.float64) - exact)
    bits = stored.view(np.uint16)
    for step in (1, -1):
        other = (bits + np.uint16(step % 65536)).view(ml_dtypes.bfloat16).astype(np.float64)
        assert (away <= np.abs(other - exact)).all()
    said = [note for note in made.plan.notes if "they are rounded once" in note]
    assert said == [
        f"rows of made/rows.safetensors are F64, {INPUT} is BF16: they are rounded once"
    ]


def test_what_the_file_leaves_out_starts_by_init(tmp_path: Path) -> None:
    base = build(tmp_path / "base")
    made = flow.make_plan(str(base), written(tmp_path, {"output": numbers(1)}, ["<|b|>"])).plan
    first, second = made.tokens
    assert (first.init, second.init) == ("copy", "values+copy")
    sources = {row.tensor: row.source for row in second.rows}
    assert sources[OUTPUT] == Stored(index=0)
    assert isinstance(sources[INPUT], Mix)
    assert f"made/rows.safetensors holds no rows for {INPUT}: they start by `init`" in made.notes


def test_a_claimed_id_takes_given_rows_too(tmp_path: Path) -> None:
    added = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|reserved_special_token_0|>"]
    base, out = build(tmp_path / "base", added=added, tied=True), tmp_path / "out"
    at = first_new(base) - 1
    recipe = RECIPE.replace("[rows]", "[rows]").replace("like = '<think>'", "init = 'mean'")
    recipe = recipe.replace('text = "<|a|>"', f'text = "<|a|>"\ninto = {at}', 1)
    rows = numbers(dtype=ml_dtypes.bfloat16)
    flow.apply(written(tmp_path, {"input": rows}, recipe=recipe), base=str(base), out=out)
    assert row_bytes(out, INPUT)[at] == rows[0].tobytes()
    assert flow.verify(out, against=str(base)).passed


# ── refused, with the reason ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tensors", "tokens", "said"),
    [
        ({"input": numbers()}, None, "its metadata have no `tokens`"),
        ({"input": numbers()}, {"<|a|>": 0}, "is not a JSON list of texts"),
        ({"input": numbers()}, ["<|a|>", 7], "is not a JSON list of texts"),
        ({"input": numbers(0)}, [], "`tokens` in its metadata is empty"),
        ({"input": numbers()}, ["<|a|>", "<|a|>"], "names '<|a|>' twice"),
        ({"embed": numbers()}, TEXTS, "it holds 'embed'; `input` and `output` may be there"),
        ({}, TEXTS, "it holds neither `input` nor `output`"),
        ({"input": numbers().astype(np.int32)}, TEXTS, "`input` is I32; rows are one of BF16"),
        ({"input": numbers(3)}, TEXTS, "has the shape [3, 8]; with 2 tokens it is [2, hidden"),
        ({"input": numbers()[0]}, TEXTS, "has the shape [8]"),
        ({"input": numbers(width=4)}, TEXTS, f"has rows of 4 numbers, {INPUT} of 8"),
        ({"input": numbers()}, ["<|a|>", "<|c|>"], "'<|c|>' is no token that the recipe adds"),
        ({"input": numbers()}, ["<|a|>", "<think>"], "'<think>' is a token of the base, whose"),
        ({"input": numbers() * np.nan}, TEXTS, "`input` of '<|a|>' holds a value that is no num"),
        (
            {"input": np.where(np.arange(16).reshape(2, 8) == 9, np.inf, numbers())},
            TEXTS,
            "`input` of '<|b|>' holds a value that is no number",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, tensors: dict[str, Matrix], tokens: object, said: str
) -> None:
    base = build(tmp_path / "base")
    detail = refusal(base, written(tmp_path, tensors, tokens))
    assert detail.startswith("rows.values: ")
    assert said in detail


def test_a_tied_model_takes_one_matrix(tmp_path: Path) -> None:
    recipe = written(tmp_path, {"input": numbers(), "output": numbers()})
    said = refusal(build(tmp_path / "base", tied=True), recipe)
    assert "it holds `output`, and this model is tied: one row reads and writes" in said


def test_a_value_that_the_matrix_cannot_hold_is_refused(tmp_path: Path) -> None:
    base = build(tmp_path / "base", tied=True, dtype="F16")
    said = refusal(base, written(tmp_path, {"input": numbers() * np.float32(1e6)}))
    assert "holds a value that is too large for F16" in said


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    tensors = {"input": numbers(width=4), "output": numbers(width=5)}
    said = refusal(build(tmp_path / "base"), written(tmp_path, tensors, ["<|x|>", "<think>"]))
    assert len(said.splitlines()) == 4


def test_a_recipe_without_new_tokens_has_nothing_to_give_rows_to(tmp_path: Path) -> None:
    recipe = written(tmp_path, {"input": numbers()}, recipe=RECIPE.replace(ADD, ""))
    assert "adds no token that rows could be given to" in refusal(build(tmp_path / "b"), recipe)


def test_without_weights_no_rows_can_be_given(tmp_path: Path) -> None:
    base = build(tmp_path / "base", shards=0)
    said = refusal(base, written(tmp_path, {"input": numbers()}))
    assert "has no weights, which say what kind of number" in said


def test_two_new_tokens_of_one_text_cannot_be_told_apart(tmp_path: Path) -> None:
    from tokengraft.formats.row_file import RowFile
    from tokengraft.planning.draft import Draft, NewRow
    from tokengraft.planning.values import given_rows
    from tokengraft.vocabulary import TokenId

    checkpoint = load(build(tmp_path / "base"))
    assert checkpoint.tokenizer is not None
    draft = Draft(checkpoint, checkpoint.tokenizer, checkpoint.tokenizer.added)
    for token_id in (400, 401):
        draft = draft.with_row(NewRow(TokenId(token_id), "\ufffd", "auto", use="extend"))
    found = given_rows(draft, "f", (), lambda _: RowFile(("\ufffd",), {}))
    assert "2 new tokens are written '\ufffd', so a row would fit each" in found.problems[0].what


def test_a_file_that_is_not_there_or_no_file_is_named(tmp_path: Path) -> None:
    base = build(tmp_path / "base")
    recipe = written(tmp_path, {"input": numbers()})
    path = tmp_path / "made" / "rows.safetensors"
    path.unlink()
    assert f"there is no file {path}" in refusal(base, recipe)
    assert [p.where for p in flow.check_recipe(recipe, None)] == ["rows.values"]
    os.mkfifo(path)
    assert f"{path} is no file" in refusal(base, recipe)  # and nobody waits for a writer


@pytest.mark.parametrize("data", [b"", b"\x80\x02}q\x00.", b"version https://git-lfs.github.com"])
def test_a_file_of_another_format_is_refused(tmp_path: Path, data: bytes) -> None:
    recipe = written(tmp_path, {"input": numbers()})
    (tmp_path / "made" / "rows.safetensors").write_bytes(data)
    assert "rows.safetensors cannot be used: " in refusal(build(tmp_path / "base"), recipe)


def test_a_file_that_is_cut_off_or_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, recipe = build(tmp_path / "base"), written(tmp_path, {"input": numbers()})
    path = tmp_path / "made" / "rows.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "data are missing" in refusal(base, recipe)
    path.write_bytes(whole)
    monkeypatch.setattr(row_file, "MAX_SIZE_BYTES", len(whole) - 1)
    assert "too large for rows of new tokens" in refusal(base, recipe)


def test_deep_json_in_the_list_of_tokens_is_refused(tmp_path: Path) -> None:
    recipe = written(tmp_path, {"input": numbers()})
    metadata = {"tokens": "[" * 5000 + "]" * 5000}
    save_file({"input": numbers()}, tmp_path / "made" / "rows.safetensors", metadata=metadata)
    assert "rows.safetensors cannot be used: " in refusal(build(tmp_path / "base"), recipe)
