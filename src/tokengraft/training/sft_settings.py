"""What is trained, as a file: whoever trains reads it, be it one process or many.

The first process writes it beside the data; the others are told the folder alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.errors import MissingExtra, RefusedError, UsageError
from tokengraft.recipes import Supervised
from tokengraft.training.trackers import require_tracker

SETTINGS, START = "settings.json", "start.safetensors"
HINT_EXTRA = "pip install 'tokengraft[train]'"


class NotTrainable(RefusedError):
    """What is asked for cannot be trained on this model, or not be kept afterwards."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One supervised training of N new tokens.

    Attributes:
        staged: the folder to load, with the plan applied.
        base: the untouched folder, by which an adapter names its base.
        ids: of the new tokens, in the order of the row set.
        length: rows were cut behind so many tokens; packs have this length.
        pad_id: what sequences are filled up with; never in the loss.
        has_held_out: whether there are rows to validate on.
    """

    staged: str
    base: str
    ids: tuple[int, ...]
    length: int
    pad_id: int
    seed: int
    has_held_out: bool
    wish: Supervised

    def save(self, work: Path) -> None:
        told: dict[str, Any] = asdict(self) | {"wish": self.wish.model_dump(mode="json")}
        (work / SETTINGS).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, work: Path) -> Settings:
        told = json.loads((work / SETTINGS).read_text(encoding="utf-8"))
        assert set(told) == {field.name for field in fields(cls)}
        wish = Supervised.model_validate_json(json.dumps(told.pop("wish")))
        return cls(**{**told, "ids": tuple(told["ids"])}, wish=wish)


def save_start(
    work: Path, input_ND: NDArray[np.float64], output_ND: NDArray[np.float64] | None
) -> None:
    """Write the rows that the training starts from, not yet rounded."""
    from safetensors.numpy import save_file

    rows = {"input": input_ND.astype(np.float32)}
    if output_ND is not None:
        rows["output"] = output_ND.astype(np.float32)
    save_file(rows, work / START)


def check_wish(wish: Supervised, quantized: str, *, n_processes: int = 1) -> None:
    """Refuse what cannot be carried out, before anything is read.

    Args:
        quantized: how the base's weights are quantised, as its config says; empty if they are not.
    Raises:
        UsageError: every weight is asked for, or the batch cannot be divided.
        NotTrainable: an adapter cannot be added to quantised weights.
        MissingExtra: a library is missing.
    """
    from importlib.util import find_spec

    if wish.method == "full":
        raise UsageError(
            "tokengraft trains new rows and adapters, not every weight",
            detail="old rows would not keep their bits, and nothing of the base could be proved",
            subject="train.sft.method",
            hint="graft with tokengraft apply, then: trl sft --model_name_or_path OUT "
            "--dataset_name DATA --assistant_only_loss true --output_dir TRAINED",
        )
    missing = [
        name for name in ("torch", "transformers", "trl", "peft", "datasets") if not find_spec(name)
    ]
    if missing:
        raise MissingExtra("fine-tuning needs " + ", ".join(missing), detail="", hint=HINT_EXTRA)
    if wish.quantize and not find_spec("bitsandbytes"):
        raise MissingExtra(
            "quantize = '4bit' needs bitsandbytes, which is not installed",
            detail="it keeps the frozen weights in four bits on a GPU (QLoRA)",
            subject="train.sft.quantize",
            hint="pip install bitsandbytes, or leave quantize out",
        )
    require_tracker(wish.log, "train.sft.log")
    if quantized and wish.method == "lora" and wish.save == "baked":
        raise NotTrainable(
            f"an adapter cannot be baked into weights that are quantised ({quantized})",
            detail="the sum would have to be quantised again, which changes every weight",
            subject="train.sft.save",
            hint="save = 'adapter' keeps it beside the model; or train the unquantised base",
        )
    device_batch(wish, n_processes)


def device_batch(wish: Supervised, n_processes: int) -> tuple[int, int]:
    """Sequences that a process takes at once, and how often before a step.

    Raises:
        UsageError: `batch` is no multiple of both.
    """
    if wish.batch % n_processes:
        raise UsageError(
            f"batch = {wish.batch} cannot be divided among {n_processes} processes",
            subject="train.sft.batch",
            hint=f"give a multiple of {n_processes}: batch counts the sequences of one step, all "
            "processes together",
        )
    share = wish.batch // n_processes
    at_once = min(wish.device_batch or min(share, 8), share)
    while wish.device_batch is None and share % at_once:
        at_once -= 1
    if share % at_once:
        raise UsageError(
            f"device_batch = {at_once} does not divide the {share} sequences of a process",
            detail=f"batch = {wish.batch} among {n_processes} processes",
            subject="train.sft.device_batch",
            hint="give a divisor, or leave device_batch out",
        )
    return at_once, share // at_once
