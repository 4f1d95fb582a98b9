"""Make adapters that train rows of tokens with PEFT, and merge them as PEFT does.

Usage: python ask_peft_rows.py JOBS.json ANSWERS.json. A job is
    {"folder": F, "base": B, "lora": {...}, "new": [ids], "seed": N, "spoil": [ids of old rows]}
The base B has its final number of rows; the adapter goes to F/adapter, the merged model to F/merged.
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
    for job in json.loads(Path(jobs).read_text(encoding="utf-8")):
        run(job)
    Path(answers).write_text("{}", encoding="utf-8")


def run(job: dict[str, Any]) -> None:
    torch.manual_seed(job["seed"])
    folder = Path(job["folder"])
    model = transformers.AutoModelForCausalLM.from_pretrained(job["base"], dtype=torch.bfloat16)
    adapted = get_peft_model(model, LoraConfig(**job["lora"]))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.1)
            elif "trainable_tokens_delta" in name:
                parameter.add_(torch.randn_like(parameter))
            elif "modules_to_save" in name:
                rows = [*job["new"], *job["spoil"]]
                parameter[rows] += torch.randn_like(parameter[rows])
    adapted.save_pretrained(folder / "adapter")
    adapted.merge_and_unload().save_pretrained(folder / "merged")


if __name__ == "__main__":
    main(*sys.argv[1:])
