"""English stories, made from plots.

A plot is a list of stages and a stage is a list of alternative wordings. The slots are filled once
per story, so a name, a place or a lost object stays the same to the end: that consistency is what
the model has to learn. "a~" stands for "a" or "an", chosen by the word that follows.
"""

from __future__ import annotations

import random
import re

import tiny_plots as p
import tiny_tables as tab
import tiny_words as w

ARTICLE = re.compile(r"\b([Aa])~ (\w+)")
SILENT_H = ("hour", "honest")


def article(text: str) -> str:
    """Replace every "a~" by the article that fits the next word."""

    def fit(match: re.Match[str]) -> str:
        word = match.group(2).lower()
        vowel = word[0] in "aeiou" and not word.startswith(("uni", "use"))
        vowel = vowel or word.startswith(SILENT_H)
        return f"{match.group(1)}{'n' if vowel else ''} {match.group(2)}"

    return ARTICLE.sub(fit, text)


def fill(template: str, slots: dict[str, str]) -> str:
    """Fill one template; the result starts with a capital letter."""
    text = article(template.format_map(slots))
    return text[0].upper() + text[1:]


def person(r: random.Random, taken: str = "") -> tuple[str, str]:
    """A name with its gender ("f" or "m")."""
    gender = r.choice("fm")
    name = r.choice([n for n in (w.GIRLS if gender == "f" else w.BOYS) if n != taken])
    return name, gender


def slots_for(r: random.Random, kind: str | None = None) -> dict[str, str]:
    """Choose everything that must stay the same within one story."""
    name, gender = person(r)
    friend, fgender = person(r, name)
    if kind is None:
        job = r.choice(tab.JOBS)[0]
        kind = r.choice([r.choice(tab.ANIMALS)[0], "girl" if gender == "f" else "boy", job])
    he, his, him = ("she", "her", "her") if gender == "f" else ("he", "his", "him")
    fhe, fhis, fhim = ("she", "her", "her") if fgender == "f" else ("he", "his", "him")
    adj, adj2 = r.sample([a for a in w.CHARACTER if a != "little"], 2)
    pl, pl2, pl3 = r.sample(w.PLACES, 3)
    food, food2 = r.sample(w.FOODS, 2)
    skill, skilling, _, _ = r.choice(tab.SKILLS)
    thing, parts, step, _ = r.choice(tab.WISHES)
    good, good2 = r.sample(w.FEELINGS_GOOD, 2)
    c1 = r.randint(5, 20)
    c2 = r.randint(1, c1 - 3)
    s = {
        "n": name,
        "he": he,
        "his": his,
        "him": him,
        "He": he.capitalize(),
        "His": his.capitalize(),
        "f": friend,
        "fhe": fhe,
        "fhis": fhis,
        "fhim": fhim,
        "fHe": fhe.capitalize(),
        "fHis": fhis.capitalize(),
        "kind": kind,
        "adj": adj,
        "adj2": adj2,
        "pl": pl,
        "pl2": pl2,
        "pl3": pl3,
        "food": food,
        "food2": food2,
        "skill": skill,
        "skilling": skilling,
        "thing": thing,
        "parts": parts,
        "step": step,
        "good": good,
        "good2": good2,
        "bad": r.choice(w.FEELINGS_BAD),
        "home": r.choice(w.HOMES),
        "oadj": r.choice(w.OBJECT_ADJ),
        "obj": r.choice(w.THINGS),
        "weather": r.choice(w.WEATHER),
        "part": r.choice(w.DAYPART),
        "topic": r.choice(p.TOPICS),
        "family": r.choice(p.FAMILY),
        "far": r.choice(p.FAR),
        "plant": r.choice(p.PLANTS),
        "job": r.choice(tab.JOBS)[0],
        "num": w.NUMBERS[r.randint(2, 12)],
        "c1": w.NUMBERS[c1],
        "c2": w.NUMBERS[c2],
        "c3": w.NUMBERS[c1 - c2],
        "c4": w.NUMBERS[c1 - c2 - 1],
    }
    if " " in s["part"]:
        s["weather"] = r.choice(["quiet", "beautiful", "long", "clear"])
    s["day"] = fill(r.choice(p.DAY), s)
    s["daylow"] = s["day"][0].lower() + s["day"][1:]
    return s


def story(r: random.Random, kind: str | None = None, *, short: bool = False) -> str:
    """One story; a short one is one paragraph and often ends without a closing sentence."""
    s = slots_for(r, kind)
    stages = p.PLOTS[r.choice(list(p.PLOTS))]
    parts = [fill(r.choice(p.INTRO), s)]
    parts += [fill(r.choice(stage), s) for stage in stages]
    if not short or r.random() < 0.5:
        parts.append(fill(r.choice(p.END_GOOD), s))
    text = " ".join(parts)
    text = text.replace(" one coins", " one coin").replace("zero coins", "no coins")
    if not short and r.random() < 0.4:
        middle = len(parts) // 2 + 1
        text = " ".join(parts[:middle]) + "\n" + " ".join(parts[middle:])
    return text


def scene(r: random.Random) -> str:
    """A few plain sentences that describe a person, a day and what happened."""
    s = slots_for(r)
    bank = [
        "{n} has a~ {oadj} {obj}. {He} keeps it {pl}.",
        "{n} is a~ {job}. {He} gets up early every morning.",
        "{His} {family} likes {food}, but {n} likes {food2}.",
        "It is a~ {weather} day. {n} is {pl}.",
        "{n} is {num} years old. {His} friend {f} is older.",
        "Yesterday {n} was {bad}, but today {he} is {good}.",
        "{n} can {skill}. {f} wants to learn it too.",
        "In the morning {n} eats {food}. In the evening {he} reads about {topic}.",
        "{f} gave {n} a~ {oadj} {obj} for {his} birthday.",
        "{n} and {f} want to make {thing}. They need {parts}.",
        "{n} lives {home}. {f} lives {home2}.",
        "If the weather is good, {n} will go out. If it rains, {he} will stay at home.",
        "{n} is {adj} and {adj2}. Everybody likes {him}.",
        '"Where is my {obj}?" asks {n}. "It is {pl}," answers {f}.',
    ]
    s["home2"] = r.choice([h for h in w.HOMES if h != s["home"]])
    return " ".join(fill(t, s) for t in r.sample(bank, r.randint(3, 5)))
