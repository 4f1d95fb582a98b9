"""Ask transformers for the rotary positions of models, without their weights; a process of its own.

Usage: python -P ask_positions.py ASKED.json ANSWER.json. Imports nothing of tokengraft, so that any
environment with transformers (4.57 or 5) and torch can run it. A model is built without memory for
its weights, and each of its rotary modules anew, so that what is asked is what the model would do.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FULL, SLIDING = "full_attention", "sliding_attention"


def main(asked: str, answer: str) -> None:
    """Write `version` and, for each folder, its `layers` or an `error`."""
    import transformers

    transformers.logging.set_verbosity_error()
    wish = json.loads(Path(asked).read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = []
    for folder in wish["folders"]:
        try:
            found.append({"layers": layers(folder, wish["lengths"])})
        except Exception as error:  # noqa: BLE001 - whatever a foreign config makes it raise is the answer
            found.append({"error": f"{type(error).__name__}: {error}"})
    told = {"version": transformers.__version__, "folders": found}
    Path(answer).write_text(json.dumps(told), encoding="utf-8")


def layers(folder: str, lengths: list[int]) -> dict[str, Any]:
    """By kind of layer ("" where there is one): the frequencies at each length, and what multiplies.

    A module is made anew for each length, since modules remember the longest text they have seen.
    """
    found: dict[str, Any] = {}
    for kind, module in rotary_modules(folder):
        for length in lengths:
            for own, turns, factor in seen(module, length):
                entry = found.setdefault(own or kind, {"frequencies": {}, "attention": {}})
                entry["frequencies"][str(length)] = turns
                entry["attention"][str(length)] = factor
    return found


def rotary_modules(folder: str) -> Iterator[tuple[str, Any]]:
    """The rotary modules of the language model, each with the kind of layer that it serves."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    config = config.get_text_config()
    with torch.device("meta"):
        try:
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        except ValueError:
            model = AutoModel.from_config(config, trust_remote_code=False)
    modules = {
        name: module
        for name, module in model.named_modules()
        if "RotaryEmbedding" in type(module).__name__ and "Vision" not in type(module).__name__
    }
    if not modules:
        raise ValueError(f"{type(model).__name__} has no rotary module")
    has_local = any(name.endswith("_local") for name in modules)
    for name, module in modules.items():
        kind = name.rpartition(".")[2]
        if kind not in (FULL, SLIDING):  # transformers 4 tells them apart by name, or not at all
            kind = (SLIDING if name.endswith("_local") else FULL) if has_local else ""
        yield kind, module


def seen(module: Any, length: int) -> Iterator[tuple[str, list[float], float]]:  # noqa: ANN401 - a torch module
    """What a rotary module uses for the last token of a text: kind, frequencies, factor."""
    import torch

    made = inspect.signature(type(module)).parameters
    named = {"rope_type": module.rope_type} if "rope_type" in made else {}  # OLMo 3 in version 4
    fresh = type(module)(module.config, **named)
    names = [name for name, _ in fresh.named_buffers(recurse=False)]
    kinds = [n.removesuffix("inv_freq").rstrip("_") for n in names if n.endswith("inv_freq")]
    for kind in kinds:
        if kind.endswith("original"):
            continue
        more = {"layer_type": kind} if kind else {}
        last = torch.tensor([[length - 1]])
        with torch.inference_mode():
            try:
                fresh(torch.zeros(1, 1, 1), last, **more)
            except (RuntimeError, IndexError):
                fresh(
                    torch.zeros(1, 1, 1), last[None].expand(3, 1, 1), **more
                )  # time, height, width
        prefix = f"{kind}_" if kind else ""
        turns = getattr(fresh, f"{prefix}inv_freq").float().tolist()
        yield kind, turns, float(getattr(fresh, f"{prefix}attention_scaling", 1.0))


if __name__ == "__main__":
    main(*sys.argv[1:3])
