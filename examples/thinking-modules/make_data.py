"""Make the data of this example: questions that are thought about in modules, and others.

    python examples/thinking-modules/make_data.py

Writes train.jsonl and suite.jsonl beside itself. With thinking switched on, a sum is thought about
in <|think|> and <|recursion|>, a comparison in <|conflict|>, and everything else in plain words, as
before. The suite asks with templates that the training never saw.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import small_world as world

THINK, AGAIN, CONFLICT = "<|think|>", "<|recursion|>", "<|conflict|>"
ON = {"enable_thinking": True}
SUMS = (
    "What is {a} {op} {b}?",
    "How much is {a} {op} {b}?",
    "Calculate {a} {sign} {b}.",
    "Please work out {a} {op} {b}.",
    "Work out {a} {op} {b}.",
    "Tell me {a} {op} {b}.",
    "Can you work out {a} {op} {b}?",
    "I want to know {a} {op} {b}.",
)
SUMS_HELD_OUT = (
    "Please tell me what {a} {op} {b} is.",
    "Can you calculate {a} {op} {b}?",
    "Please work out {a} {sign} {b}.",
)
COMPARED = (
    "Is {a} bigger than {b}?",
    "Is {a} smaller than {b}?",
    "Tell me: is {a} bigger than {b}?",
    "Is the number {a} bigger than {b}?",
    "Please say: is {a} smaller than {b}?",
    "Is {a} more than {b}?",
    "Is {a} less than {b}?",
    "Say whether {a} is bigger than {b}.",
)
COMPARED_HELD_OUT = (
    "Please tell me: is {a} bigger than {b}?",
    "Is the number {a} smaller than {b}?",
    "Can you tell me whether {a} is bigger than {b}?",
)
COUNTS = (
    "Count from {} to {}.",
    "Please count from {} to {}.",
    "Count up from {} to {}.",
    "Tell me the numbers from {} to {}.",
    "Can you tell me the numbers from {} to {}?",
    "Can you say all numbers from {} to {}?",
    "Please say the numbers from {} to {}.",
    "I want to hear the numbers from {} to {}.",
    "Say the numbers between {} and {}.",
    "Start at {} and count to {}.",
)
SIGNS = {"plus": "+", "minus": "-"}


def numbers(r: random.Random) -> tuple[int, str, int, int]:
    """Two numbers up to twenty, plus or minus, and the result."""
    a, b, name = r.randint(0, 20), r.randint(0, 20), r.choice(list(SIGNS))
    if name == "minus":
        a, b = max(a, b), min(a, b)
        return a, name, b, a - b
    b %= 21 - a
    return a, name, b, a + b


def sum_(r: random.Random, *, held_out: bool) -> world.Row:
    """A sum: what is asked is thought first, and then worked out."""
    a, name, b, c = numbers(r)
    ask = r.choice(SUMS_HELD_OUT if held_out else SUMS)
    thoughts = [
        {"module": THINK, "content": f"I have to work out {a} {name} {b}."},
        {"module": AGAIN, "content": f"{a} {SIGNS[name]} {b} = {c}."},
    ]
    said = {"content": f"{a} {name} {b} is {c}.", "thoughts": thoughts}
    asked = ask.format(a=a, b=b, op=name, sign=SIGNS[name])
    return world.turns(asked, said, chat_template_kwargs=ON)


def comparison(r: random.Random, *, held_out: bool) -> world.Row:
    """Two numbers, of which one is bigger."""
    a, b = r.sample(range(21), 2)
    asked = r.choice(COMPARED_HELD_OUT if held_out else COMPARED).format(a=a, b=b)
    asks_bigger = "bigger" in asked or "more" in asked
    yes = "Yes" if (a > b) == asks_bigger else "No"
    said = {
        "content": f"{yes}, {a} is {'bigger' if a > b else 'smaller'} than {b}.",
        "thoughts": [{"module": CONFLICT, "content": f"I compare {a} and {b}."}],
    }
    return world.turns(asked, said, chat_template_kwargs=ON)


def thought_about(r: random.Random, *, held_out: bool) -> world.Row:
    """What modules are for: two sums to one comparison."""
    return (sum_ if r.random() < 0.6 else comparison)(r, held_out=held_out)


def plainly(asked: str, answer: str, thought: str) -> world.Row:
    """Thinking is on, and there is nothing to use a module for."""
    said = {"content": answer, "reasoning_content": thought}
    return world.turns(asked, said, chat_template_kwargs=ON)


def near_miss(r: random.Random, *, held_out: bool) -> world.Row:
    """Numbers and the words of sums, but no sum: said again, or counted."""
    if r.random() < 0.6:
        a, name, b, _ = numbers(r)
        given = [str(a), str(b), name, r.choice(["bigger", "smaller", "sum", "number", "more"])]
        return plainly(*world.repeating(r, given, held_out=held_out), "This is easy.")
    a = r.randint(0, 14)
    b = r.randint(a + 2, a + 6)
    ask = "Can you count from {} to {}?" if held_out else r.choice(COUNTS)
    run = ", ".join(str(n) for n in range(a, b + 1))
    return plainly(ask.format(a, b), f"{run}.", f"I start at {a} and stop at {b}.")


def neutral(r: random.Random, *, held_out: bool) -> world.Row:
    """A question of another kind, with thinking switched on or left alone."""
    item = world.question(r, held_out=held_out)
    if r.random() < 0.7:
        return plainly(item.question, item.answer, item.thought)
    return world.turns(item.question, item.answer)


def say(row: world.Row) -> world.Row:
    """What is wanted after a question that is thought about."""
    thoughts = row["messages"][-1]["thoughts"]
    return world.wanted(row, [one["module"] for one in thoughts], thoughts=thoughts)


if __name__ == "__main__":
    mix = (thought_about, thought_about, near_miss, neutral)
    world.make_data(HERE, __doc__, mix, say, neutral=neutral, near_miss=near_miss)
