"""Run two models on the same prompts, one after the other; runs in a process of its own.

Usage: python -P run_models.py ASKED.json ANSWER.json. Imports nothing of tokengraft.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(asked: str, answer: str) -> None:
    """Write `same_text`, `largest`, `steps` and `dtype`, or `error`."""
    wish = json.loads(Path(asked).read_text(encoding="utf-8"))
    found: dict[str, object]
    try:
        first, second = (_run(folder, wish, at) for at, folder in enumerate(wish["folders"]))
        pairs = list(zip(first, second, strict=True))
        found = {
            "same_text": sum(a[0] == b[0] for a, b in pairs),
            "largest": max(float((a[1] - b[1]).abs().max()) for a, b in pairs),
            "steps": max(_steps(a[1], b[1], a[2]) for a, b in pairs),
            "dtype": str(first[0][2]).removeprefix("torch."),
        }
    except Exception as error:  # noqa: BLE001 - whatever a foreign model makes it raise is the answer
        found = {"error": f"{type(error).__name__}: {error}"}
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


def _steps(one: Any, other: Any, dtype: Any) -> float:  # noqa: ANN401 - tensors, and a torch dtype
    """The largest difference, in steps of the model's kind of number at that size."""
    import torch

    step = torch.finfo(dtype).eps * one.abs().clamp(min=1.0)
    return float(((one - other).abs() / step).max())


def _run(folder: str, wish: dict[str, Any], at: int) -> list[tuple[list[int], Any, Any]]:
    """Continue each prompt greedily; return the ids, the logits of old ids, and their dtype.

    Ids are given and returned as the first model has them. Where they moved, only tokens that both
    have are said; else a new token could be said, and would show.
    """
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    torch.use_deterministic_algorithms(mode=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder, trust_remote_code=False, local_files_only=True, torch_dtype="auto"
    ).eval()
    said = []
    old, own = wish["ids"][0], torch.tensor(wish["ids"][at])
    moved = dict(zip(old, wish["ids"][at], strict=True)) if wish["moved"] else {}
    with torch.inference_mode():
        for prompt in wish["prompts"]:
            ids = list(prompt)
            asked = [moved.get(i, i) for i in ids]
            state = model(input_ids=torch.tensor([asked]), use_cache=True)
            logits = state.logits[0][:, own].float()
            for _ in range(wish["n_new"]):
                last = state.logits[0, -1]
                ids.append(old[int(last[own].argmax())] if moved else int(last.argmax()))
                step = torch.tensor([[moved.get(ids[-1], ids[-1])]])
                past = state.past_key_values
                state = model(input_ids=step, past_key_values=past, use_cache=True)
            said.append((ids, logits, model.dtype))
    del model
    return said


if __name__ == "__main__":
    main(*sys.argv[1:3])
