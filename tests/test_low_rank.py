"""Adapters baked in: what PEFT's own merge gives, within one rounding, and every refusal."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

import tiny
from oracles import asking
from raw_tensors import Tensor, write_safetensors
from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import PreconditionError
from tokengraft.events import ignore
from tokengraft.flow import making as flow
from tokengraft.flow import proving
from tokengraft.formats.adapters import read_adapter
from tokengraft.formats.loading import load
from tokengraft.formats.plan_files import read_plan
from tokengraft.formats.rows import widen
from tokengraft.low_rank import updates_by_tensor
from tokengraft.verifying.low_rank import check_low_rank
from tokengraft.verifying.records import read_graft

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 320}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
MOE = {"num_experts_per_tok": 2, **SMALL, **HEADS}
# name: (model_type, config, dtype, arguments of LoraConfig)
SHAPES: dict[str, tuple[str, dict[str, Any] | None, str, dict[str, Any]]] = {
    "dense": (
        "qwen3",
        None,
        "bfloat16",
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["q_proj", "o_proj", "gate_proj"],
            "rank_pattern": {"o_proj": 2},
            "alpha_pattern": {"layers.0.self_attn.q_proj": 3, "^model.layers.0.mlp.gate_proj": 7},
        },
    ),
    "rank-stabilised": (
        "qwen3",
        None,
        "bfloat16",
        {"r": 8, "lora_alpha": 4, "use_rslora": True, "target_modules": "all-linear"},
    ),
    "turned": (
        "gpt2",
        {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "vocab_size": 320},
        "float32",
        {"r": 3, "target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True},
    ),
    "experts": (
        "qwen3_moe",
        {"moe_intermediate_size": 8, "intermediate_size": 24, "num_experts": 4, **MOE},
        "bfloat16",
        {
            "r": 4,
            "lora_alpha": 8,
            "target_modules": ["q_proj", "gate"],
            "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
            "alpha_pattern": {"mlp.experts.down_proj": 2},
        },
    ),
    "renamed-experts": (
        "mixtral",
        {"intermediate_size": 12, "num_local_experts": 3, **MOE},
        "float16",
        {"r": 2, "target_modules": ["v_proj"], "target_parameters": ["mlp.experts.down_proj"]},
    ),
}
# Half a step of each dtype; in float32 PEFT's product has roundings of its own.
LIMITS = {"bfloat16": 2**-8, "float16": 2**-11, "float32": 2**-19}


@dataclass(frozen=True)
class Case:
    """A base, an adapter that PEFT made for it, and what PEFT's merge gives."""

    folder: Path
    dtype: str

    @property
    def base(self) -> Path:
        return self.folder / "base"

    def recipe(self, text: str = "") -> Path:
        path = self.folder / "recipe.toml"
        path.write_text(f'version = 1\n{text}\n[lora]\nadapter = "adapter"\n', encoding="utf-8")
        return path


@pytest.fixture(scope="session")
def merged(tmp_path_factory: pytest.TempPathFactory, tf5: Path) -> dict[str, Case]:
    """All shapes, made by PEFT in one process."""

    def make(root: Path) -> None:
        jobs = []
        for seed, (name, (model_type, config, dtype, lora)) in enumerate(SHAPES.items()):
            folder = root / name
            if config is None:
                tiny.build(folder / "base", shards=2, n_rows=320)
            job = {"folder": str(folder), "model_type": model_type, "config": config}
            jobs.append({**job, "dtype": dtype, "lora": lora, "seed": seed})
        asking.ask(tf5, "ask_peft.py", jobs, home=root / "home")
        for name, (_, config, _, _) in SHAPES.items():
            if config is not None:  # a tokenizer that fits the 320 rows
                tiny.build(root / "tokens", shards=0, n_rows=320)
                for file in ("tokenizer.json", "tokenizer_config.json"):
                    shutil.copy(root / "tokens" / file, root / name / "base" / file)

    root = asking.shared(tmp_path_factory, "merged-by-peft", make)
    return {name: Case(root / name, shape[2]) for name, shape in SHAPES.items()}


def _numbers(folder: Path) -> dict[str, np.ndarray]:
    checkpoint = load(folder)
    assert checkpoint.tensors is not None
    found = {}
    for name, ref in checkpoint.tensors.tensors.items():
        data = (folder / ref.file).read_bytes()[ref.begin : ref.end]
        found[name] = widen(data, ref.dtype).reshape(ref.shape)
    return found


@pytest.mark.parametrize("name", SHAPES)
def test_the_result_is_what_peft_merges_within_one_rounding(
    name: str, merged: dict[str, Case], tmp_path: Path
) -> None:
    case = merged[name]
    out = tmp_path / "out"
    flow.apply(case.recipe(), base=str(case.base), out=out)
    ours, theirs, base = (_numbers(f) for f in (out, case.folder / "merged", case.base))
    plan = read_plan(out / "tokengraft" / "plan.json").plan
    touched = set(updates_by_tensor(plan.edits))
    assert touched
    for tensor, values in base.items():
        if tensor not in touched:
            assert np.array_equal(ours[tensor], values), tensor
            continue
        assert not np.array_equal(ours[tensor], values), tensor
        expected = theirs[tensor]
        largest = np.maximum(np.abs(expected), np.abs(values))
        # One step of the dtype at the larger of the two numbers that were added.
        assert np.all(np.abs(ours[tensor] - expected) <= 2 * LIMITS[case.dtype] * largest), tensor
    if theirs.keys() == base.keys():
        changed = {t for t in base if not np.array_equal(theirs[t], base[t])}
        assert changed - {"model.norm.weight"} == touched  # a float32 norm, loaded as bfloat16


@pytest.mark.parametrize("name", ["dense", "experts"])
def test_verify_computes_every_number_again(
    name: str, merged: dict[str, Case], tmp_path: Path
) -> None:
    case = merged[name]
    out = tmp_path / "out"
    recipe = case.recipe('[[add]]\ntext = "<|plan|>"\nuse = "role"\n')
    flow.apply(recipe, base=str(case.base), out=out, copy="copy")
    told = {c.name: c for c in proving.verify(out, against=str(case.base)).checks}
    assert told["low-rank-as-planned"].status == "pass"
    assert told["kept-rows"].status == "pass"
    assert {c.status for c in told.values()} <= {"pass", "skipped"}
    alone = {c.name: c.status for c in proving.verify(out).checks}
    assert alone["low-rank-as-planned"] == alone["base-without-the-base"] == "skipped"
    assert "fail" not in alone.values()
    # One bit of an updated tensor, with manifest and receipt made to agree, is still found.
    checkpoint = load(out)
    assert checkpoint.tensors is not None
    plan = read_plan(out / "tokengraft" / "plan.json").plan
    tensor = next(iter(updates_by_tensor(plan.edits)))
    ref = checkpoint.tensors.tensors[tensor]
    path = out / ref.file
    data = bytearray(path.read_bytes())
    data[ref.end - 1] ^= 1
    path.write_bytes(data)
    found = {c.name: c for c in proving.verify(out, against=str(case.base)).checks}
    assert found["low-rank-as-planned"].status == "fail"
    assert tensor in found["low-rank-as-planned"].evidence
    assert found["manifest"].status == "fail"


@pytest.mark.parametrize("spoilt", [{"shape": ()}, {"shape": (0, 8)}, {"dtype": "I8"}])
def test_tensors_that_nothing_can_be_added_to_fail_the_check(
    spoilt: dict[str, Any], merged: dict[str, Case], tmp_path: Path
) -> None:
    """Only an edited folder has them: `apply` refuses such tensors."""
    case = merged["dense"]
    flow.apply(case.recipe(), base=str(case.base), out=tmp_path / "out")
    graft = read_graft(tmp_path / "out")
    assert graft.plan is not None
    assert graft.checkpoint is not None
    tensor = next(iter(updates_by_tensor(graft.plan.edits)))

    def bent(checkpoint: Checkpoint) -> Checkpoint:
        assert checkpoint.tensors is not None
        tensors = dict(checkpoint.tensors.tensors)
        tensors[tensor] = replace(tensors[tensor], **spoilt)
        return replace(checkpoint, tensors=replace(checkpoint.tensors, tensors=tensors))

    changed = replace(graft, checkpoint=bent(graft.checkpoint))
    (check,) = check_low_rank(changed, bent(load(case.base)), ignore)
    assert check.status == "fail"
    assert f"{tensor} (missing, or of another shape or kind)" in check.evidence


def test_a_graft_with_an_adapter_is_applied_elsewhere_and_cannot_be_undone(
    merged: dict[str, Case], tmp_path: Path
) -> None:
    case = merged["experts"]
    planned = flow.make_plan(str(case.base), case.recipe())
    flow.write_plan(planned, tmp_path / "plan.json")
    again = tmp_path / "again"
    flow.apply(tmp_path / "plan.json", base=str(case.base), out=again)
    flow.apply_planned(planned, out=tmp_path / "out")
    manifests = {(f / "MANIFEST.sha256").read_bytes() for f in (again, tmp_path / "out")}
    assert len(manifests) == 1
    with safe_open(str(tmp_path / "plan.rows.safetensors"), "np") as file:
        factors = [file.get_tensor(n).tobytes() for n in file.keys() if n.startswith("lora.")]  # noqa: SIM118
    assert len(factors) == len(set(factors)), "gate and up projection share one A"
    with pytest.raises(PreconditionError, match="without its base"):
        flow.undo(again, target=tmp_path / "back")


def test_names_of_experts_that_transformers_4_gives(
    merged: dict[str, Case], tmp_path: Path
) -> None:
    """There each expert is a module: the same numbers under other names give the same weights."""
    case = merged["experts"]
    folder = tmp_path / "work"
    shutil.copytree(case.folder, folder)
    adapter = read_adapter(case.folder / "adapter")
    values = {
        name: widen(adapter.raw(name), ref.dtype).reshape(ref.shape)
        for name, ref in adapter.tensors.items()
    }
    apart: dict[str, Tensor] = {}
    for name, a in values.items():
        if "lora_A" not in name:
            continue
        module, b = name.removesuffix(".lora_A.weight"), values[name.replace("lora_A", "lora_B")]
        if not module.endswith(("experts", "experts.base_layer")):
            apart[name], apart[name.replace("lora_A", "lora_B")] = _f32(a), _f32(b)
            continue
        plain = module.removesuffix(".base_layer")
        a_ERD, b_NRE = a.reshape(4, 4, -1), b.reshape(len(b), 4, 4)
        for expert in range(4):
            own = b_NRE[:, :, expert]
            parts = {"gate_proj": own[:8], "up_proj": own[8:]}
            if not module.endswith("base_layer"):
                parts = {"down_proj": own}
            for kind, b_NR in parts.items():
                apart[f"{plain}.{expert}.{kind}.lora_A.weight"] = _f32(a_ERD[expert])
                apart[f"{plain}.{expert}.{kind}.lora_B.weight"] = _f32(b_NR)
    shutil.rmtree(folder / "adapter")
    (folder / "adapter").mkdir()
    write_safetensors(folder / "adapter" / "adapter_model.safetensors", apart)
    config = json.loads((case.folder / "adapter" / "adapter_config.json").read_text())
    config.update(target_parameters=None, alpha_pattern={"down_proj": 2})
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    flow.apply(case.recipe(), base=str(case.base), out=tmp_path / "new")
    flow.apply(Case(folder, case.dtype).recipe(), base=str(case.base), out=tmp_path / "old")
    for tensor, expected in _numbers(tmp_path / "new").items():
        assert np.array_equal(_numbers(tmp_path / "old")[tensor], expected), tensor


def _f32(values: np.ndarray) -> Tensor:
    return "F32", values.shape, values.astype("<f4").tobytes()
