"""Questions with answers, in English: facts, arithmetic, passages, lists and code.

Each maker returns `Asked` items. The base text tells them as prose; the chat data asks them. A
question is held out when its own hash says so, which keeps training and test apart without a list.
"""

from __future__ import annotations

import json
import random
import zlib
from typing import NamedTuple

import tiny_words as w
from tiny_stories import article, fill, slots_for


class Asked(NamedTuple):
    """One question with its only right answer and a line of reasoning that leads to it."""

    question: str
    answer: str
    thought: str
    group: str


def held_out(question: str) -> bool:
    """Whether this exact question is kept for the test; about one question in twelve is."""
    return zlib.crc32(question.encode()) % 12 == 0


def the(thing: str) -> str:
    """Use a table entry as a subject: "a lemon" stays, "sky" becomes "the sky"."""
    bare = ("snow", "coal", "blood", "milk", "chocolate", "ash", "salt", "gold", "sand", "grass")
    return thing if thing.startswith(("a ", "an ", "the ")) or thing in bare else "the " + thing


def where(place: str) -> str:
    """A place with the preposition that English wants."""
    if place in ("farm", "beach", "pier", "open plain"):
        return f"on the {place}"
    if place in ("harbour", "airport", "station", "fire station", "post office", "court"):
        return f"at the {place}"
    return f"in the {place}"


def cap(text: str) -> str:
    """First letter up, the rest as it is."""
    return text[0].upper() + text[1:]


def noun(thing: str) -> str:
    """A noun with its article, or bare where English has none."""
    return thing if thing in w.MASS or thing[0].isupper() else f"a~ {thing}"


def facts() -> list[Asked]:
    """Every question about the fact tables in every wording."""
    out: list[Asked] = []

    def add(group: str, thought: str, answer: str, *questions: str) -> None:
        for question in questions:
            out.append(Asked(article(question), article(answer), article(thought), group))

    for thing, colour in w.COLOUR_OF:
        x = the(thing)
        add("colour", f"The question is about the colour of {x}.", f"{cap(x)} is {colour}.",
            f"What colour is {x}?", f"Which colour does {x} have?", f"Tell me the colour of {x}.",
            f"What is the colour of {x}?", f"Can you say what colour {x} is?")
    for land, city in w.CAPITALS:
        add("capital", f"The question is about the capital of {land}.",
            f"The capital of {land} is {city}.",
            f"What is the capital of {land}?", f"Which city is the capital of {land}?",
            f"Name the capital of {land}.", f"Tell me the capital city of {land}.",
            f"Do you know the capital of {land}?")
        add("capital", f"The question is about the city of {city}.",
            f"{city} is the capital of {land}.",
            f"Where is {city}?", f"What do you know about {city}?",
            f"Of which country is {city} the capital?")
    pairs = w.OPPOSITES + [[b, a] for a, b in w.OPPOSITES]
    for one, two in pairs:
        if sum(p[0] == one for p in pairs) > 1:
            continue
        add("opposite", f"The question is about the opposite of {one}.",
            f"The opposite of {one} is {two}.",
            f"What is the opposite of {one}?", f"Tell me the opposite of {one}.",
            f"Which word means the opposite of {one}?", f"Name the opposite of the word {one}.")
    for name, home, land, food, young, sound, _, _ in w.ANIMALS:
        add("animal", f"The question is about the food of a~ {name}.", f"A~ {name} eats {food}.",
            f"What does a~ {name} eat?", f"What is the food of a~ {name}?",
            f"Tell me what a~ {name} eats.")
        add("animal", f"The question is about the young of a~ {name}.",
            f"A young {name} is called a~ {young}.",
            f"What is a young {name} called?", f"What do you call a young {name}?",
            f"What is the name for a young {name}?")
        add("animal", f"The question is about the sound of a~ {name}.", f"A~ {name} {sound}.",
            f"What sound does a~ {name} make?", f"Which noise does a~ {name} make?")
        add("animal", f"The question is about the home of a~ {name}.",
            f"A~ {name} lives {where(land)}.",
            f"Where does a~ {name} live?", f"Where can I find a~ {name}?",
            f"Tell me where a~ {name} lives.")
    for job, does, _, tool in w.JOBS:
        add("job", f"The question is about the work of a~ {job}.", f"A~ {job} {does}.",
            f"What does a~ {job} do?", f"What is the work of a~ {job}?", f"Tell me what a~ {job} does.")
        add("job", f"The question is about the tools of a~ {job}.", f"A~ {job} uses {tool}.",
            f"What does a~ {job} use?", f"Which tool does a~ {job} use?")
    plural = {"scissors"}
    for thing, stuff, use in w.OBJECTS:
        x, verb = (thing, "are") if thing in plural else (f"a~ {thing}", "is")
        add("object", f"The question is about the use of {x}.", f"{cap(x)} {verb} used for {use}.",
            f"What {verb} {x} used for?", f"What is the use of {x}?",
            f"What can I do with {x}?", f"Why do people need {x}?")
        add("object", f"The question is about the material of {x}.",
            f"{cap(x)} {verb} made of {stuff}.",
            f"What {verb} {x} made of?", f"Which material {verb} {x} made of?")
    for site, what in w.SITES:
        add("site", f"The question is about the meaning of {site}.",
            f"A~ {site} is a place where {what}.",
            f"What is a~ {site}?", f"What happens in a~ {site}?", f"Explain the word {site}.",
            f"Tell me what a~ {site} is.")
    for question, reason in w.WHY:
        add("why", "The question asks for a reason.", f"Because {reason}.",
            f"Why {question}?", f"Can you tell me why? Why {question}?", f"I wonder: why {question}?")
    seen = [x for members in w.KINDS.values() for x in members]
    for kind, members in w.KINDS.items():
        for x in members:
            if seen.count(x) > 1 or any(x == s[0] for s in w.SITES):
                continue
            add("kind", f"The question is about the word {x}.", f"{cap(noun(x))} is a~ {kind}.",
                f"What is {noun(x)}?", f"What kind of thing is {noun(x)}?", f"What does {x} mean?")
    for row, unit in ((w.DAYS, "day"), (w.MONTHS, "month")):
        for i, x in enumerate(row):
            after, before = row[(i + 1) % len(row)], row[i - 1]
            add("order", f"The question is about the {unit} after {x}.", f"After {x} comes {after}.",
                f"What comes after {x}?", f"Which {unit} comes after {x}?",
                f"Which {unit} follows {x}?")
            add("order", f"The question is about the {unit} before {x}.",
                f"Before {x} comes {before}.",
                f"What comes before {x}?", f"Which {unit} comes before {x}?")
    return out


def sums() -> list[Asked]:
    """Plus and minus up to twenty and the small multiplication table, as digits and as words."""
    out: list[Asked] = []
    rows = [(a, b, "plus", a + b) for a in range(21) for b in range(21 - a)]
    rows += [(a, b, "minus", a - b) for a in range(21) for b in range(a + 1)]
    rows += [(a, b, "times", a * b) for a in range(1, 6) for b in range(1, 6) if a * b <= 20]
    sign = {"plus": "+", "minus": "-", "times": "*"}
    for a, b, name, c in rows:
        thought = f"I have to work out {a} {name} {b}. {a} {sign[name]} {b} = {c}."
        for question in (f"What is {a} {name} {b}?", f"How much is {a} {name} {b}?",
                         f"Calculate {a} {sign[name]} {b}.", f"Please work out {a} {name} {b}."):
            out.append(Asked(question, f"{a} {name} {b} is {c}.", thought, "sum"))
    for a in range(21):
        for b in range(21):
            if a != b:
                more = "bigger" if a > b else "smaller"
                out.append(Asked(f"Is {a} bigger than {b}?",
                                 f"{'Yes' if a > b else 'No'}, {a} is {more} than {b}.",
                                 f"I compare {a} and {b}.", "compare"))
    for a in range(0, 15):
        for b in range(a + 2, min(a + 7, 21)):
            run = ", ".join(str(i) for i in range(a, b + 1))
            for question in (f"Count from {a} to {b}.", f"Please count from {a} to {b}."):
                out.append(Asked(question, f"{run}.", f"I start at {a} and stop at {b}.", "count"))
    return out


def passage(r: random.Random) -> tuple[str, list[Asked]]:
    """A short passage and the questions that it answers."""
    s = slots_for(r)
    n, f, he, his = s["n"], s["f"], s["he"], s["his"]
    he = he.capitalize()
    lines: list[tuple[str, str, str]] = [
        (f"{n} has a~ {s['oadj']} {s['obj']}.", f"What does {n} have?",
         f"{n} has a~ {s['oadj']} {s['obj']}."),
        (f"The {s['obj']} of {n} is {s['pl']}.", f"Where is the {s['obj']}?",
         f"The {s['obj']} is {s['pl']}."),
        (f"{n} lives {s['home']}.", f"Where does {n} live?", f"{n} lives {s['home']}."),
        (f"{f} is a~ {s['job']}.", f"What is the job of {f}?", f"{f} is a~ {s['job']}."),
        (f"{n} wants to eat {s['food']}.", f"What does {n} want to eat?",
         f"{n} wants to eat {s['food']}."),
        (f"Today {n} is {s['bad']}.", f"How does {n} feel?", f"{n} is {s['bad']}."),
        (f"{f} is waiting {s['pl2']}.", f"Where is {f}?", f"{f} is {s['pl2']}."),
        (f"{n} is {s['num']} years old.", f"How old is {n}?", f"{n} is {s['num']} years old."),
        (f"{n} can {s['skill']}.", f"What can {n} do?", f"{n} can {s['skill']}."),
        (f"{n} wants to make {s['thing']}.", f"What does {n} want to make?",
         f"{n} wants to make {s['thing']}."),
    ]
    chosen = r.sample(lines, r.randint(2, 4))
    text = article(" ".join(line for line, _, _ in chosen))
    asked = [Asked(article(q), article(a), f"The text says: {article(line)}", "passage")
             for line, q, a in chosen]
    r.shuffle(asked)
    return text, asked


def listing(r: random.Random) -> tuple[str, str]:
    """A request for a list and one good answer (others would be good too)."""
    kind = r.choice(sorted(w.KINDS))
    count = r.randint(2, 4)
    items = r.sample(w.KINDS[kind], count)
    many = {"fish": "fish", "piece of clothing": "pieces of clothing",
            "piece of furniture": "pieces of furniture", "part of the body": "parts of the body"}
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
    ask = r.choice(["Write a Python function that {}.", "Show me a Python function that {}.",
                    "I need a Python function that {}."])
    return ask.format(what), f"def {name}({args}):\n    return {value}"


def program(r: random.Random) -> str:
    """A small piece of code for the base text."""
    item = r.choice(w.THINGS + w.KINDS["fruit"]).replace(" ", "_")
    low, high = sorted(r.sample(range(1, 21), 2))
    pick = r.randrange(5)
    if pick == 0:
        return "\n\n\n".join(code(r)[1] for _ in range(r.randint(1, 3)))
    if pick == 1:
        return (f"def count_{item}s(items):\n    total = 0\n    for item in items:\n"
                f"        if item == \"{item}\":\n            total += 1\n    return total")
    if pick == 2:
        return f"for i in range({low}, {high}):\n    print(i)\n    if i > {low + 1}:\n        break"
    if pick == 3:
        rows = ", ".join(f'"{x}"' for x in r.sample(w.KINDS["fruit"], 3))
        return f"items = [{rows}]\nfor item in items:\n    print(\"I like\", item)"
    return (f"class {item.capitalize()}:\n    def __init__(self, name):\n        self.name = name\n\n"
            f"    def show(self):\n        return self.name")


def record(r: random.Random) -> str:
    """A JSON record for the base text."""
    s = slots_for(r)
    rows: list[dict[str, object]] = [
        {"name": s["n"], "age": r.randint(5, 80), "job": s["job"], "city": r.choice(w.CAPITALS)[1]},
        {"item": s["obj"], "colour": r.choice(["red", "blue", "green"]), "price": r.randint(1, 20)},
        {"day": r.choice(w.DAYS), "weather": s["weather"], "degrees": r.randint(0, 30)},
        {"id": r.randint(1, 99), "title": f"The {s['oadj']} {s['obj']}", "author": s["f"],
         "tags": r.sample(["story", "short", "funny", "old", "new"], 2)},
    ]
    return json.dumps(r.choice(rows), indent=r.choice([None, 2]))


def describe(r: random.Random) -> str:
    """A paragraph that tells what the tables know about one animal or one job."""
    if r.random() < 0.6:
        name, home, land, food, young, sound, colour, part = r.choice(w.ANIMALS)
        bank = [f"A~ {name} lives {where(land)}.", f"Its home is called a~ {home}." if " " not in home
                else f"Its home is a~ {home}.", f"A~ {name} eats {food}.",
                f"A young {name} is called a~ {young}.", f"A~ {name} {sound}.",
                f"Most of them are {colour}.", f"People like to look at the {part} of a~ {name}."]
        return fill(" ".join(r.sample(bank, r.randint(3, 6))), {})
    job, does, place, tool = r.choice(w.JOBS)
    n = slots_for(r)["n"]
    return fill(f"{n} is a~ {job}. A~ {job} {does}. {n} works {where(place)}. "
                f"A~ {job} uses {tool}, and {n} uses it every day.", {})
