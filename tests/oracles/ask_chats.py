"""Render conversations with a folder's tokenizer, mark them, and read them back.

Usage: python ask_chats.py JOBS.json ANSWERS.json, with any major version of transformers and without
torch. A job is {"folder": F, "talks": [{"messages", "tools", "extra"}]}. The answer of a talk has
`prompt` (of all messages but the last), `rendered`, `said` (the runs of tokens that the assistant mask
keeps, decoded) and, from transformers 5, `read`: the last message, read back from the tokens.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import transformers

Json = dict[str, Any]


def main(jobs: str, answers: str) -> None:
    transformers.logging.set_verbosity_error()
    found = [answer(job) for job in json.loads(Path(jobs).read_text(encoding="utf-8"))]
    Path(answers).write_text(json.dumps(found), encoding="utf-8")


def answer(job: Json) -> Json:
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["folder"], local_files_only=True)
    return {
        "version": transformers.__version__,
        "talks": [spoken(tokenizer, talk) for talk in job["talks"]],
    }


def spoken(tokenizer: Any, talk: Json) -> Json:
    messages, tools, extra = talk["messages"], talk["tools"], talk["extra"]

    def text(some: list[Json], **asked: Any) -> str:
        return tokenizer.apply_chat_template(some, tools=tools, tokenize=False, **asked)

    encoded = tokenizer.apply_chat_template(
        messages, tools=tools, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    marked = zip(encoded["assistant_masks"], encoded["input_ids"], strict=True)
    runs = [
        [token for _, token in run]
        for is_said, run in itertools.groupby(marked, key=lambda pair: pair[0])
        if is_said
    ]
    prompt = text(messages[:-1], add_generation_prompt=True, **extra)
    rendered = text(messages)
    found = {
        "prompt": prompt,
        "rendered": rendered,
        "said": [tokenizer.decode(run) for run in runs],
    }
    if getattr(tokenizer, "response_template", None) is not None:
        before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        after = tokenizer(rendered.removeprefix(prompt), add_special_tokens=False)["input_ids"]
        found["read"] = tokenizer.parse_response(after, prefix=before)
    return found


if __name__ == "__main__":
    main(*sys.argv[1:3])
