"""Apply with `--copy copy`, proofs included, beside a plain copy of the same folder that is synced.

    python benchmarks/bench_copy.py [--gigabytes 2] [--rounds 5] [--work DIR]

Both take turns in pairs, after one unmeasured pair, since a machine that slows down slows both. The
plain copy is `cp -r` and `sync -f`: a copy that is not on disk yet is not done. Prints medians,
ranges and the median of the paired ratios, for weights in one file, which is rewritten,
and in 8 shards, as larger models come.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from processes import folder_bytes, run, tokengraft

REPOSITORY = Path(__file__).resolve().parents[1]
MODEL = REPOSITORY / "models" / "tiny-qwen3-moe-base"
GOAL = 1.5
BLOCK_BYTES = 1 << 26
LAYOUTS = {1: "one file, rewritten", 8: "8 shards, two of them rewritten"}


def main() -> int:
    """Print the table; exit with 1 if a ratio is above its goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path)
    wish = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="tokengraft-bench-", dir=wish.work))
    # As an installed program has it: modules are compiled once, in the unmeasured pair.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(work / "compiled")
    try:
        met = [measure(work, wish.gigabytes, wish.rounds, shards) for shards in LAYOUTS]
        return 0 if all(met) else 1
    finally:
        shutil.rmtree(work)


def lay_out(base: Path, gigabytes: float, shards: int) -> None:
    """The small model, and beside it weights of random bytes that no edit touches.

    The input embedding lies in the first file and the output one in the last, as in real models.
    """
    sys.path.insert(0, str(REPOSITORY / "tests"))
    from raw_tensors import Tensor, write_safetensors

    shutil.copytree(MODEL, base)
    for path in base.glob("*.safetensors*"):
        path.unlink()
    rng = np.random.default_rng(0)
    rows = 4096
    matrix = ("BF16", (rows, 96), rng.integers(0, 127, rows * 96, np.uint16).tobytes())
    blocks = round(gigabytes * 1e9 / BLOCK_BYTES / shards) * shards
    block = rng.bytes(BLOCK_BYTES)
    parts: list[dict[str, Tensor]] = [{} for _ in range(shards)]
    for number in range(blocks):
        name = f"model.layers.{number}.mlp.weight"
        parts[number * shards // blocks][name] = ("U8", (BLOCK_BYTES,), block)
    parts[0]["model.embed_tokens.weight"] = parts[-1]["lm_head.weight"] = matrix
    if shards == 1:
        write_safetensors(base / "model.safetensors", parts[0])
        return
    names = [f"model-{n + 1:05d}-of-{shards:05d}.safetensors" for n in range(shards)]
    for name, part in zip(names, parts, strict=True):
        write_safetensors(base / name, part)
    where = {tensor: name for name, part in zip(names, parts, strict=True) for tensor in part}
    size = sum(len(data) for part in parts for _, _, data in part.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (base / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def measure(work: Path, gigabytes: float, rounds: int, shards: int) -> bool:
    """Time both in turns, and say whether the goal is met."""
    base, recipe = work / "base", REPOSITORY / "examples" / "agent.toml"
    lay_out(base, gigabytes, shards)
    plan = work / "plan.json"
    tokengraft("plan", base, recipe, "-o", plan)
    times: dict[str, list[float]] = {"cp": [], "apply": []}
    for number in range(rounds + 1):
        for name, found in times.items():
            out = work / f"out-{name}"
            run(["sync", "-f", work])
            started = time.perf_counter()
            if name == "cp":
                run(["cp", "-r", base, out])
                run(["sync", "-f", out])
            else:
                tokengraft("apply", plan, "--base", base, "-o", out, "--copy", "copy")
            if number:  # the first pair warms caches
                found.append(time.perf_counter() - started)
            shutil.rmtree(out)
    print(f"folder   {folder_bytes(base):,} bytes in {LAYOUTS[shards]}, {rounds} pairs")
    for name, found in times.items():
        middle = statistics.median(found)
        print(f"{name:8} {middle:6.2f} s   ({min(found):.2f} to {max(found):.2f})")
    ratios = [ours / plain for ours, plain in zip(times["apply"], times["cp"], strict=True)]
    ratio = statistics.median(ratios)
    print(f"ratio    {ratio:.2f}   ({min(ratios):.2f} to {max(ratios):.2f}), goal {GOAL}")
    shutil.rmtree(base)
    return ratio <= GOAL


if __name__ == "__main__":
    raise SystemExit(main())
