"""What `audit --deep` costs on the 61 GB layout: seconds and peak memory, with and without it.

    python benchmarks/bench_deep_audit.py [--layout FOLDER] [--small-files FOLDER] [--times 3]

Without `--layout` the layout is made in a temporary folder and removed again (1.2 GB on disk). The
rows are random, so no row can be called trained or untrained: reading costs the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import sparse_30b

MODULE = (sys.executable, "-m", "tokengraft")


def measure(folder: Path, *options: str) -> tuple[float, float, float, dict[str, object]]:
    """Seconds, seconds of CPU time, peak resident memory in MB, and the answer of one audit in a process of its own."""
    command = [*MODULE, "audit", str(folder), "--json", "--fail-on", "never", "-q", *options]
    with tempfile.TemporaryFile() as out:
        started = time.perf_counter()
        child = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0, f"{command} gave {child.returncode}"
        out.seek(0)
        answer: dict[str, object] = json.load(out)
    per_unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / per_unit, answer


def bench(folder: Path, times: int) -> None:
    """Print a line for each way of auditing."""
    for options in ((), ("--deep",)):
        runs = [measure(folder, *options) for _ in range(times)]
        seconds = ", ".join(f"{run[0]:.1f}" for run in runs)
        cpu = min(run[1] for run in runs)
        peak = max(run[2] for run in runs)
        rows = runs[0][3].get("rows")
        read = rows["bytes_read"] if isinstance(rows, dict) else 0
        name = " ".join(("audit", *options))
        print(
            f"{name:<14} {seconds} s   CPU {cpu:.1f} s   peak {peak:,.0f} MB   {read:,} bytes of rows read"
        )


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layout", type=Path, help="a layout that was made before")
    parser.add_argument("--small-files", type=Path, help="tokenizer and config to lay out with")
    parser.add_argument("--times", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.layout is not None:
        bench(chosen.layout, chosen.times)
        return 0
    data = os.environ.get("TOKENGRAFT_DATA")
    named = Path(data, "tokenizers", "qwen3-30b-a3b-base") if data else None
    small = chosen.small_files or named
    with tempfile.TemporaryDirectory() as folder:
        made = sparse_30b.lay_out(Path(folder, "m30"), small_files=small, rows="random")
        print(
            f"{made.n_tensors:,} tensors, {made.size_bytes:,} bytes, rows in {made.seconds:.0f} s"
        )
        bench(made.folder, chosen.times)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
