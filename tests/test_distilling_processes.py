"""Several processes of a launch train the rows that one trains."""
# ruff: noqa: E402 - without torch the import below fails, and the file is skipped before it

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("accelerate", reason="needs tokengraft[train]")

from distilled_in_processes import trained

TESTS = Path(__file__).resolve().parent
BASE = TESTS.parent / "models" / "tiny-qwen3-moe-base"
RECIPE = """version = 1
[[add]]
text = " barometer"
use = "word"
[[add]]
text = "<|plan|>"
use = "thinking"
meaning = "the plan is this"
[train]
stages = ["distil"]
data = "text.txt"
[train.distil]
passes = 4
batch = 10
"""
DOCUMENT = "the man saw the {} near the sea. a girl painted the house last summer. "


def launched(*command: str, n: int = 2) -> subprocess.CompletedProcess[str]:
    """What `accelerate launch` makes of a command, in so many processes on the CPU."""
    path = os.pathsep.join(filter(None, sys.path))  # what tests find, their processes find
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    # `--cpu` alone starts one process, whatever number it is told.
    start = [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        *("--multi_gpu", "--num_processes", str(n), "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
    ]
    return subprocess.run(
        [*start, *command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def asked(folder: Path) -> Path:
    """A recipe with its text."""
    folder.mkdir(exist_ok=True)
    things = ("barometer", "river", "book", "garden")
    documents = [
        " ".join(DOCUMENT.format(things[(n + m) % 4]) for m in range(12)) for n in range(40)
    ]
    (folder / "text.txt").write_text("\n\n".join(documents), encoding="utf-8")
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    return folder / "recipe.toml"


def left(out: Path) -> tuple[dict[str, np.ndarray], dict[str, float], list[dict[str, float]]]:
    """Rows, figures and curve of the stage."""
    from safetensors.numpy import load_file

    folder = out.with_name(f"{out.name}.training")
    record = json.loads((folder / "distil" / "stage.json").read_text())
    curve = [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]
    return load_file(folder / "distil" / "rows.safetensors"), record["figures"], curve


def test_two_processes_of_a_launch_train_the_rows_of_one(tmp_path: Path) -> None:
    out = tmp_path / "rows.npz"
    done = launched(str(TESTS / "distilled_in_processes.py"), str(out))
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(out) as found:
        assert int(found["world"]) == 2
        assert np.array_equal(*found["seen"])  # each process ends with the same rows
        for name, rows in trained(None).items():
            assert found[name] == pytest.approx(rows, rel=1e-3, abs=1e-4), name


def test_the_command_shares_the_stage_among_the_processes_of_a_launch(tmp_path: Path) -> None:
    from tokengraft import flow

    torch.set_num_threads(1)
    recipe = asked(tmp_path)
    flow.train(str(BASE), recipe, out=tmp_path / "one")
    command = ("-m", "tokengraft", "train", str(BASE), str(recipe))
    done = launched(*command, "-o", str(tmp_path / "two"), "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["verify"]["passed"]  # the first process alone says something
    (alone, one, curve), (together, two, other) = left(tmp_path / "one"), left(tmp_path / "two")
    assert (one["distil_processes"], two["distil_processes"]) == (1, 2)
    assert [line["step"] for line in other] == [line["step"] for line in curve] == [1, 2, 3, 4]
    for line, same in zip(curve, other, strict=True):
        assert same["loss"] == pytest.approx(line["loss"], rel=1e-3)
    for name in ("input", "output"):
        assert together[name] == pytest.approx(alone[name], rel=1e-3, abs=1e-4)
