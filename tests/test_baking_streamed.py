"""Factors are read one by one on their way from the adapter into weights, and those read are those planned."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tiny
from raw_tensors import Tensor, tensor_bytes, write_safetensors
from tokengraft.applying.low_rank import updated
from tokengraft.errors import StalePlan
from tokengraft.events import ignore
from tokengraft.flow import making as flow
from tokengraft.formats.loading import load
from tokengraft.formats.rows import MemoryRows, RowReader
from tokengraft.low_rank import AddLowRank
from tokengraft.tensors import TensorRef
from tokengraft.verifying.low_rank import check_low_rank
from tokengraft.verifying.records import read_graft

MODULES, RANK, N_OUT, N_IN = 40, 16, 64, 4096
ADAPTER = "adapter_model.safetensors"


def wide_base(folder: Path) -> Path:
    """A tiny checkpoint with more matrices, whose factors weigh more than all else that is read."""
    base = tiny.build(folder)
    tensors = tensor_bytes(base)
    for number in range(MODULES):
        name = f"model.layers.0.wide.{number}.weight"
        tensors[name] = ("BF16", (N_OUT, N_IN), bytes(2 * N_OUT * N_IN))
    write_safetensors(base / "model.safetensors", tensors)
    return base


def adapter_over(folder: Path, n_modules: int) -> int:
    """Write an adapter and a recipe that bakes it; return the bytes of its factors."""
    random = np.random.default_rng(3)
    tensors: dict[str, Tensor] = {}
    for number in range(n_modules):
        name = f"base_model.model.model.layers.0.wide.{number}"
        for side, shape in (("A", (RANK, N_IN)), ("B", (N_OUT, RANK))):
            values = random.standard_normal(shape).astype("<f4")
            tensors[f"{name}.lora_{side}.weight"] = ("F32", shape, values.tobytes())
    (folder / "adapter").mkdir(parents=True)
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": 4}
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps(settings))
    write_safetensors(folder / "adapter" / ADAPTER, tensors)
    (folder / "recipe.toml").write_text('version = 1\n[lora]\nadapter = "adapter"\n')
    return sum(len(data) for _, _, data in tensors.values())


def peak_of(step: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        step()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_adapter(tmp_path: Path) -> None:
    base = wide_base(tmp_path / "base")
    size: dict[int, int] = {}
    peaks: dict[int, dict[str, int]] = {}
    few = MODULES // 5
    for number, n_modules in enumerate((few, few, MODULES)):  # modules are imported the first time
        place = tmp_path / str(number)
        size[n_modules] = adapter_over(place, n_modules)
        plan, out = place / "plan.json", place / "out"

        def planned(place: Path = place, plan: Path = plan) -> None:
            flow.write_plan(flow.make_plan(str(base), place / "recipe.toml"), plan)

        def applied(plan: Path = plan, out: Path = out) -> None:
            flow.apply(plan, base=str(base), out=out)

        def proved(out: Path = out) -> None:
            (check,) = check_low_rank(read_graft(out), load(base), ignore)
            assert check.status == "pass"

        steps = {"plan": planned, "apply": applied, "verify": proved}
        peaks[n_modules] = {name: peak_of(step) for name, step in steps.items()}
    more = size[MODULES] - size[few]
    grown = {name: peaks[MODULES][name] - peak for name, peak in peaks[few].items()}
    assert all(growth < more / 4 for growth in grown.values()), (grown, more)


def test_an_adapter_that_changes_after_it_was_planned_is_found(tmp_path: Path) -> None:
    base = wide_base(tmp_path / "base")
    adapter_over(tmp_path, 3)
    planned = flow.make_plan(str(base), tmp_path / "recipe.toml")
    flow.write_plan(planned, tmp_path / "plan.json")
    weights = tmp_path / "adapter" / ADAPTER
    honest = weights.read_bytes()
    begin = 8 + int.from_bytes(honest[:8], "little")
    weights.write_bytes(honest[:begin] + bytes([honest[begin] ^ 1]) + honest[begin + 1 :])
    with pytest.raises(StalePlan, match="sidecar is not the one") as stale:
        flow.apply_planned(planned, out=tmp_path / "out")
    assert stale.value.exit_code == 4
    with pytest.raises(StalePlan, match="sidecar is not the one"):
        flow.write_plan(planned, tmp_path / "other.json")
    left = {path.name for path in tmp_path.iterdir()}
    assert not {"out", "other.rows.safetensors"} & left
    assert not [name for name in left if name.startswith(".")]
    # The plan that was written before carries its own copy, and minds the adapter no more.
    flow.apply(tmp_path / "plan.json", base=str(base), out=tmp_path / "out")
    sidecar = tmp_path / "plan.rows.safetensors"
    data = sidecar.read_bytes()
    sidecar.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StalePlan, match="sidecar is not the one"):
        flow.apply(tmp_path / "plan.json", base=str(base), out=tmp_path / "again")


def test_updates_of_parts_and_of_all_of_a_tensor_are_added_in_the_order_of_the_plan(
    tmp_path: Path,
) -> None:
    """In float64 the order of a sum is seen in its last bits."""
    random = np.random.default_rng(0)
    n_rows, width = 3000, 40  # several blocks
    base = random.standard_normal((n_rows, width))
    (tmp_path / "t").write_bytes(base.tobytes())
    slices = [(900, 2100), None, (0, 2), (900, 2100), (2999, 3000)]
    updates, factors, expected = [], {}, base.copy()
    for number, rows in enumerate(slices):
        first, end = rows or (0, n_rows)
        b, a = random.standard_normal((end - first, 1)), random.standard_normal((1, width))
        for name, values in ((f"a{number}", a), (f"b{number}", b)):
            ref = TensorRef(name, "F64", values.shape, "s", 0, values.nbytes)
            factors[name] = MemoryRows(values.tobytes(), ref)
        scale = 10.0**number
        updates.append(
            AddLowRank(tensor="t", a=f"a{number}", b=f"b{number}", scale=scale, slice=rows)
        )
        expected[first:end] += (b * a) * scale
    with (tmp_path / "t").open("rb") as file:
        tensor = RowReader(file.fileno(), TensorRef("t", "F64", base.shape, "t", 0, base.nbytes))
        made = b"".join(updated(tensor, updates, factors))
    assert made == expected.tobytes()
