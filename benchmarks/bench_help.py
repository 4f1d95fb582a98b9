"""How long `tokengraft --help` takes, whole process, beside an interpreter that does nothing.

python benchmarks/bench_help.py [RUNS] prints medians in milliseconds. Runs of all commands take
turns, so that a machine that slows down slows all of them down.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

# What a user may expect of help: whole process, warm file cache.
BUDGET_MS = 150.0
COMMANDS = {
    "python -c pass": ("-c", "pass"),
    "python -c 'import click'": ("-c", "import click"),
    "tokengraft --help": ("-m", "tokengraft", "--help"),
    "tokengraft plan --help": ("-m", "tokengraft", "plan", "--help"),
    "tokengraft recipe new --help": ("-m", "tokengraft", "recipe", "new", "--help"),
    "tokengraft --version": ("-m", "tokengraft", "--version"),
}


def once(arguments: tuple[str, ...]) -> float:
    """Run one command and return its milliseconds."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True
    )
    return (time.perf_counter() - started) * 1000


def main() -> int:
    """Print medians and the spread; exit with 1 if help is over its budget."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for at in range(runs + 1):
        for name, arguments in COMMANDS.items():
            taken = once(arguments)
            if at:  # the first round warms the file cache and writes bytecode
                times[name].append(taken)
    over = False
    print(f"{'median of ' + str(runs):32}  median    min     max   ms")
    for name, taken_ms in times.items():
        median = statistics.median(taken_ms)
        over |= name.startswith("tokengraft") and median > BUDGET_MS
        print(f"{name:32}  {median:6.1f}  {min(taken_ms):6.1f}  {max(taken_ms):6.1f}")
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
