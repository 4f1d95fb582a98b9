"""A training that `accelerate launch` starts, in as many processes as it likes: rows into a file.

python tests/distilled_in_processes.py OUT.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import gather

from accelerate import PartialState
from test_distilling import HOW, some_rows, started, told_of, windows
from test_fitting import small
from tokengraft.recipes import Distillation
from tokengraft.training import ranks
from tokengraft.training.distilling import distil_rows
from tokengraft.training.language_model import language_model
from tokengraft.training.lessons import share_of

SETTINGS: dict[str, Distillation] = {
    **{name: HOW[name] for name in ("predictions", "adam")},
    "text": HOW["adam"].model_copy(update={"cross_entropy": "auto"}),
}


def trained(state: PartialState | None) -> dict[str, np.ndarray]:
    """Rows by the settings that they were trained with."""
    torch.set_num_threads(1)
    model = language_model(small("llama"))
    start = started(model, some_rows(model))
    share = None if state is None else share_of(state)
    return {
        name: distil_rows(
            model,
            told_of(model, windows(25)),
            start,
            wish.model_copy(update={"passes": 8}),
            share=share,
        ).input_ND
        for name, wish in SETTINGS.items()
    }


def threads() -> list[str]:
    """Names of the threads of this process, of the process group's among them."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


if __name__ == "__main__":
    state = ranks.state()
    made = trained(state)
    mine = np.concatenate(list(made.values()))
    seen = gather(torch.from_numpy(mine)[None]).numpy()  # by process
    assert sys.platform != "linux" or any("gloo" in name for name in threads())
    ranks.leave()
    assert not any("gloo" in name for name in threads())  # none may drop a tensor while Python ends
    if state.is_main_process:
        np.savez(sys.argv[1], world=state.num_processes, seen=seen, **made)
