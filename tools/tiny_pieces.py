"""Lists, code, records and descriptions: the small pieces of the training text."""

from __future__ import annotations

import json
import random

import tiny_tables as tab
import tiny_words as w
from tiny_facts import cap, where
from tiny_stories import fill, slots_for


def listing(r: random.Random) -> tuple[str, str]:
    """A request for a list and one good answer (others would be good too)."""
    kind = r.choice(sorted(w.KINDS))
    count = r.randint(2, 4)
    items = r.sample(w.KINDS[kind], count)
    many = {
        "fish": "fish",
        "piece of clothing": "pieces of clothing",
        "piece of furniture": "pieces of furniture",
        "part of the body": "parts of the body",
    }
    plural = many.get(kind, kind + "s")
    ask = r.choice(["Name {} {}.", "Give me {} {}.", "Can you name {} {}?"])
    answer = ", ".join(items[:-1]) + " and " + items[-1]
    return ask.format(w.NUMBERS[count], plural), cap(answer) + "."


FUNCTIONS = w.table("""
add|a, b|a + b|adds two numbers
subtract|a, b|a - b|subtracts two numbers
multiply|a, b|a * b|multiplies two numbers
double|x|2 * x|doubles a number
square|x|x * x|squares a number
is_even|n|n % 2 == 0|checks whether a number is even
is_odd|n|n % 2 == 1|checks whether a number is odd
largest|items|max(items)|finds the largest item of a list
smallest|items|min(items)|finds the smallest item of a list
total|items|sum(items)|adds up a list
count|items|len(items)|counts the items of a list
first|items|items[0]|returns the first item of a list
last|items|items[-1]|returns the last item of a list
upper|text|text.upper()|turns a text into capital letters
lower|text|text.lower()|turns a text into small letters
reverse|text|text[::-1]|reverses a text
greet|name|"Hello, " + name|greets a person
join|words|" ".join(words)|joins words with spaces
split|text|text.split()|splits a text into words
area|width, height|width * height|computes the area of a rectangle
""")


def code(r: random.Random) -> tuple[str, str]:
    """A request for a function and the function."""
    name, args, value, what = r.choice(FUNCTIONS)
    ask = r.choice(
        [
            "Write a Python function that {}.",
            "Show me a Python function that {}.",
            "I need a Python function that {}.",
        ]
    )
    return ask.format(what), f"def {name}({args}):\n    return {value}"


def program(r: random.Random) -> str:
    """A small piece of code for the base text."""
    item = r.choice(w.THINGS + w.KINDS["fruit"]).replace(" ", "_")
    low, high = sorted(r.sample(range(1, 21), 2))
    pick = r.randrange(5)
    if pick == 0:
        return "\n\n\n".join(code(r)[1] for _ in range(r.randint(1, 3)))
    if pick == 1:
        return (
            f"def count_{item}s(items):\n    total = 0\n    for item in items:\n"
            f'        if item == "{item}":\n            total += 1\n    return total'
        )
    if pick == 2:
        return f"for i in range({low}, {high}):\n    print(i)\n    if i > {low + 1}:\n        break"
    if pick == 3:
        rows = ", ".join(f'"{x}"' for x in r.sample(w.KINDS["fruit"], 3))
        return f'items = [{rows}]\nfor item in items:\n    print("I like", item)'
    return (
        f"class {item.capitalize()}:\n    def __init__(self, name):\n"
        f"        self.name = name\n\n"
        f"    def show(self):\n        return self.name"
    )


def record(r: random.Random) -> str:
    """A JSON record for the base text."""
    s = slots_for(r)
    rows: list[dict[str, object]] = [
        {
            "name": s["n"],
            "age": r.randint(5, 80),
            "job": s["job"],
            "city": r.choice(tab.CAPITALS)[1],
        },
        {"item": s["obj"], "colour": r.choice(["red", "blue", "green"]), "price": r.randint(1, 20)},
        {"day": r.choice(w.DAYS), "weather": s["weather"], "degrees": r.randint(0, 30)},
        {
            "id": r.randint(1, 99),
            "title": f"The {s['oadj']} {s['obj']}",
            "author": s["f"],
            "tags": r.sample(["story", "short", "funny", "old", "new"], 2),
        },
    ]
    return json.dumps(r.choice(rows), indent=r.choice([None, 2]))


def describe(r: random.Random) -> str:
    """A paragraph that tells what the tables know about one animal or one job."""
    if r.random() < 0.6:
        name, home, land, food, young, sound, colour, part = r.choice(tab.ANIMALS)
        nest = f"Its home is {'' if ' ' in home else 'called '}a~ {home}."
        bank = [
            f"A~ {name} lives {where(land)}.",
            nest,
            f"A~ {name} eats {food}.",
            f"A young {name} is called a~ {young}.",
            f"A~ {name} {sound}.",
            f"Most of them are {colour}.",
            f"People like to look at the {part} of a~ {name}.",
        ]
        return fill(" ".join(r.sample(bank, r.randint(3, 6))), {})
    job, does, place, tool = r.choice(tab.JOBS)
    n = slots_for(r)["n"]
    return fill(
        f"{n} is a~ {job}. A~ {job} {does}. {n} works {where(place)}. "
        f"A~ {job} uses {tool}, and {n} uses it every day.",
        {},
    )
