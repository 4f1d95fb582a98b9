"""Add tokens the way that transformers documents: add_tokens, resize_token_embeddings, save_pretrained.

Usage: python resize_path.py JOBS.json ANSWERS.json, with transformers 5 and torch. A job is
{"source": F, "out": G, "adds": [fields of AddedToken], "pad": text or null, "rows": n}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AddedToken

Job = dict[str, Any]


def main(jobs: str, answers: str) -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    found = [answer(job) for job in json.loads(Path(jobs).read_text(encoding="utf-8"))]
    Path(answers).write_text(json.dumps(found), encoding="utf-8")


def answer(job: Job) -> Job:
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["source"])
    model = transformers.AutoModelForCausalLM.from_pretrained(job["source"], dtype="auto")
    before = model.get_input_embeddings().weight.shape[0]
    for fields in job["adds"]:
        token = AddedToken(**fields)
        tokenizer.add_tokens([token], special_tokens=fields["special"])
    if job["pad"] is not None:
        tokenizer.add_special_tokens({"pad_token": job["pad"]})
    # The call that tutorials give, resize_token_embeddings(len(tokenizer)), would drop padding rows.
    if job["rows"] > before:
        model.resize_token_embeddings(job["rows"], mean_resizing=False)
    tokenizer.save_pretrained(job["out"])
    model.save_pretrained(job["out"])
    texts = [fields["content"] for fields in job["adds"]]
    return {
        "ids": dict(zip(texts, tokenizer.convert_tokens_to_ids(texts), strict=True)),
        "size": len(tokenizer),
        "pad": tokenizer.pad_token_id,
        "vocab_size": model.config.vocab_size,
    }


if __name__ == "__main__":
    main(*sys.argv[1:3])
