"""The main job on the true layout of Qwen3-30B-A3B: 18,867 tensors, 61 GB, with hard links.

    python benchmarks/bench_main_job.py --small-files FOLDER [--work DIR] [--verify]

FOLDER holds the model's tokenizer and config. Prints seconds, peak memory and bytes written of
audit, plan and apply. The experts are holes in sparse files: reads of them are cheaper than on a
real disk, so the seconds of apply are a floor, and memory and bytes written are as they are.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from processes import Cost, folder_bytes, tokengraft
from sparse_30b import lay_out

LIMIT_MB = 300
RECIPE = """
version = 1
[[add]]
text = "<|my_agi_mode|>"
use = "role"
meaning = "an agent that plans first and then answers"
[[add]]
text = "<tool_start>"
use = "tool"
[[add]]
text = "</tool_end>"
use = "tool"
[[add]]
text = "<|recursion|>"
use = "thinking"
[[add]]
text = "<|think|>"
use = "thinking"
[[add]]
text = "<|conflict|>"
use = "thinking"
[pad]
token = "<|pad|>"
[context]
length = 131072
"""


def main() -> int:
    """Print the table; exit with 1 if a step took more memory than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small-files", type=Path, required=True)
    parser.add_argument("--work", type=Path, help="where 6.4 GB fit; default: a temporary folder")
    parser.add_argument("--verify", action="store_true", help="verify too: reads 61 GB again")
    wish = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="tokengraft-bench-", dir=wish.work))
    try:
        return measure(work, wish.small_files, verify=wish.verify)
    finally:
        shutil.rmtree(work)


def measure(work: Path, small_files: Path, *, verify: bool) -> int:
    """Lay the model out and run the steps one after another."""
    base, recipe, out = work / "base", work / "recipe.toml", work / "out"
    lay_out(base, small_files=small_files)
    recipe.write_text(RECIPE, encoding="utf-8")
    steps: dict[str, Cost] = {
        "audit": tokengraft("audit", base, "--fail-on", "never"),
        "plan": tokengraft("plan", base, recipe, "-o", work / "plan.json"),
        "apply": tokengraft(
            "apply", work / "plan.json", "--base", base, "-o", out, "--copy", "link"
        ),
    }
    if verify:
        steps["verify"] = tokengraft("verify", out)
    for name, cost in steps.items():
        print(f"{name:8} {cost.seconds:8.1f} s   {cost.peak_mb:6.0f} MB peak")
    print(f"written  {folder_bytes(out, new_only=True):,} bytes of {folder_bytes(out):,}")
    worst = max(cost.peak_mb for cost in steps.values())
    print(f"limit    {LIMIT_MB} MB: {'kept' if worst <= LIMIT_MB else 'BROKEN'}")
    return 0 if worst <= LIMIT_MB else 1


if __name__ == "__main__":
    raise SystemExit(main())
