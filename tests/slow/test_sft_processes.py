"""Two processes of one launch give what one process gives, on the CPU.

pytest tests/slow/test_sft_processes.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="needs tokengraft[train]")

HERE = Path(__file__).resolve().parent
SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from sft_jobs import job
from tokengraft.training import ranks, sft_stage, sft_training
from tokengraft.training.row_files import save_rows

folder = Path(sys.argv[1])
if ranks.is_follower():
    ranks.follow()
else:
    made = job(folder, overrides=tuple(sys.argv[3:]), work=f"work-{ranks.count()}")
    result = sft_stage.run(made)
    ranks.dismiss()
    save_rows(result.rows, folder / f"rows-{ranks.count()}.safetensors")
from accelerate import PartialState
state = PartialState()
told = {"processes": state.num_processes, "type": str(state.distributed_type), "backend": state.backend}
(folder / f"state-{ranks.count()}-{state.process_index}.json").write_text(json.dumps(told))
"""


def launched(folder: Path, n: int, *overrides: str) -> None:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    start = [sys.executable]
    if n > 1:
        # Without --multi_gpu, Accelerate starts one process on a machine that has no GPU.
        more = ["--multi_gpu", "--num_processes", str(n), "--num_machines", "1"]
        more += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
        start += ["-m", "accelerate.commands.launch", *more]
    command = [*start, str(script), str(folder), str(HERE.parent), *overrides]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, check=True, cwd=folder, env=environment, timeout=900)


def curve(work: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (work / "curves.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


@pytest.mark.parametrize("method", ["rows", "lora"])
def test_two_processes_train_what_one_trains(tmp_path: Path, method: str) -> None:
    import numpy as np
    from safetensors.numpy import load_file

    wish = (f"train.sft.method={method!r}", "train.sft.steps=4", "train.sft.batch=8")
    for n in (1, 2):
        launched(tmp_path, n, *wish)
    states = [json.loads((tmp_path / f"state-2-{rank}.json").read_text()) for rank in (0, 1)]
    for state in states:
        assert state == {"processes": 2, "type": "DistributedType.MULTI_CPU", "backend": "gloo"}
    alone, together = curve(tmp_path / "work-1"), curve(tmp_path / "work-2")
    assert [line["step"] for line in together] == [line["step"] for line in alone] == [1, 2, 3, 4]
    for one, two in zip(alone, together, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert two["lr"] == one["lr"]
    rows = [load_file(tmp_path / f"rows-{n}.safetensors") for n in (1, 2)]
    for name in ("input", "output"):
        assert np.abs(rows[0][name] - rows[1][name]).max() < 2e-4


def test_the_command_itself_may_be_launched(tmp_path: Path) -> None:
    from sft_jobs import CHAT, RECIPE, conversations, write_rows

    write_rows(tmp_path / "data.jsonl", conversations(8))
    (tmp_path / "recipe.toml").write_text(RECIPE + "steps = 2\nbatch = 8\n")
    start = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
    ]
    start += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    start += ["--main_process_port", "0", "-m", "tokengraft", "train"]
    out = tmp_path / "out"
    command = [*start, str(CHAT), str(tmp_path / "recipe.toml"), "-o", str(out), "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=900, check=False)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    told = json.loads(done.stdout)  # the first process alone says something
    assert told["verify"]["passed"]
    assert len(curve(tmp_path / "out.training")) == 2
