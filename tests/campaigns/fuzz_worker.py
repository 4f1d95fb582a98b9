"""Fuzz one format in a process of its own, which may take 512 MB and whose children may too.

Usage: python fuzz_worker.py FORMAT CASES FOLDER; the counts are printed as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
MEMORY_BYTES = 512 * 2**20
MOST_SECONDS = 2.0
AT_ONCE = 10  # cases that are made of one number: drawing it takes longer than most of them


def main() -> None:
    """Run the cases that hypothesis draws; the first failure ends the process with its traceback."""
    name, cases, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    from fuzzed_all import readers

    with readers(folder) as found:
        reader = found[name]
        slowest = 0.0

        @settings(
            max_examples=cases // AT_ONCE,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.integers(0, 2**64 - 1))
        def run(seed: int) -> None:
            nonlocal slowest
            random = Random(seed)
            for number in range(AT_ONCE):
                data = reader.make(random)
                started = time.process_time()
                try:
                    reader.run(data)
                except BaseException as error:
                    error.add_note(f"case {number}: {data[-2000:]!r}")
                    raise
                slowest = max(slowest, time.process_time() - started)
                assert slowest < MOST_SECONDS, f"{slowest:.1f} seconds: {data[-2000:]!r}"

        run()
    print(json.dumps({"counts": reader.counts, "slowest_seconds": slowest}))  # noqa: T201


if __name__ == "__main__":
    main()
