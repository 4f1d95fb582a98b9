"""`tokengraft run` with training on a published model and real text: verified, within five minutes on two cores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

WORDS = ("friends", "wanted", "were", "their", "girl", "have", "them", "went")
TEXT_BYTES = 700_000
MOST_SECONDS = 300


@pytest.mark.parametrize("stages", [("fit",), ("fit", "distil")], ids="-".join)
def test_eight_words_are_learned_and_proved_within_five_minutes(
    stages: tuple[str, ...],
    data: Path,
    tmp_path: Path,
) -> None:
    whole = (data / "text" / "tinystories" / "tiny_stories_944k.txt").read_bytes()
    text = whole[:TEXT_BYTES].decode("utf-8", "ignore")
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    adds = "".join(f'[[add]]\ntext = " {word}"\nuse = "word"\n' for word in WORDS)
    train = f'[train]\nstages = {json.dumps(stages)}\ndata = "text.txt"\n'
    (tmp_path / "recipe.toml").write_text(f"version = 1\n{adds}{train}", encoding="utf-8")
    base = data / "models" / "stories260K"
    command = ["-m", "tokengraft", "run", "recipe.toml", "--base", str(base), "-o", "out", "--json"]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=_on_two_cores,
    )
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["verify"]["passed"]
    assert list(stages) == [stage["stage"] for stage in told["stages"]]
    tokens = told["tokens"]["tokens"]
    assert {f" {word}" for word in WORDS} == {token["text"] for token in tokens}
    assert all(token["write"] > 0 for token in tokens)
    spent = {stage["stage"]: stage["seconds"] for stage in told["stages"]}
    figures = [(token["text"], token["read"], token["write"]) for token in tokens]
    assert seconds < MOST_SECONDS, (spent, figures)


def _on_two_cores() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:2]))
