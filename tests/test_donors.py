"""`init = "omp"`: a donor's row taken apart, and put together again from this model's rows."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from raw_tensors import tensor_bytes, write_weights
from test_settling import INPUT, OUTPUT, add, matrix, numbers, recipe_in
from tiny import Tiny, build
from tokengraft import flow
from tokengraft.errors import RecipeError
from tokengraft.formats.byte_ranges import RangeRows
from tokengraft.formats.loading import load
from tokengraft.planning.donating import FEWEST_SHARED, Donation, Donor, donation, meanings
from tokengraft.planning.draft import Draft, NewRow
from tokengraft.planning.starting import none_untrained
from tokengraft.plans import Mix
from tokengraft.recipes import Rows
from tokengraft.rows.pursuing import pursue
from tokengraft.tensors import TensorRef
from tokengraft.vocabulary import TokenId

REPO = Path(__file__).resolve().parents[1]
DONOR = REPO / "models" / "tiny-qwen3-moe-base"
Matrix = NDArray[np.float64]


class _Held:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size_bytes = len(data)

    def read(self, begin: int, end: int) -> bytes:
        return self.data[begin:end]


def held(rows: Matrix) -> RangeRows:
    data = rows.astype("<f8").tobytes()
    return RangeRows(_Held(data), TensorRef("m", "F64", rows.shape, "f", 0, len(data)))


def plain_pursuit(atoms: Matrix, wanted: Matrix, most: int) -> dict[int, float]:
    """The textbook: choose by direction, fit all that was chosen by least squares, repeat."""
    taken: list[int] = []
    left = wanted
    for _ in range(most):
        along = np.abs(atoms @ left) / np.linalg.norm(atoms, axis=1)
        along[taken] = -1
        taken.append(int(along.argmax()))
        weights, *_ = np.linalg.lstsq(atoms[taken].T, wanted, rcond=None)
        left = wanted - atoms[taken].T @ weights
    return dict(zip(taken, weights.tolist(), strict=True))


@pytest.mark.parametrize(("n_rows", "width", "most"), [(60, 8, 3), (200, 32, 8), (20, 16, 12)])
def test_a_pursuit_is_the_one_of_the_textbook(n_rows: int, width: int, most: int) -> None:
    rng = np.random.default_rng(n_rows)
    atoms = rng.normal(size=(n_rows, width)) * rng.uniform(0.1, 9.0, (n_rows, 1))
    wanted = rng.normal(size=(6, width))
    found = pursue(held(atoms), range(n_rows), wanted, most)
    for one, row in zip(found, wanted, strict=True):
        reference = plain_pursuit(atoms, row, most)
        assert [at for at, _ in one] == list(reference)
        np.testing.assert_allclose([w for _, w in one], list(reference.values()), rtol=1e-9)


def test_orthogonal_rows_give_their_parts_largest_first() -> None:
    atoms = np.diag([2.0, 1.0, 4.0, 1.0])
    (one,) = pursue(held(atoms), range(4), np.array([[6.0, -2.0, 0.0, 0.0]]), 3)
    assert one == [(0, 3.0), (1, -2.0)]  # and then nothing is left


def test_the_longest_row_does_not_win_by_its_length() -> None:
    atoms = np.array([[100.0, 0.0], [1.0, 1.0]])
    (one,) = pursue(held(atoms), range(2), np.array([[1.0, 1.0]]), 1)
    assert one == [(1, pytest.approx(1.0))]


def test_a_row_that_is_there_is_found_alone_and_exactly() -> None:
    rows = np.random.default_rng(4).normal(size=(50, 12))
    found = pursue(held(rows), [3, 7, 20, 41], rows[[7, 41]], 8)
    assert [[(at, float(f"{w:.6g}")) for at, w in one] for one in found] == [[(1, 1.0)], [(3, 1.0)]]


def test_rows_of_no_length_and_of_no_number_are_left_alone() -> None:
    atoms = np.array([[0.0, 0.0], [np.nan, 1.0], [1.0, 0.5]])
    none, one = pursue(held(atoms), range(3), np.array([[0.0, 0.0], [1.0, 0.0]]), 3)
    assert none == []
    assert [at for at, _ in one] == [2]


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(5).normal(size=(90, 6))
    ids = list(range(1, 90, 3))
    wanted = np.random.default_rng(6).normal(size=(4, 6))
    whole = pursue(held(rows), ids, wanted, 4)
    blocks = RangeRows.blocks
    monkeypatch.setattr(RangeRows, "blocks", lambda one: blocks(one, 7 * one.ref.row_bytes))
    assert [[at for at, _ in one] for one in pursue(held(rows), ids, wanted, 4)] == [
        [at for at, _ in one] for one in whole
    ]


# ── two models ───────────────────────────────────────────────────────────────────────────────────


def test_two_spellings_of_one_text_are_one_piece(tmp_path: Path) -> None:
    spelled = {}
    for kind in ("bpe", "byte-fallback"):
        tokenizer = load(build(tmp_path / kind, kind=kind)).tokenizer
        assert tokenizer is not None
        spelled[kind] = meanings(tokenizer)
    shared = set(spelled["bpe"]) & set(spelled["byte-fallback"])
    assert {b" the", b"in", " тест".encode(), b"\x00", b"\xd0", b"a"} <= shared
    assert not {b"<|im_start|>", b"<0x41>"} & set(spelled["byte-fallback"])


@pytest.mark.parametrize("tied", [True, False])
def test_a_row_follows_a_donor_of_another_width(tmp_path: Path, tied: bool) -> None:
    base, out = build(tmp_path / "base", tied=tied, dtype="F32"), tmp_path / "out"
    recipe = recipe_in(
        tmp_path,
        add(" said", init="omp", use="word") + f'[rows]\ndonor = "{DONOR}"\natoms = 4\n',
    )
    plan = flow.make_plan(str(base), recipe).plan
    (token,) = [token for token in plan.tokens if token.action == "add"]
    own, donor = load(base).tokenizer, load(DONOR).tokenizer
    assert own is not None
    assert donor is not None
    here, there = meanings(own), meanings(donor)
    pairs = sorted((there[key], here[key]) for key in here if key in there)
    for row in token.rows:
        rows = numbers(DONOR, row.tensor)
        assert rows.shape[1] != numbers(base, row.tensor).shape[1]
        atoms = rows[[i for i, _ in pairs]]
        found = plain_pursuit(atoms, rows[there[b" said"]], 4)
        wanted = sorted((pairs[at][1], weight) for at, weight in found.items())
        assert isinstance(row.source, Mix)
        assert [i for i, _ in row.source.parents] == [i for i, _ in wanted]
        np.testing.assert_allclose(
            [w for _, w in row.source.parents], [w for _, w in wanted], rtol=1e-4
        )
    assert len(token.rows) == (1 if tied else 2)
    flow.apply(recipe, base=str(base), out=out)
    assert flow.verify(out, against=str(base)).passed


def test_a_donor_that_is_the_same_model_but_for_one_token_gives_its_row_back(
    tmp_path: Path,
) -> None:
    """The donor's new row is half one shared row and half another: so it is here, exactly."""
    base = build(tmp_path / "base", dtype="F32")
    grown = tmp_path / "donor"
    flow.apply(recipe_in(tmp_path, add("<|x|>", like="<think>")), base=str(base), out=grown)
    rows = {INPUT: numbers(grown, INPUT), OUTPUT: numbers(grown, OUTPUT)}
    at = Tiny().n_tokens()
    weights = tensor_bytes(grown)
    for name, values in rows.items():
        values[at] = 0.75 * values[40] - 0.5 * values[90]
        dtype, shape, _ = weights[name]
        weights[name] = (dtype, shape, values.astype("<f4").tobytes())
    shutil.copytree(grown, tmp_path / "other")
    write_weights(tmp_path / "other", weights, shards=1)
    recipe = recipe_in(tmp_path, add("<|x|>", init="omp") + '[rows]\ndonor = "other"\natoms = 8\n')
    plan = flow.make_plan(str(base), recipe).plan
    (token,) = [token for token in plan.tokens if token.action == "add"]
    for row in token.rows:
        assert isinstance(row.source, Mix)
        found = {i: w for i, w in row.source.parents if abs(w) > 1e-5}
        values = matrix(base, row.tensor).sample(list(found))
        sum_D = sum(w * value for w, value in zip(found.values(), values, strict=True))
        np.testing.assert_allclose(sum_D, rows[row.tensor][at], rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (add("<|x|>", init="omp"), "omp needs `donor` in [rows]: a model that has the token"),
        (
            add("<|x|>", init="omp") + f'[rows]\ndonor = "{DONOR}"\n',
            "has no token '<|x|>', so there is no row to follow",
        ),
        (add("<|x|>", init="omp") + '[rows]\ndonor = "./nowhere/at/all"\n', "cannot be used: "),
        (add("<|x|>", init="omp") + '[rows]\ndonor = "small"\n', "has no embedding rows"),
        (add("<|x|>", init="omp") + '[rows]\ndonor = "wordpiece"\n', "whose pieces hold no spaces"),
        (add("<|x|>", init="omp") + '[rows]\ndonor = "empty"\n', "has no vocabulary that can be"),
    ],
)
def test_a_donor_that_cannot_help_is_refused(tmp_path: Path, recipe: str, said: str) -> None:
    base = build(tmp_path / "base")
    build(tmp_path / "small", shards=0)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text('{"model_type": "llama"}')
    pieces = {"[UNK]": 0, "the": 1, "##ing": 2}
    model = {"type": "WordPiece", "unk_token": "[UNK]", "vocab": pieces}
    build(tmp_path / "wordpiece", files={"tokenizer.json": {"model": model, "added_tokens": []}})
    with pytest.raises(RecipeError) as caught:
        flow.make_plan(str(base), recipe_in(tmp_path, recipe))
    assert said in caught.value.detail


def test_a_donor_that_shares_too_few_pieces_is_refused() -> None:
    donor = Donor({b"\xff\xfe": 0}, {"<|x|>": 3}, held(np.eye(4)), held(np.eye(4)))
    checkpoint = load(DONOR)
    assert checkpoint.tokenizer is not None
    draft = Draft(checkpoint, checkpoint.tokenizer, checkpoint.tokenizer.added)
    draft = draft.with_row(NewRow(TokenId(9), "<|x|>", "omp"))
    made = Rows(donor="small")
    _, problems = donation(draft, made, lambda _: donor, none_untrained)
    assert f"small shares 0 pieces with this model, at least {FEWEST_SHARED}" in problems[0].what


def test_rows_found_untrained_are_taken_out_of_the_choice() -> None:
    rows = np.random.default_rng(8).normal(size=(30, 10))
    rows[29] = rows[4] + 0.1 * rows[5]
    donor = Donor({}, {"<|x|>": 29}, held(rows), held(rows))
    shared = [(i, 100 + i) for i in range(29)]
    asked: list[list[int]] = []

    def untrained(name: str, ids: object) -> frozenset[int]:
        asked.append(list(ids))  # type: ignore[call-overload]
        return frozenset({104}) & frozenset(asked[-1])

    (mix,) = Donation(donor, shared, 3, untrained).sums("t", "read", ["<|x|>"])
    assert 104 in asked[0]
    assert 104 not in {i for i, _ in mix.parents}
    assert len(mix.parents) == 3
