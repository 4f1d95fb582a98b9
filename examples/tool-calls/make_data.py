"""Make the data of this example: questions that need a tool, and questions that need none.

    python examples/tool-calls/make_data.py

Writes train.jsonl and suite.jsonl beside itself. A call stands between <tool_start> and </tool_end>;
its result and an answer follow. Questions without a call have tools on offer too, and the words of
calls are asked about without a wish for one. The suite asks with templates that the training never saw.

The tools take cities and numbers. Copying is what the small model of the repository is weak at: of
names, things and titles it learns a few only in the minutes that this example is to take.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import small_world as world
import tiny_tables as tables
import tiny_words as words

OPEN, CLOSE = "<tool_start>", "</tool_end>"
ASK = {
    "get_weather": (
        "What is the weather in {city}?",
        "How is the weather in {city}?",
        "Tell me the weather in {city}.",
        "Can you tell me the weather in {city}?",
        "Is the weather good in {city}?",
        "Please say how the weather in {city} is.",
        "Weather in {city}, please.",
        "I want to know the weather in {city}.",
        "What weather do they have in {city}?",
        "Find out the weather in {city}.",
        "Can you find out the weather in {city}?",
        "I want you to tell me the weather in {city}.",
        "How good is the weather in {city}?",
    ),
    "get_time": (
        "What time is it in {city}?",
        "Tell me the time in {city}.",
        "What is the time in {city}?",
        "Can you tell me the time in {city}?",
        "Please say what time it is in {city}.",
        "How late is it in {city}?",
        "Time in {city}, please.",
        "I want to know the time in {city}.",
        "Which time is it in {city}?",
        "Find out the time in {city}.",
        "Can you find out the time in {city}?",
        "I want you to tell me the time in {city}.",
        "Can you tell me what time it is in {city}?",
    ),
    "add_numbers": (
        "Add {a} and {b}.",
        "Please add {a} and {b}.",
        "Add the numbers {a} and {b}.",
        "What is the sum of {a} and {b}?",
        "I want to add {a} and {b}.",
        "Can you tell me the sum of {a} and {b}?",
        "Tell me the sum of {a} and {b}.",
        "Please give me the sum of {a} and {b}.",
        "Sum of {a} and {b}, please.",
        "Find the sum of {a} and {b}.",
        "Can you find the sum of {a} and {b}?",
        "I want you to add {a} and {b}.",
        "Can you give me the sum of {a} and {b}?",
        "You are to add {a} and {b}.",
    ),
}
ASK_HELD_OUT = {
    "get_weather": (
        "Please tell me the weather in {city}.",
        "Can you say how the weather in {city} is?",
    ),
    "get_time": ("Please tell me the time in {city}.", "Can you say what time it is in {city}?"),
    "add_numbers": ("Can you add {a} and {b}?", "Please tell me the sum of {a} and {b}."),
}


def arguments_for(r: random.Random, name: str) -> dict[str, object]:
    """Arguments of one call, in the order of the tool's parameters."""
    match name:
        case "get_weather" | "get_time":
            return {"city": r.choice(tables.CAPITALS)[1]}
        case _:
            return {"a": r.randint(21, 99), "b": r.randint(21, 99)}


def answered(
    r: random.Random, name: str, given: dict[str, object]
) -> tuple[dict[str, object], str]:
    """A tool's result, and what the model makes of it."""
    match name:
        case "get_weather":
            sky, degrees = r.choice(words.WEATHER), r.randint(1, 30)
            said = f"It is {sky} in {given['city']}, and it is {degrees} degrees."
            return {"weather": sky, "degrees": degrees}, said
        case "get_time":
            hour = f"{r.randint(0, 23)}:{r.randint(10, 59)}"
            return {"time": hour}, f"It is {hour} in {given['city']}."
        case _:
            total = int(str(given["a"])) + int(str(given["b"]))
            return {"sum": total}, f"The sum of {given['a']} and {given['b']} is {total}."


def offered(r: random.Random, *names: str) -> list[world.Row]:
    """These tools, and perhaps another one."""
    rest = [name for name in ASK if name not in names]
    chosen = [*names, *r.sample(rest, r.randint(0, 1))] or [r.choice(rest)]
    r.shuffle(chosen)
    return [world.chat.TOOLS[name] for name in chosen]


def call(r: random.Random, *, held_out: bool) -> world.Row:
    """A question with the call that it needs."""
    name = r.choice(list(ASK))
    given = arguments_for(r, name)
    ask = r.choice((ASK_HELD_OUT if held_out else ASK)[name]).format(**given)
    made = {"type": "function", "function": {"name": name, "arguments": given}}
    return world.turns(ask, {"content": "", "tool_calls": [made]}, tools=offered(r, name))


def after_a_result(r: random.Random, *, held_out: bool) -> world.Row:
    """A call with its result: now an answer is wanted, and no further call."""
    row = call(r, held_out=held_out)
    function = row["messages"][-1]["tool_calls"][0]["function"]
    result, said = answered(r, function["name"], function["arguments"])
    row["messages"] += [
        {"role": "tool", "content": json.dumps(result)},
        {"role": "assistant", "content": said},
    ]
    return row


def near_miss(r: random.Random, *, held_out: bool) -> world.Row:
    """The words of a call and a tool that fits them, but no wish for a call."""
    pick = r.random()
    if pick < 0.4:
        land, city = r.choice(tables.CAPITALS)
        told, asked = (
            f"{city} is the capital of {land}.",
            (
                f"Where is {city}?",
                f"What do you know about {city}?",
                f"Of which country is {city} the capital?",
                f"In which country is {city}?",
                f"{city} is the capital of which country?",
                f"Tell me about {city}.",
                f"Which country is {city} the capital of?",
                f"What is {city}?",
                f"Can you tell me where {city} is?",
            ),
        )
        return world.turns(
            f"Which country has the capital {city}?"
            if held_out
            else r.choice([one for one in asked if not world.facts.held_out(one)]),
            told,
            tools=offered(r, r.choice(["get_weather", "get_time"])),
        )
    name = r.choice(list(ASK))
    given = [str(value) for value in arguments_for(r, name).values()]
    about = {
        "get_weather": ["weather", "city"],
        "get_time": ["time", "city"],
        "add_numbers": ["sum", "number"],
    }[name]
    return world.turns(
        *world.repeating(r, [*given, *r.sample(about, r.randint(1, 2))], held_out=held_out),
        tools=offered(r, name),
    )


def neutral(r: random.Random, *, held_out: bool) -> world.Row:
    """A question that has nothing to do with the tools on offer, or a result that wants an answer."""
    if r.random() < 0.4:
        return after_a_result(r, held_out=held_out)
    item = world.question(r, held_out=held_out)
    row = world.turns(item.question, item.answer)
    return row if r.random() < 0.3 else {**row, "tools": offered(r)}


def say(row: world.Row) -> world.Row:
    """What is wanted after a question that needs a tool."""
    calls = [made["function"] for made in row["messages"][-1]["tool_calls"]]
    return world.wanted(row, [OPEN, CLOSE], tool_calls=calls)


if __name__ == "__main__":
    mix = (call, call, near_miss, near_miss, neutral, neutral)
    world.make_data(HERE, __doc__, mix, say, neutral=neutral, near_miss=near_miss, rows=4000)
