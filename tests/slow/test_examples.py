"""The three examples end to end, by rows and by LoRA: trained, proved, and asked what they learned.

    pytest tests/slow/test_examples.py -k "agent-role and rows"

Each takes minutes on one core. The bounds are those of the suites that the examples make.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="needs tokengraft[train]")

REPO = Path(__file__).resolve().parents[2]
CHAT = REPO / "models" / "tiny-qwen3-moe-chat"
EXAMPLES = ("agent-role", "thinking-modules", "tool-calls")
# What `lora` is held to beyond the suite's own bounds: near misses count as neutral prompts do.
LORA = {"near_miss": 0.01}
LORA_TOOLS = {"parsed": 0.9, "names": 0.9, "arguments": 0.9}
ROWS = {"neutral_bits": 0.01}


def tokengraft(*arguments: object, cwd: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tokengraft", *map(str, arguments), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, capture_output=True, check=False, cwd=cwd, env=environment, timeout=3600
    )
    assert done.returncode in (0, 1), done.stderr.decode()[-3000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def bounded(suite: Path, more: dict[str, float]) -> None:
    """Write further bounds into a suite."""
    rows = [json.loads(line) for line in suite.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if row["kind"] == "bounds":
            row.update(more)
    suite.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("method", ["rows", "lora"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_learns_what_its_suite_asks(
    name: str, method: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    folder = tmp_path / name
    shutil.copytree(REPO / "examples" / name, folder)
    made = [str(REPO / "examples" / name / "make_data.py"), "--out", str(folder)]
    subprocess.run([sys.executable, *made], check=True)
    chosen = f'train.sft.method="{method}"'
    told = tokengraft(
        "train", CHAT, folder / "recipe.toml", "-o", "out", "--set", chosen, cwd=tmp_path
    )
    assert told["verify"]["passed"]
    more = ROWS if method == "rows" else LORA | (LORA_TOOLS if name == "tool-calls" else {})
    bounded(folder / "suite.jsonl", more)
    suite = folder / "suite.jsonl"
    verified = tokengraft("verify", "out", "--against", CHAT, "--behaviour", suite, cwd=tmp_path)
    record_property("behaviour", verified.get("behaviour"))
    failed = [check for check in verified["checks"] if check["status"] == "fail"]
    assert failed == []
    assert verified["passed"]
