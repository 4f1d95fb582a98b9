"""Load folders with AutoTokenizer, AutoConfig and raw `tokenizers`, and say what they make of them.

Usage: python ask_tokenizers.py JOBS.json ANSWERS.json, with any major version of transformers and
without torch. A job is {"folder": F, "texts": [...], "tokens": [...], "table": bool}; its answer has
a part for each library: ids of the tokens, ids of the texts and, if asked for, the whole table.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import tokenizers
import transformers

Job = dict[str, Any]


def main(jobs: str, answers: str) -> None:
    transformers.logging.set_verbosity_error()
    found = [answer(job) for job in json.loads(Path(jobs).read_text(encoding="utf-8"))]
    Path(answers).write_text(json.dumps(found), encoding="utf-8")


def answer(job: Job) -> Job:
    return {
        "versions": [transformers.__version__, tokenizers.__version__],
        "auto": guarded(auto, job),
        "raw": guarded(raw, job),
        "config": guarded(config, job),
    }


def guarded(ask: Any, job: Job) -> Any:
    try:
        return ask(job)
    except Exception as error:  # noqa: BLE001 - what a library refuses is an answer too
        return {"error": f"{type(error).__name__}: {error}"}


def auto(job: Job) -> Job:
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["folder"], local_files_only=True)
    vocab = tokenizer.get_vocab()
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    return {
        "class": type(tokenizer).__name__,
        "size": len(tokenizer),
        "ids": {token: vocab.get(token) for token in job.get("tokens", [])},
        "texts": [encoded(tokenizer, text) for text in job.get("texts", [])],
        "processed": [tokenizer(text)["input_ids"] for text in job.get("texts", [])],
        "decoded": [tokenizer.decode(encoded(tokenizer, text)) for text in job.get("texts", [])],
        "visible": [
            tokenizer.decode(encoded(tokenizer, text), skip_special_tokens=True)
            for text in job.get("texts", [])
        ],
        "names": {name: getattr(tokenizer, name) for name in names},
        "special": sorted(tokenizer.all_special_tokens),
        "table": vocab if job.get("table") else None,
    }


def encoded(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def raw(job: Job) -> Job:
    tokenizer = tokenizers.Tokenizer.from_file(str(Path(job["folder"], "tokenizer.json")))
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    texts = job.get("texts", [])
    return {
        "size": len(vocab),
        "ids": {token: vocab.get(token) for token in job.get("tokens", [])},
        "texts": [tokenizer.encode(text, add_special_tokens=False).ids for text in texts],
        "processed": [tokenizer.encode(text).ids for text in texts],
        "table": vocab if job.get("table") else None,
    }


def config(job: Job) -> Job:
    folder = Path(job["folder"])
    if not (folder / "config.json").is_file():
        return {}
    found = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    answer = {
        "class": type(found).__name__,
        "vocab_size": found.vocab_size,
        "length": found.max_position_embeddings,
        "pad": found.pad_token_id,
        "rope": getattr(found, "rope_parameters", None) or found.rope_scaling,
        "theta": getattr(found, "rope_theta", None),
    }
    if (folder / "generation_config.json").is_file():
        generation = transformers.GenerationConfig.from_pretrained(folder, local_files_only=True)
        answer |= {"stop": generation.eos_token_id, "generation_pad": generation.pad_token_id}
    return answer


if __name__ == "__main__":
    main(*sys.argv[1:3])
