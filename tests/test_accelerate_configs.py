"""The configuration files that come along are ones that Accelerate takes, key by key."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

accelerate = pytest.importorskip("accelerate", reason="needs tokengraft[train]")

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "accelerate"
NAMES = ("ddp", "fsdp2", "zero3")


def config(name: str) -> Any:
    from accelerate.commands.config.config_args import load_config_from_file

    return load_config_from_file(str(FOLDER / f"{name}.yaml"))


def arguments(name: str) -> argparse.Namespace:
    """What `accelerate launch` makes of a file, as it would start a script with it."""
    from accelerate.commands import launch

    parser = launch.launch_command_parser()
    given = parser.parse_args(["--config_file", str(FOLDER / f"{name}.yaml"), "script.py"])
    return launch._validate_launch_command(given)[0]


def test_every_file_is_tried() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(NAMES)


@pytest.mark.parametrize(
    ("name", "kind"), [("ddp", "MULTI_GPU"), ("fsdp2", "FSDP"), ("zero3", "DEEPSPEED")]
)
def test_a_file_is_read_as_the_kind_it_says(name: str, kind: str) -> None:
    # The loader refuses keys that it does not know.
    found = config(name)
    assert found.distributed_type == kind
    assert found.num_processes > 1


def test_the_file_for_fsdp_asks_for_its_second_version() -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin
    from accelerate.utils.launch import prepare_multi_gpu_env

    found = prepare_multi_gpu_env(arguments("fsdp2"))
    assert found["FSDP_VERSION"] == "2"
    with pytest.MonkeyPatch.context() as patch:
        for key, value in found.items():
            if key.startswith("FSDP_"):
                patch.setenv(key, value)
        plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.cpu_ram_efficient_loading is True
    assert "FULL" in str(plugin.state_dict_type)


def test_the_file_for_deepspeed_asks_for_its_third_stage() -> None:
    from accelerate.utils.launch import prepare_deepspeed_cmd_env

    if find_spec("deepspeed") is None:
        assert arguments("zero3").zero_stage == 3
        return
    _, found = prepare_deepspeed_cmd_env(arguments("zero3"))
    assert found["ACCELERATE_DEEPSPEED_ZERO_STAGE"] == "3"


@pytest.mark.parametrize("name", ["fsdp2", "zero3"])
def test_an_engine_that_shards_trains_on_the_devices_at_hand(name: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs: Accelerate has no FSDP and no ZeRO-3 on CPUs")
    if name == "zero3":
        pytest.importorskip("deepspeed")
    from slow.test_sft_processes import SCRIPT

    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    start = [sys.executable, "-m", "accelerate.commands.launch"]
    start += ["--config_file", str(FOLDER / f"{name}.yaml"), "--num_processes", "2"]
    here = Path(__file__).resolve().parent
    command = [*start, str(script), str(tmp_path), str(here), "train.sft.steps=2"]
    subprocess.run(command, check=True, env=dict(os.environ), timeout=900)
    assert (tmp_path / "rows-2.safetensors").exists()
