"""A training that `accelerate launch` starts, in as many processes as it likes: rows into a file.

python tests/distilled_in_processes.py OUT.npz
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import torch

from accelerate import Accelerator
from test_distilling import HOW, some_rows, started, told_of, windows
from test_fitting import small
from tokengraft.training.distilling import distil_rows
from tokengraft.training.language_model import language_model
from tokengraft.training.lessons import share_of
from tokengraft.training.training_settings import Settings

SETTINGS: dict[str, Settings] = {name: HOW[name] for name in ("predictions", "adam")}


def trained(accelerator: Accelerator | None) -> dict[str, np.ndarray]:
    """Rows by the settings that they were trained with."""
    torch.set_num_threads(1)
    model = language_model(small("llama"))
    start = started(model, some_rows(model))
    share = None if accelerator is None else share_of(accelerator)
    return {
        name: distil_rows(
            model,
            told_of(model, windows(25)),
            start,
            replace(settings, passes=8),
            share=share,
        ).input_ND
        for name, settings in SETTINGS.items()
    }


if __name__ == "__main__":
    process = Accelerator(cpu=True)
    made = trained(process)
    mine = np.concatenate(list(made.values()))
    seen = process.gather(torch.from_numpy(mine)[None]).numpy()  # by process
    if process.is_main_process:
        np.savez(sys.argv[1], world=process.num_processes, seen=seen, **made)
    process.end_training()
