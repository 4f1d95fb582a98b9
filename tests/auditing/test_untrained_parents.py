"""A mean never holds a row that was found untrained; an explicit copy does, and the plan warns."""

from __future__ import annotations

import json
from pathlib import Path

import deep_shapes
import numpy as np
import pytest
from planting import IM_END, IM_START
from pydantic import ValidationError

from tokengraft import flow
from tokengraft.auditing.deep.judging import untrained_among
from tokengraft.errors import RecipeError
from tokengraft.flow.ports import matrix_port
from tokengraft.formats import plan_files
from tokengraft.formats.loading import load
from tokengraft.plans import Keep, Mean, Mix, PlannedToken


def _plan(base: Path, recipe: str) -> tuple[tuple[PlannedToken, ...], tuple[str, ...]]:
    path = base.parent / "recipe.toml"
    path.write_text(f"version = 1\n{recipe}", encoding="utf-8")
    made = flow.make_plan(str(base), path).plan
    return made.tokens, made.notes


def _parents(token: PlannedToken) -> set[int]:
    mixes = [row.source for row in token.rows if isinstance(row.source, Mix)]
    assert mixes
    return {i for mix in mixes for i, _ in mix.parents}


def _add(text: str, **keys: str) -> str:
    return f"[[add]]\ntext = {json.dumps(text)}\n" + "".join(
        f"{key} = {json.dumps(value)}\n" for key, value in keys.items()
    )


def test_rows_are_judged_alone_as_they_are_in_a_deep_audit(tmp_path: Path) -> None:
    base = deep_shapes.trained(tmp_path / "a", untrained=(3, IM_START, IM_END))
    checkpoint = load(base)
    for name in (deep_shapes.EMBED, deep_shapes.HEAD):
        rows = matrix_port(checkpoint)(name)
        assert rows is not None
        asked = [*range(20), IM_START, IM_END]
        assert untrained_among(checkpoint, rows, asked) == {3, IM_START, IM_END}


@pytest.mark.parametrize(
    "init", ["auto", "subword-mean", "first-last", "eeve", "bil", "words-mean"]
)
def test_untrained_pieces_are_no_parents(tmp_path: Path, init: str) -> None:
    whole, holed = tmp_path / "whole" / "base", tmp_path / "holed" / "base"
    recipe = _add("<|the and|>", init=init, special="x").replace('special = "x"\n', "")
    (token,), _ = _plan(deep_shapes.trained(whole), recipe)
    bad = min(_parents(token))
    (other,), notes = _plan(deep_shapes.trained(holed, untrained=(bad,)), recipe)
    said = (
        f"{deep_shapes.EMBED}: what new rows start from leaves out rows that were found untrained"
    )
    assert f"{said}: {bad}" in notes
    assert bad in _parents(token)
    assert bad not in _parents(other)
    for row in other.rows:
        assert isinstance(row.source, Mix)
        if init != "bil":
            assert sum(weight for _, weight in row.source.parents) == pytest.approx(1, abs=1e-12)


def test_an_untrained_row_0_is_named_too(tmp_path: Path) -> None:
    """Id 0 is a row like any other."""
    base = deep_shapes.trained(tmp_path / "base", untrained=(0,))
    tokenizer = load(base).tokenizer
    assert tokenizer is not None
    like = tokenizer.table()[0]
    _, notes = _plan(base, _add("<|new|>", like=like))
    assert any("untrained" in note for note in notes), notes


def test_where_no_trained_piece_is_left_auto_goes_on_and_a_name_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "base"
    deep_shapes.trained(base)
    (token,), _ = _plan(base, _add("<|the|>", init="words-mean"))
    deep_shapes.trained(base, untrained=sorted(_parents(token)))
    (other,), _ = _plan(base, _add("<|the|>"))
    assert other.init == "subword-mean"
    with pytest.raises(RecipeError) as caught:
        _plan(base, _add("<|the|>", init="words-mean"))
    assert "makes nothing of its text that has trained rows" in caught.value.detail


def test_an_explicit_copy_of_an_untrained_row_is_made_and_warned_of(tmp_path: Path) -> None:
    base = deep_shapes.trained(tmp_path / "base", untrained=(IM_START,))
    (token,), notes = _plan(base, _add("<|x|>", like="<|im_start|>"))
    assert _parents(token) == {IM_START}
    said = [note for note in notes if "'<|x|>' starts as a copy of '<|im_start|>'" in note]
    assert len(said) == 2
    assert "was found untrained" in said[0]
    (_,), quiet = _plan(base, _add("<|x|>", like="<|im_end|>"))
    assert not any("untrained" in note for note in quiet)


@pytest.mark.parametrize("init", ["mean", "gaussian"])
def test_a_mean_of_all_rows_is_one_of_all_trained_rows(tmp_path: Path, init: str) -> None:
    """Applied and computed again by verify; in columns of the sidecar too."""
    bad = (3, IM_START, IM_END)
    base = deep_shapes.trained(tmp_path / "base", untrained=bad)
    texts = [f"<|new {number}|>" for number in range(3)]
    made, notes = _plan(base, "".join(_add(text, init=init) for text in texts))
    assert any("found untrained: 3, " in note for note in notes)
    flow.apply(tmp_path / "recipe.toml", base=str(base), out=tmp_path / "out")
    assert flow.verify(tmp_path / "out", against=str(base)).passed
    checkpoint = load(base)
    assert checkpoint.tokenizer is not None
    used = [i for i in range(checkpoint.tokenizer.n_tokens) if i not in bad]
    for name in (deep_shapes.EMBED, deep_shapes.HEAD):
        rows = matrix_port(checkpoint)(name)
        after = matrix_port(load(tmp_path / "out"))(name)
        assert rows is not None
        assert after is not None
        expected = np.mean([rows.floats(i, 1)[0] for i in used], axis=0)
        found = after.floats(made[0].id, 1)[0]
        spread = np.std([rows.floats(i, 1)[0] for i in used])
        assert np.allclose(found, expected, atol=spread / 50)
        if init == "mean":
            (row,) = [row for row in made[0].rows if row.tensor == name]
            assert isinstance(row.source, Mean)
            assert row.source.without == bad
            assert np.allclose(found, expected, rtol=2**-8, atol=2**-12)


def test_what_a_mean_leaves_out_travels_in_columns(tmp_path: Path) -> None:
    rows = (
        Keep(first=0, count=9),
        Mean(first=0, count=9, without=(2, 5)),
        Mix(parents=((1, 0.5), (3, 0.5))),
        Mean(first=1, count=3),
    )
    columns = plan_files._source_columns("s", rows)
    assert plan_files._sources(columns, "s", len(rows)) == rows


@pytest.mark.parametrize("without", [(9,), (3, 2), (2, 2), tuple(range(9))])
def test_a_mean_leaves_out_rows_of_its_own_and_not_all(without: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError):
        Mean(first=0, count=9, without=without)
