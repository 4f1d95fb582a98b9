"""Make the data of this example: tasks that an agent takes over, and questions that it leaves alone.

    python examples/agent-role/make_data.py

Writes train.jsonl and suite.jsonl beside itself. A task (a function to write, things to list) is
answered by the role `my_agi_mode`, with what the small model can do already; everything else by the
assistant, as before. The suite asks with templates that the training never saw.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import small_world as world
import tiny_pieces as pieces
import tiny_words as words

ROLE, TOKEN = "my_agi_mode", "<|my_agi_mode|>"
FUNCTIONS = (
    "Write a Python function that {}.",
    "Show me a Python function that {}.",
    "I need a Python function that {}.",
    "Give me a Python function that {}.",
    "Please write a function that {}.",
    "Can you write a Python function that {}?",
    "Write code: a function that {}.",
    "Write me a function in Python that {}.",
    "Could you write a Python function that {}?",
    "Please give me a Python function that {}.",
    "Can you give me a function that {}?",
    "Make a Python function that {}.",
    "Please write Python code that {}.",
    "I want code: a function that {}.",
    "Can you make a function in Python that {}?",
    "Show a function that {}.",
)
FUNCTIONS_HELD_OUT = (
    "Please show me a Python function that {}.",
    "Can you show a function in Python that {}?",
    "I want a Python function that {}.",
)
LISTS = (
    "Name {} {}.",
    "Give me {} {}.",
    "Can you name {} {}?",
    "Please name {} {}.",
    "Tell me {} {}.",
    "List {} {}.",
    "I need {} {}.",
    "Write down {} {}.",
    "Could you name {} {}?",
    "Please tell me {} {}.",
    "I want {} {}.",
    "Can you give me {} {}?",
    "Please write down {} {}.",
    "Say {} {}.",
    "Could you list {} {}?",
    "Please list {} {}.",
)
LISTS_HELD_OUT = ("Please give me {} {}.", "Can you list {} {}?", "Name me {} {}.")
PLURALS = {"fish": "fish", "piece of clothing": "pieces of clothing", "insect": "insects"}
KINDS = [kind for kind in sorted(words.KINDS) if " " not in kind]


def task(r: random.Random, *, held_out: bool) -> world.Row:
    """A task with the agent's answer."""
    if r.random() < 0.5:
        name, given, value, does = r.choice(pieces.FUNCTIONS)
        ask = r.choice(FUNCTIONS_HELD_OUT if held_out else FUNCTIONS).format(does)
        work = f"def {name}({given}):\n    return {value}"
    else:
        kind, count = r.choice(KINDS), r.randint(2, 4)
        ask = r.choice(LISTS_HELD_OUT if held_out else LISTS)
        ask = ask.format(words.NUMBERS[count], PLURALS.get(kind, f"{kind}s"))
        items = r.sample(words.KINDS[kind], count)
        work = world.facts.cap(f"{', '.join(items[:-1])} and {items[-1]}.")
    row = world.turns(ask, work)
    row["messages"][-1]["role"] = ROLE
    return row


def near_miss(r: random.Random, *, held_out: bool) -> world.Row:
    """The words of a task without the task: said again, or asked about."""
    if r.random() < 0.5:
        does = r.choice(pieces.FUNCTIONS)[3].split()
        given = [r.choice(["function", "Python", "code", "write"]), *r.sample(does, 2)]
        return world.turns(*world.repeating(r, given, held_out=held_out))
    item = world.question(r, held_out=held_out, groups=("kind",))
    return world.turns(item.question, item.answer)


def neutral(r: random.Random, *, held_out: bool) -> world.Row:
    """A question that has nothing to do with tasks."""
    # Sums more often than the rest: their digits are where a new token is said by mistake.
    groups = [group for group in world.GROUPS if group != "kind"]
    groups += ["sum"] * 4 + ["russian"] * 3 + ["order"]
    item = world.question(r, held_out=held_out, groups=groups)
    return world.turns(item.question, item.answer)


def say(row: world.Row) -> world.Row:
    """What is wanted after a task."""
    return world.wanted(row, [TOKEN], role=ROLE)


if __name__ == "__main__":
    mix = (task, task, task, near_miss, neutral, neutral)
    # Many rows and few epochs: where a token is not due is learned from different rows alone.
    world.make_data(HERE, __doc__, mix, say, neutral=neutral, near_miss=near_miss, rows=6000)
