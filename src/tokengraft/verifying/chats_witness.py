"""transformers as a witness for chats: does it render, mark and read back what we say it does?"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tokengraft.errors import ChildFailed
from tokengraft.results import Check
from tokengraft.verifying.chats import TOOL, DoesNotHoldError, Message, Spoken, chat_recipe, spoken
from tokengraft.verifying.records import Graft, failed, passed, skipped
from tokengraft.verifying.transformers_witness import MAX_SECONDS, run_child

NAME = "chat-read-back"
SCRIPT = Path(__file__).with_name("ask_chats.py")


def ask_about_chats(graft: Graft, *, python: str = sys.executable) -> Iterator[Check]:
    """Let transformers render what the recipe is about, and read it back.

    Args:
        graft: the result.
        python: the interpreter to ask; by default this one, if it has transformers.
    """
    recipe = chat_recipe(graft)
    if recipe is None:
        return
    if python == sys.executable and importlib.util.find_spec("transformers") is None:
        yield skipped(NAME, "transformers is not installed")
        return
    if graft.checkpoint is None or graft.checkpoint.tokenizer is None:
        yield skipped(NAME, "no tokenizer in this folder that can be read")
        return
    try:
        asked = list(spoken(graft.checkpoint.tokenizer, recipe))
    except DoesNotHoldError:
        yield skipped(NAME, "the chat template does not write what it should; see chat-template")
        return
    yield _compared(asked, *_answers(graft, asked, python))


def _answers(graft: Graft, asked: list[Spoken], python: str) -> tuple[str, list[Message]]:
    questions = [
        {
            "messages": one.talk.messages,
            "tools": [TOOL] if one.talk.tools else None,
            "prompt": one.prompt,
            "text": one.text,
        }
        for one in asked
    ]
    with tempfile.TemporaryDirectory(prefix="tokengraft-") as folder:
        place = Path(folder, "questions.json")
        place.write_text(json.dumps(questions), encoding="utf-8")
        command = [python, "-P", str(SCRIPT), str(graft.out), str(place)]
        found = run_child(command, seconds=MAX_SECONDS)
    answers = found.get("answers")
    if not isinstance(answers, list):
        raise ChildFailed("transformers rendered nothing", detail=str(found.get("error", ""))[:500])
    return str(found.get("version")), answers


def _compared(asked: list[Spoken], version: str, answers: list[Message]) -> Check:
    for one, answer in zip(asked, answers, strict=True):
        what, message = one.talk.what, one.talk.messages[-1]
        if answer["rendered"] != one.prompt + one.text:
            return failed(NAME, f"transformers {version} renders {what} otherwise than Jinja does")
        missing = [token for token in one.talk.tokens if token not in str(answer["marked"])]
        if missing:
            return failed(NAME, f"transformers {version}: the mask of {what} lacks {missing[0]!r}")
        if answer.get("read", message) != message:
            read = json.dumps(answer["read"], ensure_ascii=False)[:300]
            return failed(NAME, f"transformers {version} reads {what} back as {read}")
    turns = f"transformers {version}: {len(asked)} turns of the model are marked"
    if all("read" in answer for answer in answers):
        return passed(NAME, f"{turns}, and read back as they were")
    return passed(NAME, f"{turns}; it is too old to read them back")
