"""Several processes of a launch train the rows that one trains."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("accelerate", reason="needs tokengraft[train]")

from distilled_in_processes import trained

TESTS = Path(__file__).resolve().parent


def test_two_processes_of_a_launch_train_the_rows_of_one(tmp_path: Path) -> None:
    out = tmp_path / "rows.npz"
    path = os.pathsep.join(filter(None, sys.path))  # what tests find, their processes find
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    # `--cpu` alone starts one process, whatever number it is told.
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch"),
        *("--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
        *(str(TESTS / "distilled_in_processes.py"), str(out)),
    ]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(out) as found:
        assert int(found["world"]) == 2
        assert np.array_equal(*found["seen"])  # each process ends with the same rows
        for name, rows in trained(None).items():
            assert found[name] == pytest.approx(rows, rel=1e-3, abs=1e-4), name
