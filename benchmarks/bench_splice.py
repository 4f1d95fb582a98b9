"""100,000 new tokens into a tokenizer.json: bytes spliced, beside parsing and dumping the file.

python benchmarks/bench_splice.py TOKENIZER_JSON [--tokens 100000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tokengraft.formats.json_text import apply_splices
from tokengraft.formats.patching import patched
from tokengraft.plans import InsertTokens, PatchJson, PlannedToken

GOAL_SECONDS = 1.0


def main() -> int:
    """Print medians; exit with 1 if the splice takes longer than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    wish = parser.parse_args()
    data = wish.tokenizer.read_bytes()
    first = max(entry["id"] for entry in json.loads(data)["added_tokens"]) + 1
    tokens = tuple(
        PlannedToken(text=f"<|new_{n}|>", id=first + n, action="add") for n in range(wish.tokens)
    )
    insert = InsertTokens(
        pointer="/added_tokens", form="added_tokens", first_id=first, count=wish.tokens
    )
    edit = PatchJson(path="tokenizer.json", changes=(insert,))

    def spliced() -> bytes:
        return apply_splices(data, patched(data, edit, tokens))

    def dumped() -> bytes:
        value = json.loads(data)
        value["added_tokens"] += [{"id": t.id, "content": t.text, "special": False} for t in tokens]
        return json.dumps(value, ensure_ascii=False, indent=2).encode()

    ours = timed("splice", spliced, wish.rounds)
    theirs = timed("json.loads and json.dumps", dumped, wish.rounds)
    print(f"ratio {theirs / ours:.1f}, goal: splice under {GOAL_SECONDS} s")
    return 0 if ours <= GOAL_SECONDS else 1


def timed(name: str, step: Callable[[], bytes], rounds: int) -> float:
    """The median seconds of a step, after one run that is not counted."""
    step()
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        size = len(step())
        found.append(time.perf_counter() - started)
    middle = statistics.median(found)
    print(f"{name:26} {middle:6.3f} s  ({min(found):.3f} to {max(found):.3f}), {size:,} bytes")
    return middle


if __name__ == "__main__":
    raise SystemExit(main())
