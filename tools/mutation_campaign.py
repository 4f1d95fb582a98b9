"""Grade the audit with mutants that know nothing of its rules, and list every miss.

Usage: PYTHONPATH=src:tests:tests/auditing python tools/mutation_campaign.py N [FIRST_SEED] [FOLDER...]
TOKENGRAFT_TF4 and TOKENGRAFT_TF5 name Pythons with transformers 4 and 5; TOKENGRAFT_DATA, if set,
adds a real tokenizer to the tiny ones. Folders that are given are mutated instead of all these.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from campaign import campaign

import tiny


def bases(work: Path) -> list[Path]:
    """Good checkpoints of both kinds, with and without the older files."""
    made = [
        tiny.build(work / "bpe"),
        tiny.build(work / "bpe-legacy", legacy=True, merges="pairs", tied=True),
        tiny.build(work / "byte-fallback", kind="byte-fallback"),
        tiny.build(work / "bpe-jinja", template="both", shards=2),
    ]
    data = os.environ.get("TOKENGRAFT_DATA")
    return [*made, Path(data) / "tokenizers" / "minimind"] if data else made


def main(number: int, first: int, folders: Sequence[Path]) -> int:
    """Run the campaign; 1 if a mutant that matters was missed."""
    pythons = [os.environ["TOKENGRAFT_TF4"], os.environ["TOKENGRAFT_TF5"]]
    n_counted, missed = 0, []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        seeds = range(first, first + number)
        for mutant in campaign(folders or bases(work), seeds, pythons, work):
            if mutant.matters:
                n_counted += 1
                if not mutant.found:
                    missed.append(mutant)
                    print(f"miss: {mutant.base} seed {mutant.seed}: {mutant.change}", flush=True)
    found = n_counted - len(missed)
    print(f"{number} mutants, {n_counted} matter, {found} found ({found / max(1, n_counted):.2%})")
    return bool(missed)


if __name__ == "__main__":
    first = int(sys.argv[2]) if sys.argv[2:] else 0
    sys.exit(main(int(sys.argv[1]), first, [Path(name) for name in sys.argv[3:]]))
