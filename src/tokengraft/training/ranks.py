"""Several processes of one launch: the first one works, the others join it where it trains.

`accelerate launch -m tokengraft train …` starts the same command several times. Planning, reading
data, applying and proving happen once, in the first process (rank 0); the others wait in `follow`
until they are told a folder to train, and leave when they are told that there is no more. What is
told goes over the process group that Accelerate makes, so no file and no name must be agreed on.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from tokengraft.events import Listen, ignore

# While the first process plans or applies, the others wait in a collective operation.
PATIENCE = timedelta(days=7)
_FAILED: list[Path] = []  # what could not be trained: then the launcher ends the others


def count() -> int:
    """How many processes were launched; 1 without a launcher."""
    return max(1, int(os.environ.get("WORLD_SIZE", "1")))


def is_follower() -> bool:
    """Whether another process does all that is done once."""
    return count() > 1 and int(os.environ.get("RANK", "0")) > 0


def follow(listen: Listen = ignore) -> None:
    """Train whatever the first process trains, until it dismisses all others."""
    from tokengraft.training import sft_training

    _gather()
    while (work := _told(None)) is not None:
        sft_training.train(Path(work), listen)


def train_together(work: Path, listen: Listen = ignore) -> None:
    """Train a folder, in all processes of the launch."""
    from tokengraft.training import sft_training

    if count() > 1:
        _gather()
        _told(str(work))
    try:
        sft_training.train(work, listen)
    except BaseException:
        _FAILED.append(work)
        raise


def dismiss() -> None:
    """Let the other processes go; the first process calls it once, when no training is left.

    After a training that failed, nobody is told anything: the others are somewhere in it, and the
    launcher ends them when this process ends.
    """
    if count() > 1 and not is_follower() and not _FAILED:
        _gather()
        _told(None)


def _gather() -> None:
    """Make the process group, once."""
    import torch

    from accelerate import PartialState

    if not PartialState._shared_state:  # noqa: SLF001 - Accelerate has no other way to ask
        on_cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
        PartialState(cpu=on_cpu, timeout=PATIENCE)


def _told(work: str | None) -> str | None:
    """Send (first process) or receive (all others) the folder to train; None ends it."""
    from accelerate.utils import broadcast_object_list

    box = [work]
    broadcast_object_list(box, from_process=0)
    return box[0]
