"""Dialogues whose answers must be copied from the prompt.

A model this small learns facts early and looking things up in its prompt late. These dialogues are
added to the fine-tuning because of that: several questions about one passage, words to repeat, and
tool calls.
"""

from __future__ import annotations

import random
from typing import Any

import tiny_chat as chat
import tiny_facts as facts
import tiny_words as w

SHARE = 0.45
REPEATABLE = [
    *w.THINGS,
    *w.GIRLS,
    *w.BOYS,
    *(word for members in w.KINDS.values() for word in members if " " not in word),
]


def turns(*pairs: tuple[str, str]) -> list[chat.Message]:
    """User and assistant messages in turn."""
    out: list[chat.Message] = []
    for question, answer in pairs:
        out.append({"role": "user", "content": question})
        out.append({"role": "assistant", "content": answer})
    return out


def reading(r: random.Random) -> list[chat.Message]:
    """A passage, then every question that it answers, one after the other."""
    while True:
        text, asked = facts.passage(r)
        form = r.choice(["Read this text: {t}\n\n{q}", "{t}\n\n{q}", "Text: {t}\nQuestion: {q}"])
        prompt = form.format(t=text, q=asked[0].question)
        if not facts.held_out(prompt):
            rest = [(item.question, item.answer) for item in asked[1:]]
            return turns((prompt, asked[0].answer), *rest)


def repeating(r: random.Random) -> list[chat.Message]:
    """Words to say again, in the same order."""
    pairs = []
    for _ in range(r.randint(1, 3)):
        items = ", ".join(r.sample(REPEATABLE, r.randint(2, 7)))
        ask = r.choice(["Repeat these words: {}.", "Please repeat: {}.", "Say this again: {}."])
        pairs.append((ask.format(items), f"The words are: {items}."))
    return turns(*pairs)


def naming(r: random.Random) -> list[chat.Message]:
    """Questions whose answer begins with the word that was asked for."""
    groups = [r.choice(("kind", "russian", "count", "order")) for _ in range(r.randint(1, 3))]
    items = [r.choice(chat.BY_GROUP[group]) for group in groups]
    return turns(*((item.question, item.answer) for item in items))


def dialogue(r: random.Random) -> dict[str, Any]:
    """A dialogue of the fine-tuning: with the share above one to copy from, else a plain one."""
    if r.random() >= SHARE:
        return chat.dialogue(r)
    tools = None
    pick = r.random()
    if pick < 0.4:
        messages = reading(r)
    elif pick < 0.65:
        messages = repeating(r)
    elif pick < 0.8:
        messages, tools = chat.tool_turns(r)
    else:
        messages = naming(r)
    return {"messages": messages, "tools": tools, "thinking": None}
