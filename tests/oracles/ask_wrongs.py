"""Do by transformers what tutorials say, and measure what comes of it.

Usage: python ask_wrongs.py JOBS.json ANSWERS.json, with transformers 5 and torch. There is one job:
{"padded": F, "full": G, "out": H}, checkpoints with spare rows and without, and a folder to save to.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import transformers


def main(jobs: str, answers: str) -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    found = [answer(job) for job in json.loads(Path(jobs).read_text(encoding="utf-8"))]
    Path(answers).write_text(json.dumps(found), encoding="utf-8")


def answer(job: dict[str, str]) -> dict[str, Any]:
    tokenizer, model = load(job["padded"])
    tokenizer.add_tokens(["<|x|>"])
    model.resize_token_embeddings(len(tokenizer))
    shrunk = list(model.get_input_embeddings().weight.shape)
    tokenizer.save_pretrained(job["out"])
    model.save_pretrained(job["out"])
    plain, _ = load(job["padded"])
    plain.add_tokens(["<plain>", "<café>"])
    flags = plain.added_tokens_decoder[plain.convert_tokens_to_ids("<plain>")]
    listed, _ = load(job["padded"])
    before = list(listed.all_special_tokens)
    listed.add_special_tokens({"additional_special_tokens": ["<|y|>"]})
    _, grown = load(job["full"])
    old = grown.get_input_embeddings().weight.shape[0]
    grown.resize_token_embeddings(old + 8)
    rows = grown.get_input_embeddings().weight[old:].tolist()
    return {
        "rows": shrunk[0],
        "normalized": flags.normalized,
        "decoded": plain.decode([plain.convert_tokens_to_ids("<café>")]),
        "special": [before, list(listed.all_special_tokens)],
        "distinct": len({tuple(row) for row in rows}),
    }


def load(folder: str) -> tuple[Any, Any]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return tokenizer, transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto")


if __name__ == "__main__":
    main(*sys.argv[1:3])
