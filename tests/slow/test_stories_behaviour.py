"""stories260K the whole way: words added, fitted and trained on real text, proved; old text costs no more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="needs tokengraft[train]")

WORDS = ("friends", "flower", "castle", "rabbit")
TRAINED_BYTES = 300_000
TEXTS = 60
RECIPE = """version = 1
{adds}
[train]
stages = ["fit", "sft"]
data = "text.txt"
[train.sft]
method = "rows"
steps = 40
"""


def tokengraft(*arguments: object, cwd: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tokengraft", *map(str, arguments), "--json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_text_without_the_new_words_costs_what_it_cost(data: Path, tmp_path: Path) -> None:
    whole = (data / "text" / "tinystories" / "tiny_stories_944k.txt").read_bytes()
    text = whole[:TRAINED_BYTES].decode("utf-8", "ignore")
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    adds = "\n".join(f'[[add]]\ntext = " {word}"\nuse = "word"' for word in WORDS)
    (tmp_path / "recipe.toml").write_text(RECIPE.format(adds=adds), encoding="utf-8")
    unseen = whole[TRAINED_BYTES:].decode("utf-8", "ignore").split("\n\n")[1:]
    chosen = [one for one in unseen if one.strip() and not any(w in one for w in WORDS)][:TEXTS]
    assert len(chosen) == TEXTS
    lines: list[dict[str, Any]] = [{"kind": "text", "text": one} for one in chosen]
    lines.append({"kind": "bounds", "neutral_bits": 0.01})
    (tmp_path / "suite.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    base = data / "models" / "stories260K"
    told = tokengraft("run", "recipe.toml", "--base", base, "-o", "out", cwd=tmp_path)
    assert told["verify"]["passed"], told["verify"]
    assert [stage["stage"] for stage in told["stages"]] == ["fit", "sft"]
    proved = tokengraft(
        "verify", "out", "--against", base, "--behaviour", "suite.jsonl", cwd=tmp_path
    )
    (check,) = [one for one in proved["checks"] if one["name"] == "neutral-text"]
    assert check["status"] == "pass", check["evidence"]
    bits = proved["behaviour"]["neutral_bits"]
    assert bits["compared_with"] == "the base"
    assert abs(bits["difference"]) <= 0.01
