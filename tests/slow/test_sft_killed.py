"""A training by `sft` that is killed in the middle ends as if it had not been.

pytest tests/slow/test_sft_killed.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="needs tokengraft[train]")

from sft_jobs import CHAT, RECIPE, conversations, write_rows

STEPS = 24  # a checkpoint after every third
MORE = f"steps = {STEPS}\nbatch = 4\ncheckpoints = 8\nmethod = 'lora'\nrank = 2\n"
PATIENCE_SECONDS = 900
WORK = Path("out.training", "sft", "work")


def begin(folder: Path) -> subprocess.Popen[bytes]:
    """`tokengraft train` in a process group of its own; what it says goes into a file."""
    command = [sys.executable, "-m", "tokengraft", "train", str(CHAT), "recipe.toml", "-o", "out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=said, stderr=said, start_new_session=True
        )


def wait_for_checkpoint(process: subprocess.Popen[bytes], folder: Path) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not list((folder / WORK / "checkpoints").glob("checkpoint-*/trainer_state.json")):
        assert process.poll() is None, (folder / "said.txt").read_text()
        assert time.monotonic() < until
        time.sleep(0.01)


def curve(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / WORK / "curves.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in told]


def files(folder: Path) -> dict[str, str]:
    """Digests of what was made, but for those that name the folder or the time."""
    lines = (folder / "out" / "MANIFEST.sha256").read_text().splitlines()
    return {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}


def test_a_killed_training_ends_with_the_curve_and_the_rows_of_one_that_was_left_alone(
    tmp_path: Path,
) -> None:
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.toml").write_text(RECIPE + MORE, encoding="utf-8")
        write_rows(tmp_path / name / "data.jsonl", conversations(40))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = begin(killed)
    try:
        wait_for_checkpoint(process, killed)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (killed / "out").exists()
    assert not (killed / WORK.parent / "stage.json").exists()
    assert 3 <= max(line["step"] for line in curve(killed)) < STEPS
    for folder in (whole, killed):
        assert begin(folder).wait(PATIENCE_SECONDS) == 0, (folder / "said.txt").read_text()
    assert "going on from checkpoint-" in (killed / "said.txt").read_text()
    assert [line["step"] for line in curve(whole) if "loss" in line] == [*range(1, STEPS + 1)]
    assert curve(whole) == curve(killed)
    rows = [(folder / WORK.parent / "rows.safetensors").read_bytes() for folder in (whole, killed)]
    assert rows[0] == rows[1]
    assert files(whole) == files(killed)
