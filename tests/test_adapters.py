"""Adapters that cannot be baked in: each is refused with what is wrong with it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from raw_tensors import Tensor, write_safetensors
from tokengraft.errors import MalformedFile, RecipeError, UnsupportedFormat
from tokengraft.flow import making as flow
from tokengraft.low_rank import AddLowRank, updates_by_tensor
from tokengraft.plans import Plan


def recipe(folder: Path) -> Path:
    path = folder / "recipe.toml"
    path.write_text('version = 1\n[lora]\nadapter = "adapter"\n', encoding="utf-8")
    return path


def _f32(values: np.ndarray) -> Tensor:
    return "F32", values.shape, values.astype("<f4").tobytes()


@dataclass
class Bench:
    """A tiny base and an adapter of one module, to be spoiled."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    def made(self) -> flow.Planned:
        place = self.folder / "adapter"
        place.mkdir(exist_ok=True)
        (place / "adapter_config.json").write_text(json.dumps(self.config))
        write_safetensors(place / "adapter_model.safetensors", self.tensors)
        return flow.make_plan(str(self.folder / "base"), recipe(self.folder))

    def plan(self) -> Plan:
        return self.made().plan

    def refusal(self) -> str:
        with pytest.raises(RecipeError) as refused:
            self.plan()
        return refused.value.detail


Q = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    tiny.build(tmp_path / "base")
    ones = {"A": np.ones((2, tiny.D)), "B": np.ones((tiny.HEADS * tiny.HEAD_DIM, 2))}
    tensors = {f"{Q}.lora_{side}.weight": _f32(values) for side, values in ones.items()}
    return Bench(tmp_path, {"peft_type": "LORA", "r": 2, "lora_alpha": 4}, tensors)


def test_the_sum_is_alpha_over_rank_times_b_a(bench: Bench) -> None:
    plan = bench.plan()
    (edit,) = [e for e in plan.edits if isinstance(e, AddLowRank)]
    assert (edit.tensor, edit.scale) == ("model.layers.0.self_attn.q_proj.weight", 2.0)
    assert any("undo` needs the base" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"peft_type": "IA3"}, "only LORA"),
        ({"use_dora": True}, "DoRA scales whole columns"),
        ({"bias": "all"}, "changes biases"),
        ({"lora_bias": True}, "it has biases"),
        ({"layer_replication": [[0, 1]]}, "layers several times"),
        ({"modules_to_save": ["lm_head"]}, "names lm_head, of which the adapter holds nothing"),
        ({"trainable_token_indices": [1]}, "holds no such rows"),
        ({"alora_invocation_tokens": [1]}, "behind certain tokens"),
        ({"use_next_thing": {"x": 1}}, "does not know"),
        ({"init_lora_weights": "pissa_niter_4"}, "path_initial_model_for_weight_conversion"),
        ({"alpha_pattern": {"(q|k)_proj": 3}}, "regular expression"),
        ({"lora_alpha": "many"}, "is no number"),
    ],
)
def test_what_is_more_than_a_sum_is_refused_by_name(
    bench: Bench, setting: dict[str, Any], said: str
) -> None:
    bench.config.update(setting)
    assert said in bench.refusal()


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        (f"{Q}.lora_magnitude_vector.weight", np.ones((2, 2)), "no factor of a matrix"),
        ("model.x.lora_A.weight", np.ones((2, 8)), "does not begin with base_model.model."),
        (f"{Q.replace('q_proj', 'z_proj')}.lora_A.weight", np.ones((2, 8)), "has no factor B"),
        (f"{Q}.lora_A.weight", np.ones((3, 8)), "have no product"),
        (f"{Q}.lora_A.weight", np.ones((2, 9)), "the update is [8, 9]"),
        (f"{Q}.lora_A.other.weight", np.ones((2, 8)), "two factors A"),
    ],
)
def test_factors_that_do_not_fit_are_refused(
    bench: Bench, name: str, values: np.ndarray, said: str
) -> None:
    bench.tensors[name] = _f32(values)
    assert said in bench.refusal()


def test_all_that_is_wrong_is_told_at_once(bench: Bench) -> None:
    bench.config.update(use_dora=True, modules_to_save=["embed_tokens"])
    bench.tensors["other"] = _f32(np.ones((1, 1)))
    assert bench.refusal().count("[lora]") == 3


def test_rows_of_old_tokens_stay(bench: Bench) -> None:
    bench.tensors = {
        "base_model.model.lm_head.lora_A.weight": _f32(np.ones((1, tiny.D))),
        "base_model.model.lm_head.lora_B.weight": _f32(np.ones((320, 1))),
    }
    tiny.build(bench.folder / "base2", n_rows=320)
    shutil.rmtree(bench.folder / "base")
    (bench.folder / "base2").rename(bench.folder / "base")
    assert "rows of old tokens are never changed" in bench.refusal()


def test_integers_are_not_added_to(bench: Bench) -> None:
    bench.tensors = {
        name: ("I64", shape, bytes(2 * len(data)))
        for name, (_, shape, data) in bench.tensors.items()
    }
    assert "cannot be computed with" in bench.refusal()


def test_a_folder_without_weights_is_refused(bench: Bench) -> None:
    for file in (bench.folder / "base").glob("*.safetensors"):
        file.unlink()
    assert "no weights to add it to" in bench.refusal()


def test_a_missing_folder_is_a_problem_of_the_recipe(bench: Bench) -> None:
    with pytest.raises(RecipeError, match="problem") as refused:
        flow.make_plan(str(bench.folder / "base"), recipe(bench.folder))
    assert "there is no folder" in refused.value.detail


def test_a_pickle_is_never_read(bench: Bench) -> None:
    bench.plan()
    place = bench.folder / "adapter"
    (place / "adapter_model.safetensors").rename(place / "adapter_model.bin")
    with pytest.raises(UnsupportedFormat, match="pickle"):
        flow.make_plan(str(bench.folder / "base"), recipe(bench.folder))


def test_settings_that_are_no_object_are_refused(bench: Bench) -> None:
    bench.plan()
    (bench.folder / "adapter" / "adapter_config.json").write_text("[]")
    with pytest.raises(MalformedFile, match="no object"):
        flow.make_plan(str(bench.folder / "base"), recipe(bench.folder))


def test_wrappers_before_the_layers_may_differ(bench: Bench) -> None:
    """A multimodal wrapper names its language model otherwise in memory than in its files."""
    bench.tensors = {
        n.replace("model.model.", "model.model.language_model."): t
        for n, t in bench.tensors.items()
    }
    (edit,) = updates_by_tensor(bench.plan().edits).values()
    assert edit[0].tensor == "model.layers.0.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    ("rows", "said"),
    [((4, 99), "rows that the base does not have"), ((2, 7), "do not fit"), ((5, 5), "does not")],
)
def test_forged_factors_are_refused(
    bench: Bench, tmp_path: Path, rows: tuple[int, int], said: str
) -> None:
    made = bench.made()
    edits = tuple(
        e.model_copy(update={"slice": rows}) if isinstance(e, AddLowRank) else e
        for e in made.plan.edits
    )
    forged = made.plan.model_copy(update={"edits": edits})
    (tmp_path / "plan.json").write_bytes(forged.to_json().encode())
    assert made.sidecar is not None
    (tmp_path / "plan.rows.safetensors").write_bytes(b"".join(made.sidecar.blocks()))
    with pytest.raises(MalformedFile, match=said):
        flow.apply(tmp_path / "plan.json", base=str(bench.folder / "base"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("value", "said"), [(np.nan, "no number"), (-np.inf, "no number"), (3e38, "exceed what BF16")]
)
def test_an_adapter_that_would_damage_weights_is_refused(
    bench: Bench, value: float, said: str
) -> None:
    values = np.ones((tiny.HEADS * tiny.HEAD_DIM, 2))
    values[3, 1] = value
    bench.tensors[f"{Q}.lora_B.weight"] = _f32(values)
    with pytest.raises(MalformedFile, match="without damage") as refused:
        bench.plan()
    assert said in refused.value.detail
    assert "0.self_attn.q_proj" in refused.value.detail


def test_of_many_modules_that_fit_nowhere_the_first_are_told(bench: Bench) -> None:
    shape = {"A": (2, tiny.D), "B": (8, 2)}
    for number in range(100):
        for side, of_side in shape.items():
            bench.tensors[f"{Q}.x{number}.lora_{side}.weight"] = _f32(np.ones(of_side))
    said = bench.refusal()
    assert said.count("no such tensor") == 20
    assert "modules more were not looked at" in said
