"""Bake a LoRA over attention and experts: on the true layout of Qwen3-30B-A3B, and against PEFT.

    python benchmarks/bench_bake.py large --small-files FOLDER [--shards N] [--rank R] [--everywhere]
    python benchmarks/bench_bake.py growing --small-files FOLDER [--rank R]
    python benchmarks/bench_bake.py beside [--layers N]

All take `--work DIR`, and the first two `--kind BF16|F32`, the adapter's kind of number.

`large` lays out 18,867 tensors, 61 GB, in sparse files, makes an adapter in PEFT's names over
attention, routers and experts of the layers that lie whole in the first N shards, and plans, applies
and verifies it with hard links: those shards are written anew, the others stay links. The weights
under the adapter are holes, so every number that is written is the rounded sum alone, and samples of
it are computed again with numpy. With `--everywhere` the adapter covers all layers, and apply is
ended when the first N shards are written, or after `--minutes`: its memory is measured, and
nothing is left to verify.

`growing` bakes adapters over 4, 12 and 48 layers of a model with as many experts, all of it narrow:
factors weigh as much there at `--rank 448 --kind F32` as those of rank 16 of the large model, and
are computed with in minutes.

`beside` makes a small mixture of experts that fits, has PEFT train nothing but make an
adapter, and compares memory and numbers of `tokengraft apply` and of `merge_and_unload`
with `save_pretrained`, each in a process of its own, one after the other.
"""

from __future__ import annotations

import argparse
import json
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from processes import Cost, folder_bytes, run, stopped, tokengraft, tokengraft_command
from sparse_30b import CONFIG, assign_shards, lay_out, tensor_shapes

LIMIT_MB = 2000
ALPHA = 16
Floats = NDArray[np.float64]
KINDS: dict[str, Any] = {"BF16": ml_dtypes.bfloat16, "F32": np.float32}
RECIPE = 'version = 1\n[lora]\nadapter = "adapter"\n'


def main() -> int:
    """Measure; exit with 1 where memory or numbers are not as promised."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=("large", "growing", "beside"))
    parser.add_argument("--small-files", type=Path, help="folder with the model's tokenizer")
    parser.add_argument("--shards", type=int, default=16, help="of 16; each needs 4 GB of disk")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--kind", choices=tuple(KINDS), default="BF16")
    parser.add_argument("--everywhere", action="store_true", help="an adapter over all layers")
    parser.add_argument("--minutes", type=float, default=15, help="for apply, with --everywhere")
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--work", type=Path, help="default: a temporary folder")
    wish = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="tokengraft-bake-", dir=wish.work))
    try:
        return {"large": large, "growing": growing, "beside": beside}[wish.part](work, wish)
    finally:
        shutil.rmtree(work)


# ── the layout of 61 GB ──────────────────────────────────────────────────────────────────────────


def large(work: Path, wish: argparse.Namespace) -> int:
    """Bake into the first shards of the true layout."""
    base, out, plan = work / "base", work / "out", work / "plan.json"
    made = lay_out(base, small_files=wish.small_files)
    where = assign_shards(tensor_shapes(CONFIG))
    shards = sorted(set(where.values()))
    chosen = shards if wish.everywhere else shards[: wish.shards]
    layers = [
        layer
        for layer in range(CONFIG["num_hidden_layers"])
        if all(f in chosen for n, f in where.items() if n.startswith(f"model.layers.{layer}."))
    ]
    adapter = Adapter(CONFIG, layers, wish.rank, wish.kind)
    size = adapter.write(work / "adapter")
    (work / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    print(
        f"{made.size_bytes:,} bytes in {made.n_shards} shards; adapter of rank {wish.rank} on "
        f"{len(layers)} layers ({layers[0]} to {layers[-1]}), {size:,} bytes of {wish.kind}"
    )
    costs = [tokengraft("plan", base, work / "recipe.toml", "-o", plan)]
    told(
        "plan",
        costs[-1],
        f"{plan.with_name('plan.rows.safetensors').stat().st_size:,} bytes beside it",
    )
    command = ("apply", plan, "--base", base, "-o", out, "--copy", "link")
    if wish.everywhere and wish.shards < len(shards):
        behind = shards[wish.shards]
        seen: list[str] = []
        end = time.monotonic() + 60 * wish.minutes

        def enough() -> bool:
            seen[:] = sorted(p.name for p in work.glob(".out.stage-*/*.safetensors")) or seen
            return behind in seen or time.monotonic() > end

        costs.append(stopped(tokengraft_command(*command), enough))
        told("apply, ended early", costs[-1], f"while it wrote {seen[-1] if seen else 'no shard'}")
        return int(max(cost.peak_mb for cost in costs) > LIMIT_MB)
    costs.append(tokengraft(*command))
    told("apply", costs[-1], f"{folder_bytes(out, new_only=True):,} bytes written")
    costs.append(tokengraft("verify", out, "--against", base))
    told("verify", costs[-1])
    worst = sampled(work, base, adapter)
    print(f"largest difference from numpy, in steps of bfloat16: {worst:.0f}")
    return int(max(cost.peak_mb for cost in costs) > LIMIT_MB or worst > 1)


def growing(work: Path, wish: argparse.Namespace) -> int:
    """Plan, apply and verify adapters over more and more layers of one base."""
    narrow = {"hidden_size": 64, "head_dim": 16, "moe_intermediate_size": 32}
    config = {**CONFIG, **narrow}
    small = work / "small"
    shutil.copytree(wish.small_files, small)
    (small / "config.json").write_text(json.dumps(config), encoding="utf-8")
    base = work / "base"
    made = lay_out(base, small_files=small)
    print(f"{made.size_bytes:,} bytes; adapters of rank {wish.rank}, {wish.kind}")
    peak = 0.0
    for n_layers in (4, 12, 48):
        place = work / f"over-{n_layers}"
        place.mkdir()
        size = Adapter(config, list(range(n_layers)), wish.rank, wish.kind).write(place / "adapter")
        (place / "recipe.toml").write_text(RECIPE, encoding="utf-8")
        plan, out = place / "plan.json", place / "out"
        steps = {
            "plan": ("plan", base, place / "recipe.toml", "-o", plan),
            "apply": ("apply", plan, "--base", base, "-o", out),
            "verify": ("verify", out, "--against", base),
        }
        for name, command in steps.items():
            cost = tokengraft(*command)
            told(name, cost, f"{n_layers} layers, {size:,} bytes of factors")
            peak = max(peak, cost.peak_mb)
        shutil.rmtree(place)
    return int(peak > LIMIT_MB)


def told(name: str, cost: Cost, more: str = "") -> None:
    """Print one line of the table."""
    print(f"{name:28} {cost.seconds:8.1f} s  {cost.peak_mb:8.0f} MB  {more}", flush=True)


@dataclass(frozen=True)
class Adapter:
    """A LoRA over attention, routers and experts of some layers, the same at each reading."""

    config: Mapping[str, Any]
    layers: list[int]
    rank: int
    kind: str

    def factors(self, layer: int) -> Iterator[tuple[str, str, NDArray[Any]]]:
        """Module, side and values of every factor of a layer."""
        config, rank = self.config, self.rank
        hidden, inner, n = (
            config[key] for key in ("hidden_size", "moe_intermediate_size", "num_experts")
        )
        q, kv = (
            config[f"num_{kind}_heads"] * config["head_dim"] for kind in ("attention", "key_value")
        )
        modules = {
            "self_attn.q_proj": (rank, hidden, q),
            "self_attn.k_proj": (rank, hidden, kv),
            "self_attn.v_proj": (rank, hidden, kv),
            "self_attn.o_proj": (rank, q, hidden),
            "mlp.gate": (rank, hidden, n),
            "mlp.experts.base_layer": (
                n * rank,
                hidden,
                2 * inner,
            ),  # gate and up, as PEFT nests them
            "mlp.experts": (n * rank, inner, hidden),
        }
        for number, (module, (ranks, n_in, n_out)) in enumerate(modules.items()):
            random = np.random.default_rng((layer, number))
            for side, shape in (("A", (ranks, n_in)), ("B", (n_out, ranks))):
                values = random.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
                yield module, side, values.astype(KINDS[self.kind])

    def write(self, folder: Path) -> int:
        """Write a folder as PEFT's save_pretrained does; return the bytes of its factors."""
        folder.mkdir()
        settings = {
            "peft_type": "LORA",
            "r": self.rank,
            "lora_alpha": ALPHA,
            "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate"],
            "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
        }
        (folder / "adapter_config.json").write_text(json.dumps(settings), encoding="utf-8")
        header: dict[str, Any] = {}
        at = 0
        shapes = [(m, side, values.shape) for m, side, values in self.factors(self.layers[0])]
        for layer in self.layers:
            for module, side, shape in shapes:
                name = f"base_model.model.model.layers.{layer}.{module}.lora_{side}.weight"
                offsets = [at, at := at + prod(shape) * np.dtype(KINDS[self.kind]).itemsize]
                header[name] = {"dtype": self.kind, "shape": shape, "data_offsets": offsets}
        text = json.dumps(header).encode()
        with (folder / "adapter_model.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for layer in self.layers:
                for _, _, values in self.factors(layer):
                    file.write(values.tobytes())
        return at


def sampled(work: Path, base: Path, adapter: Adapter) -> float:
    """The largest difference of some tensors from numpy's own sums, in steps of bfloat16."""
    where = json.loads((base / "model.safetensors.index.json").read_text())["weight_map"]
    random = np.random.default_rng(5)
    layers = adapter.layers
    worst = 0.0
    for layer in sorted({layers[0], layers[len(layers) // 2], layers[-1]}):
        found = {(module, side): values for module, side, values in adapter.factors(layer)}
        for expert in random.choice(CONFIG["num_experts"], 2, replace=False):
            for tensor, update in expected(found, layer, int(expert), adapter.rank):
                with safe_open(work / "out" / where[tensor], "np") as file:
                    ours = file.get_tensor(tensor).astype(np.float64)
                worst = max(worst, steps_apart(ours, update))
    return worst


def expected(
    found: Mapping[tuple[str, str], NDArray[Any]], layer: int, expert: int, rank: int
) -> Iterator[tuple[str, Floats]]:
    """What is added to a layer's tensors by matrix products of numpy, of one expert."""
    place = f"model.layers.{layer}"
    scale = ALPHA / rank
    for module in ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate"):
        a, b = (found[module, side].astype(np.float64) for side in "AB")
        yield f"{place}.{module}.weight", scale * (b @ a)
    inner, n = CONFIG["moe_intermediate_size"], CONFIG["num_experts"]
    for module, parts in (("mlp.experts.base_layer", ("gate", "up")), ("mlp.experts", ("down",))):
        a, b = (found[module, side].astype(np.float64) for side in "AB")
        sum_ND = b.reshape(len(b), rank, n)[:, :, expert] @ a.reshape(n, rank, -1)[expert]
        for at, part in enumerate(parts):
            rows = sum_ND[at * inner : (at + 1) * inner] if len(parts) > 1 else sum_ND
            yield f"{place}.mlp.experts.{expert}.{part}_proj.weight", scale * rows


def steps_apart(ours: Floats, exact: Floats) -> float:
    """How far apart, in steps of bfloat16 at the number itself."""
    rounded = exact.astype(np.float32).astype(ml_dtypes.bfloat16).astype(np.float64)
    return float((np.abs(ours - rounded) / step_at(np.abs(rounded))).max())


def step_at(size: Floats) -> Floats:
    """One step of bfloat16 at numbers of this size."""
    return np.asarray(2.0 ** (np.floor(np.log2(np.maximum(size, 1e-30))) - 7))


# ── beside PEFT, on a model that fits ────────────────────────────────────────────────────────────

MAKE = """
import sys, torch, transformers
from pathlib import Path
from peft import LoraConfig, get_peft_model
work, layers = Path(sys.argv[1]), int(sys.argv[2])
torch.manual_seed(0); torch.set_num_threads(1)
config = transformers.AutoConfig.for_model("qwen3_moe", hidden_size=1024, num_hidden_layers=layers,
    vocab_size=512, num_attention_heads=16, num_key_value_heads=4, head_dim=64, num_experts=32,
    moe_intermediate_size=512, intermediate_size=2048, num_experts_per_tok=4)
torch.set_default_dtype(torch.bfloat16)
model = transformers.AutoModelForCausalLM.from_config(config)
model.save_pretrained(work / "base")
adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16,
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
    target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]))
for name, parameter in adapted.named_parameters():
    if "lora_" in name:
        torch.nn.init.normal_(parameter, std=0.02)
adapted.save_pretrained(work / "adapter")
"""
MERGE = """
import sys, torch, transformers
from pathlib import Path
from peft import PeftModel
work = Path(sys.argv[1])
torch.set_num_threads(1)
model = transformers.AutoModelForCausalLM.from_pretrained(work / "base", dtype=torch.bfloat16)
PeftModel.from_pretrained(model, work / "adapter").merge_and_unload().save_pretrained(work / "merged")
"""


def beside(work: Path, wish: argparse.Namespace) -> int:
    """Bake and merge the same adapter; compare memory and every number."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    import tiny

    run([sys.executable, "-W", "ignore", "-c", MAKE, work, str(wish.layers)])
    tiny.build(work / "tokens", shards=0, n_rows=512)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(work / "tokens" / file, work / "base" / file)
    (work / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    size = folder_bytes(work / "base")
    ours = tokengraft("apply", work / "recipe.toml", "--base", work / "base", "-o", work / "out")
    theirs = run([sys.executable, "-W", "ignore", "-c", MERGE, work])
    worst, n_tensors, n_equal = compared(work)
    print(f"a mixture of experts of {size:,} bytes in bfloat16, {wish.layers} layers, rank 8")
    told("tokengraft apply", ours)
    told("merge_and_unload + save", theirs)
    print(
        f"{n_tensors} tensors: {n_equal} bit for bit alike; the largest difference is {worst:.1f} "
        "steps of bfloat16 at the largest of old number, new number and what was added"
    )
    return int(worst > 1)


def compared(work: Path) -> tuple[float, int, int]:
    """The largest difference in steps, the number of tensors, and how many are equal."""
    folders = [work / name for name in ("base", "out", "merged")]
    base, out, merged = (_tensors(folder) for folder in folders)
    worst, n_equal = 0.0, 0
    for name, path in out.items():
        values = [_values(p, name) for p in (base[name], path, merged[name])]
        if np.array_equal(values[1], values[2]):
            n_equal += 1
            continue
        added = values[1] - values[0]  # PEFT rounds it, so it counts where it is the larger one
        largest = np.max(np.abs([*values, added]), axis=0)
        apart = np.abs(values[1] - values[2]) / step_at(largest)
        worst = max(worst, float(apart.max()))
    return worst, len(out), n_equal


def _tensors(folder: Path) -> dict[str, Path]:
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "np") as file:
            found |= dict.fromkeys(file.keys(), path)
    return found


def _values(path: Path, name: str) -> Floats:
    with safe_open(path, "np") as file:
        values: Floats = file.get_tensor(name).astype(np.float64)
        return values


if __name__ == "__main__":
    raise SystemExit(main())
