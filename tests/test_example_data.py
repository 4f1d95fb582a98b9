"""The data of the examples: the same from the same seed, and nothing asked that was trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[1]
EXAMPLES = ("agent-role", "tool-calls", "thinking-modules")


def _made(example: str, folder: Path, *more: str) -> dict[str, list[dict[str, Any]]]:
    script = REPO / "examples" / example / "make_data.py"
    command = [sys.executable, str(script), "--out", str(folder), *more]
    subprocess.run(command, check=True, capture_output=True)
    return {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        for name in ("train", "suite")
    }


@pytest.mark.parametrize("example", EXAMPLES)
def test_no_prompt_of_a_suite_was_trained(example: str, tmp_path: Path) -> None:
    made = _made(example, tmp_path, "--rows", "600", "--prompts", "60")
    trained = {row["messages"][0]["content"] for row in made["train"]}
    kinds = {"wanted", "neutral", "near-miss"}
    asked = [row for row in made["suite"] if row["kind"] in kinds]
    assert [] == [row for row in asked if row["messages"][0]["content"] in trained]
    counts = {kind: sum(row["kind"] == kind for row in asked) for kind in kinds}
    assert counts == dict.fromkeys(kinds, 60)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_same_seed_gives_the_same_data(example: str, tmp_path: Path) -> None:
    few = ("--rows", "40", "--prompts", "8")
    one = _made(example, tmp_path / "one", *few)
    assert one == _made(example, tmp_path / "two", *few)
    assert one != _made(example, tmp_path / "three", *few, "--seed", "8")


def test_the_benchmark_of_tool_calls_leaves_nothing_behind(tmp_path: Path) -> None:
    script = REPO / "benchmarks" / "bench_tool_data.py"
    command = [sys.executable, str(script), "--data", str(tmp_path / "nowhere")]
    environ = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, env=environ, check=False)
    assert b"BFCL_v4_simple_python.json" in done.stderr  # it came as far as to read the data
    assert [] == list(tmp_path.iterdir())
