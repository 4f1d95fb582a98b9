"""Second matrices that cannot be: recipes that are refused with a reason, and plans of strangers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import grafts
import tiny
from raw_tensors import tensor_bytes, write_weights
from test_untying import EMBED, HEAD, refusal, stored_twice
from tokengraft import applying
from tokengraft.errors import MalformedFile, StalePlan, UsageError
from tokengraft.formats.loading import load
from tokengraft.formats.safetensors_file import rewrite_header
from tokengraft.plans import Keep, RemapRows, Stored


def test_two_stored_matrices_that_differ_are_refused(tmp_path: Path) -> None:
    base = stored_twice(tmp_path / "base", equal=False)
    assert f"{HEAD} lies in the weights too and differs from {EMBED}" in refusal(base, tmp_path)


def test_a_stored_matrix_of_another_shape_is_refused(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True, n_rows=320)
    tensors = tensor_bytes(base)
    wide = ("F32", tensors[EMBED][1], tensors[EMBED][2] * 2)
    write_weights(base, {**tensors, HEAD: wide}, shards=1)
    assert f"{HEAD} lies in the weights too, and is not a copy of {EMBED}" in refusal(
        base, tmp_path
    )


def test_small_files_alone_are_refused(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True, shards=0)
    assert "the folder has no weights (safetensors)" in refusal(base, tmp_path)


def test_a_quantised_model_is_refused(tmp_path: Path) -> None:
    config = {"quantization_config": {"quant_method": "fp8"}}
    base = tiny.build(tmp_path / "base", tied=True, files={"config.json": config})
    assert "the model is quantised" in refusal(base, tmp_path)


def test_a_family_that_nobody_describes_is_refused(tmp_path: Path) -> None:
    config = {"model_type": "unheard_of"}
    base = tiny.build(tmp_path / "base", tied=True, files={"config.json": config})
    assert "one input matrix that a family file names is needed" in refusal(base, tmp_path)


def test_a_name_that_nobody_tried_is_refused(tmp_path: Path) -> None:
    """The published GPT-2 has `wte.weight`; beside it no loader looks for `lm_head.weight`."""
    base = tiny.build(tmp_path / "base", tied=True, files={"config.json": {"model_type": "gpt2"}})
    tensors = tensor_bytes(base)
    tensors["wte.weight"] = tensors.pop(EMBED)
    write_weights(base, tensors, shards=1)
    said = refusal(base, tmp_path)
    assert "how a loader would find a second matrix beside wte.weight (gpt2)" in said


def test_a_matrix_that_cannot_be_edited_is_refused(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True)
    tensors = tensor_bytes(base)
    _, shape, rows = tensors[EMBED]
    write_weights(base, {**tensors, EMBED: ("I8", shape, rows[: len(rows) // 2])}, shards=1)
    said = refusal(base, tmp_path, "version = 1\n[rows]\nuntie = true\n")
    assert f"{EMBED} cannot be edited: its elements are I8" in said


def test_moving_ids_and_untying_are_two_plans(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True)
    remove = '[[remove]]\ntext = "<think>"\nrenumber = true\n[rows]\nuntie = true\n'
    assert "rows: cannot be planned together with [[remove]]" in refusal(
        base, tmp_path, f"version = 1\n{remove}"
    )


# ── plans of strangers ───────────────────────────────────────────────────────────────────────────


def by_hand(base: Path, **changes: Any) -> grafts.Graft:
    checkpoint = load(base)
    n_rows = checkpoint.tensors.tensors[EMBED].shape[0]  # type: ignore[union-attr]
    edit = RemapRows(
        tensor=HEAD,
        of=EMBED,
        n_rows_before=n_rows,
        n_rows_after=n_rows,
        rows=(Keep(first=0, count=n_rows),),
    ).model_copy(update=changes)
    return grafts.make_plan(checkpoint, [edit])


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"of": "nowhere"}, StalePlan, "the base has no tensor nowhere"),
        ({"tensor": "model.norm.weight"}, MalformedFile, "adds a tensor that the base has"),
        ({"tensor": "__metadata__"}, MalformedFile, "not a valid safetensors"),
        ({"tensor": "a\nb"}, MalformedFile, "not a valid safetensors"),
        ({"n_rows_before": 1}, MalformedFile, "rows that the base does not have"),
    ],
    ids=str,
)
def test_a_plan_that_adds_what_cannot_be_is_refused(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], says: str
) -> None:
    graft = by_hand(tiny.build(tmp_path / "base", tied=True), **changes)
    with pytest.raises(error, match=says):
        graft.apply(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tensor_is_added_once(tmp_path: Path) -> None:
    graft = by_hand(tiny.build(tmp_path / "base", tied=True))
    twice = replace(graft, plan=graft.plan.model_copy(update={"edits": graft.plan.edits * 2}))
    with pytest.raises(MalformedFile, match="edits a tensor twice"):
        twice.apply(tmp_path / "out")


def test_values_that_the_sidecar_lacks_are_asked_for_by_the_new_name(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True)
    n_rows = load(base).tensors.tensors[EMBED].shape[0]  # type: ignore[union-attr]
    graft = by_hand(base, rows=(Keep(first=0, count=n_rows - 1), Stored(index=0)))
    with pytest.raises(MalformedFile) as caught:
        graft.apply(tmp_path / "out")
    assert f"rows.safetensors#values.{HEAD}" == caught.value.subject


def test_a_header_takes_no_tensor_that_is_there_or_stands_behind_none(tmp_path: Path) -> None:
    weights = load(tiny.build(tmp_path / "base", tied=True)).tensors.files["model.safetensors"]  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="a tensor of this name is there"):
        rewrite_header(weights, {}, {EMBED: (EMBED, (1, 8))})
    with pytest.raises(UsageError, match="no such tensor"):
        rewrite_header(weights, {}, {HEAD: ("nowhere", (1, 8))})


def test_apply_and_check_lay_out_the_same(tmp_path: Path) -> None:
    graft = by_hand(tiny.build(tmp_path / "base", tied=True))
    applying.check(graft.checkpoint, graft.plan, target=tmp_path / "out")
    graft.apply(tmp_path / "out")
    assert HEAD in tensor_bytes(tmp_path / "out")
