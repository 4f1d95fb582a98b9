"""Make adapters with PEFT, and merge them as PEFT does; a script for a Python with torch and PEFT.

Usage: python ask_peft.py JOBS.json ANSWERS.json. A job is
    {"folder": F, "config": C | null, "model_type": T, "dtype": D, "lora": {...}, "seed": N}
The base lies in F/base (made from C first if it is given), the adapter goes to F/adapter, the merged
model to F/merged.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model


def main(jobs: str, answers: str) -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    done = [run(job) for job in json.loads(Path(jobs).read_text(encoding="utf-8"))]
    Path(answers).write_text(json.dumps(done), encoding="utf-8")


def run(job: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(job["seed"])
    folder, dtype = Path(job["folder"]), getattr(torch, job["dtype"])
    if job["config"] is not None:
        config = transformers.AutoConfig.for_model(job["model_type"], **job["config"])
        made = transformers.AutoModelForCausalLM.from_config(config).to(dtype)
        made.save_pretrained(folder / "base", **job.get("save", {}))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "base", dtype=dtype)
    adapted = get_peft_model(model, LoraConfig(**job["lora"]))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(folder / "adapter")
    adapted.merge_and_unload().save_pretrained(folder / "merged")
    return {"parameters": sum(p.numel() for n, p in adapted.named_parameters() if "lora_" in n)}


if __name__ == "__main__":
    main(*sys.argv[1:])
