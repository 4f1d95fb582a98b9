"""Apply with `--copy copy`, proofs included, beside a plain copy of the same folder that is synced.

    python benchmarks/bench_copy.py [--gigabytes 2] [--rounds 5] [--work DIR]

Both take turns in pairs, after one unmeasured pair, since a machine that slows down slows both. The
plain copy is `cp -r` and `sync -f`: a copy that is not on disk yet is not done. Prints medians,
ranges and the median of the paired ratios.
"""

from __future__ import annotations

import argparse
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
SHARD_BYTES = 1 << 28


def main() -> int:
    """Print the table; exit with 1 if the ratio is above its goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path)
    wish = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="tokengraft-bench-", dir=wish.work))
    try:
        return measure(work, wish.gigabytes, wish.rounds)
    finally:
        shutil.rmtree(work)


def lay_out(base: Path, gigabytes: float) -> None:
    """The small model, and beside it weights of random bytes that no edit touches."""
    sys.path.insert(0, str(REPOSITORY / "tests"))
    from raw_tensors import write_weights

    shutil.copytree(MODEL, base)
    for path in base.glob("*.safetensors*"):
        path.unlink()
    rng = np.random.default_rng(0)
    rows = 4096
    matrix = ("BF16", (rows, 96), rng.integers(0, 127, rows * 96, np.uint16).tobytes())
    tensors = {"model.embed_tokens.weight": matrix, "lm_head.weight": matrix}
    block = rng.bytes(SHARD_BYTES)
    for number in range(round(gigabytes * 1e9 / SHARD_BYTES)):
        name = f"model.layers.{number}.mlp.weight"
        tensors[name] = ("U8", (SHARD_BYTES,), block)
    write_weights(base, tensors, shards=2)


def measure(work: Path, gigabytes: float, rounds: int) -> int:
    """Time both in turns."""
    base, recipe = work / "base", REPOSITORY / "examples" / "agent.toml"
    lay_out(base, gigabytes)
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
    print(f"folder   {folder_bytes(base):,} bytes, {rounds} pairs")
    for name, found in times.items():
        middle = statistics.median(found)
        print(f"{name:8} {middle:6.2f} s   ({min(found):.2f} to {max(found):.2f})")
    ratios = [ours / plain for ours, plain in zip(times["apply"], times["cp"], strict=True)]
    ratio = statistics.median(ratios)
    print(f"ratio    {ratio:.2f}   ({min(ratios):.2f} to {max(ratios):.2f}), goal {GOAL}")
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    raise SystemExit(main())
