"""Russian stories, facts and questions.

Russian words change with gender and case, so the tables hold the forms that the templates need.
"[a|b]" picks by the gender of the hero and "<a|b>" by the gender of the friend (masculine first).
"""

from __future__ import annotations

import random
import re

import tiny_russian_words as p
from tiny_facts import Asked

HERO = re.compile(r"\[([^|\]]*)\|([^\]]*)\]")
FRIEND = re.compile(r"<([^|>]*)\|([^>]*)>")


def cases(name: str, gender: str) -> tuple[str, str, str]:
    """Genitive, dative and accusative of a first name."""
    if gender == "m":
        stem = {"Пётр": "Петр"}.get(name, name)
        return stem + "а", stem + "у", stem + "а"
    stem = name[:-1]
    if name[-1] == "я":
        return stem + "и", stem + "е", stem + "ю"
    return stem + ("и" if stem[-1] in "кгхшжч" else "ы"), stem + "е", stem + "у"


def story(r: random.Random, beast: str | None = None) -> str:
    """One Russian story; the hero is a child or an animal with a name."""
    row = next((b for b in p.BEASTS if b[0] == beast), None) or r.choice(p.BEASTS)
    animal = beast is not None or r.random() < 0.5
    gender = row[1] if animal else r.choice("mf")
    name = r.choice(p.GIRLS if gender == "f" else p.BOYS)
    fgender = r.choice("mf")
    friend = r.choice([x for x in (p.GIRLS if fgender == "f" else p.BOYS) if x != name])
    kind = row[0] if animal else ("девочка" if gender == "f" else "мальчик")
    nom, igender, acc = r.choice(p.ITEMS)
    colour = r.choice(p.COLOURS)
    g = "mfn".index(igender)
    form = (colour[0], colour[1], colour[3])[g]
    gen, dat, _ = cases(name, gender)
    pl, pl2, pl3 = r.sample(p.PLACES, 3)
    food, food2 = r.sample(p.FOODS, 2)
    _, fdat, facc = cases(friend, fgender)
    s = {
        "n": name,
        "gen": gen,
        "dat": dat,
        "f": friend,
        "fdat": fdat,
        "facc": facc,
        "nom": nom,
        "acc": acc,
        "item": f"{form} {nom}",
        "adjacc": colour[2] if igender == "f" else form,
        "pl": pl,
        "pl2": pl2,
        "pl3": pl3,
        "food": food,
        "food2": food2,
        "when": r.choice(p.WHEN),
        "topic": r.choice(p.TOPICS),
        "gone": ("пропал", "пропала", "пропало")[g],
        "lay": ("лежал", "лежала", "лежало")[g],
        "skill": r.choice(p.SKILLS),
        "kind": kind,
        "home": row[3] if animal else r.choice(p.HOMES),
        "trait": r.choice(p.TRAITS)[gender == "f"],
    }
    intro = r.choice(
        [
            "[Жил-был|Жила-была] {trait} {kind} по имени {n}. [Он|Она] [жил|жила] {home}.",
            "{n} — {trait} {kind}. [Он|Она] живёт {home}.",
            "Давным-давно {home} [жил|жила] {trait} {kind}. [Его|Её] звали {n}.",
        ]
    )
    stages = r.choice(p.PLOTS)
    text = " ".join([intro, *(r.choice(stage) for stage in stages)]).format_map(s)
    text = HERO.sub(lambda m: m.group(1 + (gender == "f")), text)
    return FRIEND.sub(lambda m: m.group(1 + (fgender == "f")), text)


def facts() -> list[Asked]:
    """Every Russian question about the tables in every wording."""
    out: list[Asked] = []

    def add(thought: str, answer: str, *questions: str) -> None:
        out.extend(Asked(q[0].upper() + q[1:], answer, thought, "russian") for q in questions)

    for thing, colour, ask in p.COLOUR_OF:
        add(
            "Это вопрос о цвете.",
            f"{thing.capitalize()} {colour}."
            if thing in ("небо", "море")
            else f"{thing.capitalize()} — {colour}.",
            f"{ask}?",
            f"Скажи, {ask}.",
            f"Ты знаешь, {ask}?",
        )
    for land, city in p.CAPITALS:
        add(
            "Это вопрос о столице.",
            f"Столица {land} — {city}.",
            f"Какая столица {land}?",
            f"Назови столицу {land}.",
            f"Какой город — столица {land}?",
            f"Столица {land}?",
        )
    for one, two in p.OPPOSITES + [[b, a] for a, b in p.OPPOSITES]:
        add(
            "Нужно слово с обратным смыслом.",
            f"Наоборот будет «{two}».",
            f"Как сказать наоборот: «{one}»?",
            f"Какое слово противоположно слову «{one}»?",
        )
    for members, kind in p.KINDS:
        for thing in members.split(", "):
            add(
                "Нужно объяснить слово.",
                f"{thing.capitalize()} — это {kind}.",
                f"Что такое {thing}?",
                f"Что значит слово «{thing}»?",
            )
    for nom, _, _, home, food in p.BEASTS:
        add(
            "Это вопрос о животном.",
            f"{nom.capitalize()} ест {food}.",
            f"Что ест {nom}?",
            f"Скажи, что ест {nom}.",
        )
        add(
            "Это вопрос о животном.",
            f"{nom.capitalize()} живёт {home}.",
            f"Где живёт {nom}?",
            f"Скажи, где живёт {nom}.",
        )
    for english, russian in p.ENGLISH:
        add(
            "Нужен перевод.",
            f"«{russian.capitalize()}» по-английски — {english}.",
            f"Как по-английски «{russian}»?",
            f"Переведи на английский: {russian}.",
        )
        add(
            "I need a translation.",
            f'"{english.capitalize()}" in Russian is "{russian}".',
            f'What is "{english}" in Russian?',
            f"Translate into Russian: {english}.",
        )
    for i, day in enumerate(p.DAYS):
        nxt = p.DAYS[(i + 1) % 7]
        add(
            "Это вопрос о днях недели.",
            f"За днём «{day}» идёт {nxt}.",
            f"Какой день идёт за днём «{day}»?",
        )
    for a in range(21):
        for b in range(21 - a):
            add(
                f"{a} + {b} = {a + b}.",
                f"{a} плюс {b} будет {a + b}.",
                f"Сколько будет {a} плюс {b}?",
                f"Посчитай: {a} + {b}.",
            )
        for b in range(a + 1):
            add(
                f"{a} - {b} = {a - b}.",
                f"{a} минус {b} будет {a - b}.",
                f"Сколько будет {a} минус {b}?",
            )
    return out
