"""Say what a library makes of folders, one after the other, without ending in between.

Usage: python ask_mutants.py, under transformers 4 or 5. A line on stdin is {"folder": F}, or
{"texts": [...]} once at the start; the answer is one line of JSON.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import warnings
from typing import Any

import tokenizers
import transformers

CHAT = [
    {"role": "user", "content": "What is the time in Moscow?"},
    {"role": "assistant", "content": "Noon.", "reasoning_content": "Look at the clock."},
    {"role": "user", "content": "And in Paris, мой друг?"},
]
NAMES = ("bos", "eos", "pad", "unk")


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def guarded(ask: Any, *arguments: Any) -> Any:
    try:
        return ask(*arguments)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return f"fails: {type(error).__name__}"


def rendered(tokenizer: Any) -> str:
    return str(tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True))


def auto(folder: str, texts: list[str]) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return {
        "ids": digest([tokenizer.encode(text) for text in texts]),
        "named": [str(getattr(tokenizer, f"{name}_token")) for name in NAMES],
        "chat": digest(guarded(rendered, tokenizer)),
    }


def raw(folder: str, texts: list[str]) -> Any:
    tokenizer = tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")
    return digest([tokenizer.encode(text).ids for text in texts])


def stops(folder: str) -> Any:
    if not os.path.exists(f"{folder}/generation_config.json"):  # noqa: PTH110  folders are texts here
        return None
    eos = transformers.GenerationConfig.from_pretrained(folder).eos_token_id
    return sorted(eos) if isinstance(eos, list) else eos


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    transformers.logging.set_verbosity(transformers.logging.CRITICAL)
    texts: list[str] = []
    for line in sys.stdin:
        job = json.loads(line)
        texts = job.get("texts", texts)
        if "folder" not in job:
            continue
        folder = job["folder"]
        answer = {
            "auto": guarded(auto, folder, texts),
            "raw": guarded(raw, folder, texts),
            "stops": guarded(stops, folder),
        }
        sys.stdout.write("@" + json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
