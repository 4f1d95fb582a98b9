"""Rows that need the matrix (drawn, stretched), and rows that are kept apart after rounding."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from raw_tensors import row_bytes, tensor_bytes, write_weights
from tiny import build
from tokengraft import flow
from tokengraft.errors import RecipeError
from tokengraft.formats.byte_ranges import RangeRows, source_of
from tokengraft.formats.loading import load
from tokengraft.formats.rows import widen
from tokengraft.plans import Mean, Mix, PlannedToken, RowSource, Stored, Taken
from tokengraft.rows import measuring

INPUT, OUTPUT = "model.embed_tokens.weight", "lm_head.weight"
HALF_STEP = {"BF16": 2.0**-8, "F16": 2.0**-10, "F32": 2.0**-22}


def add(text: str, **keys: str) -> str:
    lines = [f"text = {json.dumps(text)}", *(f"{key} = '{value}'" for key, value in keys.items())]
    return "[[add]]\n" + "\n".join(lines) + "\n"


def recipe_in(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(f"version = 1\n{text}", encoding="utf-8")
    return path


def sources(token: PlannedToken) -> dict[str, RowSource]:
    return {row.tensor: row.source for row in token.rows}


def numbers(folder: Path, name: str) -> NDArray[np.float64]:
    dtype, shape, raw = tensor_bytes(folder)[name]
    return widen(raw, dtype).reshape(shape)


def n_tokens(folder: Path) -> int:
    tokenizer = load(folder).tokenizer
    assert tokenizer is not None
    return tokenizer.n_tokens


def matrix(folder: Path, name: str) -> RangeRows:
    checkpoint = load(folder)
    assert checkpoint.tensors is not None
    ref = checkpoint.tensors.tensors[name]
    return RangeRows(source_of(checkpoint.files[ref.file]), ref)


# ── drawn ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_a_drawn_row_is_the_mean_and_a_signed_sum_of_all_rows(tmp_path: Path, dtype: Any) -> None:
    base, out = build(tmp_path / "base", dtype=dtype), tmp_path / "out"
    text = add("<|g|>", init="gaussian") + "[rows]\nseed = 5\nspread = 0.25\n"
    flow.apply(recipe_in(tmp_path, text), base=str(base), out=out)
    n = n_tokens(base)
    for name in (INPUT, OUTPUT):
        rows = numbers(base, name)[:n]
        # By hand: bit i of SHAKE-256 of seed, matrix and text says on which side row i stands.
        bits = hashlib.shake_256(f"5\0{name}\0<|g|>".encode()).digest(n // 8 + 1)
        signs = [1 if bits[i // 8] >> (7 - i % 8) & 1 else -1 for i in range(n)]
        mean = sum(rows) / n
        row = (
            mean + sum(s * (r - mean) for s, r in zip(signs, rows, strict=True)) * (0.25 / n) ** 0.5
        )
        np.testing.assert_allclose(numbers(out, name)[n], row, rtol=HALF_STEP[dtype], atol=1e-7)
    assert flow.verify(out, against=str(base)).passed


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    base = build(tmp_path / "base", tied=True)
    made = []
    for seed, more in ((1, ""), (1, add("<|h|>", init="gaussian")), (2, "")):
        text = add("<|g|>", init="gaussian") + more + f"[rows]\nseed = {seed}\n"
        planned = flow.make_plan(str(base), recipe_in(tmp_path, text))
        assert planned.plan.tokens[0].takes == Taken(kind="unknown")
        assert f"seed {seed}, with 1e-05 of the rows' covariance" in " ".join(planned.plan.notes)
        assert planned.sidecar is not None
        made.append(b"".join(planned.sidecar.blocks())[-16 * (2 if more else 1) :][:16])
    assert made[0] == made[1], "a token's row does not depend on other tokens"
    assert made[0] != made[2]


def test_drawn_rows_have_the_covariance_of_the_used_rows(tmp_path: Path) -> None:
    base = build(tmp_path / "base", dtype="F32")
    n = n_tokens(base)
    rows = numbers(base, INPUT)[:n]
    drawn = measuring.drawn(
        matrix(base, INPUT), measuring.Used(n), [f"token {i}" for i in range(6000)], 0.5
    )
    wanted = np.cov(rows.T, bias=True) * 0.5
    assert np.abs(np.cov(drawn.T, bias=True) - wanted).max() < 0.08 * wanted.max()
    assert np.abs(drawn.mean(axis=0)).max() < 0.05 * np.sqrt(wanted.max())


def test_blocks_change_nothing_but_the_last_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = build(tmp_path / "base", dtype="F32")
    whole = measuring.drawn(matrix(base, INPUT), measuring.Used(300), ["a", "b"], 0.5)
    norm = measuring.median_norm(matrix(base, INPUT), measuring.Used(300))
    monkeypatch.setattr(measuring, "AT_ONCE", 1)
    blocks = RangeRows.blocks
    monkeypatch.setattr(RangeRows, "blocks", lambda rows: blocks(rows, 7 * rows.ref.row_bytes))
    again = measuring.drawn(matrix(base, INPUT), measuring.Used(300), ["a", "b"], 0.5)
    np.testing.assert_allclose(again, whole, rtol=1e-12, atol=1e-15)
    assert measuring.median_norm(matrix(base, INPUT), measuring.Used(300)) == norm


# ── stretched ────────────────────────────────────────────────────────────────────────────────────


def test_bil_reads_a_row_of_median_length_and_writes_pieces_by_their_characters(
    tmp_path: Path,
) -> None:
    base, out = build(tmp_path / "base", dtype="F32"), tmp_path / "out"
    text = add(" worlder", init="bil", use="word")
    flow.apply(recipe_in(tmp_path, text), base=str(base), out=out)
    n = n_tokens(base)
    (ids,) = {tuple(i for i, _ in s.parents) for s in _mixes(base, text, tmp_path)}
    rows_in, rows_out = numbers(base, INPUT), numbers(base, OUTPUT)
    mean = rows_in[list(ids)].mean(axis=0)
    median = np.median(np.linalg.norm(rows_in[:n], axis=1))
    vocab = {i: t for t, i in load(base).tokenizer.vocab.items()}  # type: ignore[union-attr]
    assert [vocab[i] for i in ids] == ["er", "Ġworld"]
    new_in, new_out = numbers(out, INPUT)[n], numbers(out, OUTPUT)[n]
    np.testing.assert_allclose(np.linalg.norm(new_in), median, rtol=1e-5)
    np.testing.assert_allclose(new_in, mean * median / np.linalg.norm(mean), rtol=1e-5)
    by_length = (2 * rows_out[ids[0]] + 6 * rows_out[ids[1]]) / 8
    np.testing.assert_allclose(new_out, by_length, rtol=1e-6)
    assert flow.verify(out, against=str(base)).passed


def _mixes(base: Path, text: str, folder: Path) -> list[Mix]:
    tokens = flow.make_plan(str(base), recipe_in(folder, text)).plan.tokens
    (token,) = [token for token in tokens if token.action == "add"]
    assert token.takes == Taken(kind="parents", at_most=0.5)
    return [row.source for row in token.rows if isinstance(row.source, Mix)]


@pytest.mark.parametrize("init", ["bil", "gaussian"])
def test_without_weights_what_reads_the_matrix_is_refused(tmp_path: Path, init: str) -> None:
    base = build(tmp_path / "base", shards=2)  # the index stays, and names the tensors
    for path in base.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(RecipeError) as caught:
        flow.make_plan(str(base), recipe_in(tmp_path, add("<|the|>", init=init)))
    assert f"{init} reads the matrix, and the folder has no weights" in caught.value.detail


# ── apart ────────────────────────────────────────────────────────────────────────────────────────

ALIKE = (
    add("<|think|>x", use="thinking")
    + add("</think|x>", use="thinking")
    + add("<|m1|>", init="mean")
    + add("<|m2|>", init="mean")
    + add("<|m3|>", init="mean")
    + add("<|z1|>", init="zero")
    + add("<|z2|>", init="zero")
)


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_new_tokens_never_share_a_row_after_rounding(tmp_path: Path, dtype: Any) -> None:
    base, out = build(tmp_path / "base", dtype=dtype), tmp_path / "out"
    flow.apply(recipe_in(tmp_path, ALIKE), base=str(base), out=out)
    n = n_tokens(base)
    for name in (INPUT, OUTPUT):
        new = row_bytes(out, name)[n : n + 7]
        assert [count for count in Counter(new).values() if count > 1] == []
    assert flow.verify(out, against=str(base)).passed


def test_what_is_set_apart_stays_a_mean_where_it_can_and_the_plan_says_so(tmp_path: Path) -> None:
    base = build(tmp_path / "base")
    plan = flow.make_plan(str(base), recipe_in(tmp_path, ALIKE)).plan
    first, second, m1, m2, _, z1, z2 = (sources(token)[INPUT] for token in plan.tokens)
    assert isinstance(first, Mix)
    assert isinstance(second, Mix)
    assert sum(w for _, w in second.parents) == pytest.approx(1, abs=1e-12)
    assert min(w for _, w in second.parents) > 0
    kept = {i for i, _ in first.parents}
    assert sum(w for i, w in second.parents if i in kept) >= 15 / 16
    assert isinstance(m1, Mean)
    assert (z1, isinstance(m2, Stored), isinstance(z2, Stored)) == (Mix(parents=()), True, True)
    takes = [token.takes.kind for token in plan.tokens if token.takes]
    assert takes == ["parents", "parents", "bounded", "unknown", "unknown", "unknown", "unknown"]
    said = [note for note in plan.notes if note.startswith(f"{INPUT}: ")]
    assert len(said) == 1
    assert "'</think|x>', '<|m2|>', '<|m3|>' and 1 more would have had the row" in said[0]


def test_copies_are_equal_as_the_recipe_asks_and_the_plan_warns(tmp_path: Path) -> None:
    base, out = build(tmp_path / "base"), tmp_path / "out"
    text = (
        add("<|a|>", like="<think>") + add("<|b|>", like="<think>") + add("<|c|>", like="</think>")
    )
    recipe = recipe_in(tmp_path, text)
    notes = flow.make_plan(str(base), recipe).plan.notes
    said = [note for note in notes if "the rows of '<|a|>', '<|b|>' are equal" in note]
    assert [note.partition(":")[0] for note in said] == [OUTPUT, INPUT]
    flow.apply(recipe, base=str(base), out=out)
    new = row_bytes(out, INPUT)[n_tokens(base) :][:3]
    assert (new[0] == new[1], new[1] == new[2]) == (True, False)


def test_equal_old_rows_do_not_make_new_ones_equal(tmp_path: Path) -> None:
    """Two texts with other pieces, whose rows in the base have the same bits."""
    base = build(tmp_path / "base", tied=True)
    weights = tensor_bytes(base)
    dtype, shape, raw = weights[INPUT]
    row = raw[: len(raw) // shape[0]]
    weights[INPUT] = (dtype, shape, row * 250 + raw[250 * len(row) :])  # all bytes have one row
    write_weights(base, weights, shards=1)
    text = add("<|x|>", init="subword-mean") + add("<|y|>", init="subword-mean")
    out = tmp_path / "out"
    flow.apply(recipe_in(tmp_path, text), base=str(base), out=out)
    new = row_bytes(out, INPUT)[n_tokens(base) :][:2]
    assert new[0] == row
    assert new[1] != row
