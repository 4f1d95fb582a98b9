"""Render and read back conversations with a folder's tokenizer; runs in a process of its own.

Usage: python -P ask_chats.py FOLDER QUESTIONS.json ANSWER.json. A question has `messages`, `tools`,
`prompt` and `text`; its answer `rendered`, `marked` (what the assistant mask keeps) and `read`.
Imports nothing of tokengraft, so that any environment with transformers can run it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(folder: str, questions: str, answer: str) -> None:
    """Write `version` and `answers`, or `error`."""
    import transformers

    found: dict[str, object] = {"version": transformers.__version__}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
        asked = json.loads(Path(questions).read_text(encoding="utf-8"))
        found["answers"] = [_answer(tokenizer, question) for question in asked]
    except Exception as error:  # noqa: BLE001 - whatever a foreign folder makes it raise is the answer
        found["error"] = f"{type(error).__name__}: {error}"
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


def _answer(tokenizer: Any, question: dict[str, Any]) -> dict[str, object]:  # noqa: ANN401
    messages, tools = question["messages"], question["tools"]
    encoded = tokenizer.apply_chat_template(
        messages, tools=tools, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    ids, mask = encoded["input_ids"], encoded["assistant_masks"]
    answer: dict[str, object] = {
        "rendered": tokenizer.apply_chat_template(messages, tools=tools, tokenize=False),
        "marked": tokenizer.decode(
            [one for one, is_said in zip(ids, mask, strict=True) if is_said]
        ),
    }
    if getattr(tokenizer, "response_template", None) is not None:  # transformers 5
        answer["read"] = tokenizer.parse_response(question["text"], prefix=question["prompt"])
    return answer


if __name__ == "__main__":
    main(*sys.argv[1:4])
