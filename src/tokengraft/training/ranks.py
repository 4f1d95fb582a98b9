"""Several processes of one launch: the first one works, the others join it where it trains.

`accelerate launch -m tokengraft train …` starts the same command several times. Planning, reading
data, applying and proving happen once, in the first process (rank 0); the others wait in `follow`
until they are told a folder to train, and leave when they are told that there is no more. What is
told goes over the process group that Accelerate makes, so no file and no name must be agreed on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from tokengraft.events import Listen, ignore

Kind = Literal["distil", "sft"]

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
    state()
    while (told := _told(None)) is not None:
        kind, work = told
        _trainer(kind)(Path(work), listen)
    leave()


def train_together(kind: Kind, work: Path, listen: Listen = ignore) -> Any:
    """Train a folder, in all processes of the launch; what the first process's training returns."""
    if count() > 1:
        state()
        _told((kind, str(work)))
    try:
        return _trainer(kind)(work, listen)
    except BaseException:
        _FAILED.append(work)
        raise


def _trainer(kind: Kind) -> Callable[[Path, Listen], Any]:
    trainer: Callable[[Path, Listen], Any]
    if kind == "sft":
        from tokengraft.training.sft_training import train as trainer
    else:
        from tokengraft.training.distil_training import train as trainer
    return trainer


def dismiss() -> None:
    """Let the other processes go; the first process calls it once, when no training is left.

    After a training that failed, nobody is told anything: the others are somewhere in it, and the
    launcher ends them when this process ends.
    """
    if count() > 1 and not is_follower() and not _FAILED:
        state()
        _told(None)
        leave()


def state() -> Any:
    """Accelerate's state of this process; made once, with the process group."""
    import torch

    from accelerate import PartialState

    if count() > 1:
        import torch.distributed.nn  # before there is a group: see `leave`
    if not PartialState._shared_state:  # noqa: SLF001 - Accelerate has no other way to ask
        on_cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
        PartialState(cpu=on_cpu, timeout=PATIENCE)
    return PartialState()


def leave() -> None:
    """Destroy the process group: every process does it, once, when nothing is said any more.

    The group's threads drop tensors whenever they come to it. Where one does so while Python ends, the
    process is aborted (pytorch/pytorch#190489). Destroyed, the group waits for its threads, but only
    if nobody holds it: `torch.distributed.nn` holds as default arguments the group that is there when
    it is imported, which transformers does some day. So `state` imports it before there is one.
    """
    state().destroy_process_group()


def _told(what: tuple[Kind, str] | None) -> tuple[Kind, str] | None:
    """Send (first process) or receive (all others) a folder and how to train it; None ends it."""
    from accelerate.utils import broadcast_object_list

    box = [what]
    broadcast_object_list(box, from_process=0)
    return box[0]
