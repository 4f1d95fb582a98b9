"""Score texts as `verify --deep` does, and with the logits of one call; a script for torch.

Usage: python ask_losses.py JOBS.json ANSWERS.json. A job is a small config of transformers:
    {"script": PATH, "config": {"model_type": ...}, "n": 40}
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

Job = dict[str, Any]


def main(jobs: str, answers: str) -> None:
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    found = [both(job) for job in json.loads(Path(jobs).read_text(encoding="utf-8"))]
    Path(answers).write_text(json.dumps(found), encoding="utf-8")


def both(job: Job) -> Job:
    spec = importlib.util.spec_from_file_location("run_long_texts", job["script"])
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    torch.manual_seed(1)
    config = transformers.AutoConfig.for_model(**job["config"])
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    ids = torch.randint(config.vocab_size, (1, job["n"] - 2)).tolist()[0]
    with torch.inference_mode():
        for _ in range(2):  # it ends as the model would go on
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
        logits = model(input_ids=torch.tensor([ids])).logits[0]
    said = torch.log_softmax(logits[:-1].float(), -1)
    wanted = torch.tensor(ids[1:])
    plain = -said[torch.arange(len(wanted)), wanted]
    found = []
    for at_once in (2**25, 3 * config.vocab_size):  # in one piece, three places at a time
        script.LOGITS_AT_ONCE = at_once
        found.append(script.token_losses(model, ids, 1, job["n"])[0])
    last = script.token_losses(model, ids, job["n"] - 2, job["n"])
    other = [*ids[:-1], (ids[-1] + 1) % config.vocab_size]
    answer = {"ids": ids, "ranges": [(job["n"] - 2, job["n"])]}
    return {
        "class": type(model).__name__,
        "plain": plain.tolist(),
        "found": found,
        "last": last[0],
        "likeliest": last[1],
        "other": script.token_losses(model, other, job["n"] - 2, job["n"])[1],
        "scored": script.scored(model, answer),
    }


if __name__ == "__main__":
    main(*sys.argv[1:3])
