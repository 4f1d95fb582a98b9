"""Questions with answers, in English: facts, arithmetic, passages, lists and code.

Each maker returns `Asked` items. The base text tells them as prose; the chat data asks them. A
question is held out when its own hash says so, which keeps training and test apart without a list.
"""

from __future__ import annotations

import random
import zlib
from typing import NamedTuple

import tiny_tables as tab
import tiny_words as w
from tiny_stories import article, slots_for


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


class Collected(list[Asked]):
    """A list that takes one answer with all the wordings of its question."""

    def add(self, group: str, thought: str, answer: str, *questions: str) -> None:
        """Add the answer once for each wording."""
        self.extend(Asked(article(q), article(answer), article(thought), group) for q in questions)


def facts_of_things(out: Collected) -> None:
    """Colours, capitals and opposites."""
    for thing, colour in tab.COLOUR_OF:
        x = the(thing)
        out.add(
            "colour",
            f"The question is about the colour of {x}.",
            f"{cap(x)} is {colour}.",
            f"What colour is {x}?",
            f"Which colour does {x} have?",
            f"Tell me the colour of {x}.",
            f"What is the colour of {x}?",
            f"Can you say what colour {x} is?",
        )
    for land, city in tab.CAPITALS:
        out.add(
            "capital",
            f"The question is about the capital of {land}.",
            f"The capital of {land} is {city}.",
            f"What is the capital of {land}?",
            f"Which city is the capital of {land}?",
            f"Name the capital of {land}.",
            f"Tell me the capital city of {land}.",
            f"Do you know the capital of {land}?",
        )
        out.add(
            "capital",
            f"The question is about the city of {city}.",
            f"{city} is the capital of {land}.",
            f"Where is {city}?",
            f"What do you know about {city}?",
            f"Of which country is {city} the capital?",
        )
    pairs = tab.OPPOSITES + [[b, a] for a, b in tab.OPPOSITES]
    for one, two in pairs:
        if sum(p[0] == one for p in pairs) > 1:
            continue
        out.add(
            "opposite",
            f"The question is about the opposite of {one}.",
            f"The opposite of {one} is {two}.",
            f"What is the opposite of {one}?",
            f"Tell me the opposite of {one}.",
            f"Which word means the opposite of {one}?",
            f"Name the opposite of the word {one}.",
        )


def facts_of_life(out: Collected) -> None:
    """Animals, jobs, objects, places and reasons."""
    for name, _, land, food, young, sound, *_ in tab.ANIMALS:
        out.add(
            "animal",
            f"The question is about the food of a~ {name}.",
            f"A~ {name} eats {food}.",
            f"What does a~ {name} eat?",
            f"What is the food of a~ {name}?",
            f"Tell me what a~ {name} eats.",
        )
        out.add(
            "animal",
            f"The question is about the young of a~ {name}.",
            f"A young {name} is called a~ {young}.",
            f"What is a young {name} called?",
            f"What do you call a young {name}?",
            f"What is the name for a young {name}?",
        )
        out.add(
            "animal",
            f"The question is about the sound of a~ {name}.",
            f"A~ {name} {sound}.",
            f"What sound does a~ {name} make?",
            f"Which noise does a~ {name} make?",
        )
        out.add(
            "animal",
            f"The question is about the home of a~ {name}.",
            f"A~ {name} lives {where(land)}.",
            f"Where does a~ {name} live?",
            f"Where can I find a~ {name}?",
            f"Tell me where a~ {name} lives.",
        )
    for job, does, _, tool in tab.JOBS:
        out.add(
            "job",
            f"The question is about the work of a~ {job}.",
            f"A~ {job} {does}.",
            f"What does a~ {job} do?",
            f"What is the work of a~ {job}?",
            f"Tell me what a~ {job} does.",
        )
        out.add(
            "job",
            f"The question is about the tools of a~ {job}.",
            f"A~ {job} uses {tool}.",
            f"What does a~ {job} use?",
            f"Which tool does a~ {job} use?",
        )
    plural = {"scissors"}
    for thing, stuff, use in tab.OBJECTS:
        x, verb = (thing, "are") if thing in plural else (f"a~ {thing}", "is")
        out.add(
            "object",
            f"The question is about the use of {x}.",
            f"{cap(x)} {verb} used for {use}.",
            f"What {verb} {x} used for?",
            f"What is the use of {x}?",
            f"What can I do with {x}?",
            f"Why do people need {x}?",
        )
        out.add(
            "object",
            f"The question is about the material of {x}.",
            f"{cap(x)} {verb} made of {stuff}.",
            f"What {verb} {x} made of?",
            f"Which material {verb} {x} made of?",
        )
    for site, what in tab.SITES:
        out.add(
            "site",
            f"The question is about the meaning of {site}.",
            f"A~ {site} is a place where {what}.",
            f"What is a~ {site}?",
            f"What happens in a~ {site}?",
            f"Explain the word {site}.",
            f"Tell me what a~ {site} is.",
        )
    for question, reason in tab.WHY:
        out.add(
            "why",
            "The question asks for a reason.",
            f"Because {reason}.",
            f"Why {question}?",
            f"Can you tell me why? Why {question}?",
            f"I wonder: why {question}?",
        )


def facts_of_words(out: Collected) -> None:
    """Kinds of things, days and months."""
    seen = [x for members in w.KINDS.values() for x in members]
    for kind, members in w.KINDS.items():
        for x in members:
            if seen.count(x) > 1 or any(x == s[0] for s in tab.SITES):
                continue
            out.add(
                "kind",
                f"The question is about the word {x}.",
                f"{cap(noun(x))} is a~ {kind}.",
                f"What is {noun(x)}?",
                f"What kind of thing is {noun(x)}?",
                f"What does {x} mean?",
            )
    for row, unit in ((w.DAYS, "day"), (w.MONTHS, "month")):
        for i, x in enumerate(row):
            after, before = row[(i + 1) % len(row)], row[i - 1]
            out.add(
                "order",
                f"The question is about the {unit} after {x}.",
                f"After {x} comes {after}.",
                f"What comes after {x}?",
                f"Which {unit} comes after {x}?",
                f"Which {unit} follows {x}?",
            )
            out.add(
                "order",
                f"The question is about the {unit} before {x}.",
                f"Before {x} comes {before}.",
                f"What comes before {x}?",
                f"Which {unit} comes before {x}?",
            )


def facts() -> list[Asked]:
    """Every question about the fact tables in every wording."""
    out = Collected()
    facts_of_things(out)
    facts_of_life(out)
    facts_of_words(out)
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
        questions = (
            f"What is {a} {name} {b}?",
            f"How much is {a} {name} {b}?",
            f"Calculate {a} {sign[name]} {b}.",
            f"Please work out {a} {name} {b}.",
        )
        out.extend(Asked(q, f"{a} {name} {b} is {c}.", thought, "sum") for q in questions)
    for a in range(21):
        for b in range(21):
            if a != b:
                more = "bigger" if a > b else "smaller"
                out.append(
                    Asked(
                        f"Is {a} bigger than {b}?",
                        f"{'Yes' if a > b else 'No'}, {a} is {more} than {b}.",
                        f"I compare {a} and {b}.",
                        "compare",
                    )
                )
    for a in range(15):
        for b in range(a + 2, min(a + 7, 21)):
            run = ", ".join(str(i) for i in range(a, b + 1))
            questions = (f"Count from {a} to {b}.", f"Please count from {a} to {b}.")
            thought = f"I start at {a} and stop at {b}."
            out.extend(Asked(q, f"{run}.", thought, "count") for q in questions)
    return out


def passage(r: random.Random) -> tuple[str, list[Asked]]:
    """A short passage and the questions that it answers."""
    s = slots_for(r)
    n, f = s["n"], s["f"]
    lines: list[tuple[str, str, str]] = [
        (
            f"{n} has a~ {s['oadj']} {s['obj']}.",
            f"What does {n} have?",
            f"{n} has a~ {s['oadj']} {s['obj']}.",
        ),
        (
            f"The {s['obj']} of {n} is {s['pl']}.",
            f"Where is the {s['obj']}?",
            f"The {s['obj']} is {s['pl']}.",
        ),
        (f"{n} lives {s['home']}.", f"Where does {n} live?", f"{n} lives {s['home']}."),
        (f"{f} is a~ {s['job']}.", f"What is the job of {f}?", f"{f} is a~ {s['job']}."),
        (
            f"{n} wants to eat {s['food']}.",
            f"What does {n} want to eat?",
            f"{n} wants to eat {s['food']}.",
        ),
        (f"Today {n} is {s['bad']}.", f"How does {n} feel?", f"{n} is {s['bad']}."),
        (f"{f} is waiting {s['pl2']}.", f"Where is {f}?", f"{f} is {s['pl2']}."),
        (f"{n} is {s['num']} years old.", f"How old is {n}?", f"{n} is {s['num']} years old."),
        (f"{n} can {s['skill']}.", f"What can {n} do?", f"{n} can {s['skill']}."),
        (
            f"{n} wants to make {s['thing']}.",
            f"What does {n} want to make?",
            f"{n} wants to make {s['thing']}.",
        ),
    ]
    chosen = r.sample(lines, r.randint(2, 4))
    text = article(" ".join(line for line, _, _ in chosen))
    asked = [
        Asked(article(q), article(a), f"The text says: {article(line)}", "passage")
        for line, q, a in chosen
    ]
    r.shuffle(asked)
    return text, asked
