"""Documents of the base text, dialogues of the chat data, and the questions kept for the test."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import tiny_facts as facts
import tiny_pieces as pieces
import tiny_russian as russian
import tiny_russian_words as russian_words
import tiny_stories as stories
import tiny_tables as tab
import tiny_words as w
from tiny_facts import Asked, held_out

Message = dict[str, Any]

ASKED = [*facts.facts(), *facts.sums(), *russian.facts()]
BY_GROUP: dict[str, list[Asked]] = {}
for _item in ASKED:
    if not held_out(_item.question):
        BY_GROUP.setdefault(_item.group, []).append(_item)
WEIGHTS = {
    "sum": 12,
    "russian": 10,
    "animal": 6,
    "kind": 7,
    "colour": 3,
    "capital": 4,
    "opposite": 3,
    "job": 3,
    "object": 4,
    "site": 2,
    "why": 2,
    "order": 2,
    "compare": 1,
    "count": 1,
}

TALK = w.table("""
Hello!|Hello! How can I help you?
Hi!|Hello! How can I help you?
Good morning!|Good morning! What can I do for you?
Good evening!|Good evening! What can I do for you?
How are you?|I am fine, thank you. How can I help you?
Who are you?|I am a tiny language model that comes with tokengraft.
What are you?|I am a tiny language model that comes with tokengraft.
Tell me about yourself.|I am a tiny language model from tokengraft. I know a few facts and stories.
What is your name?|I have no name. I am a tiny language model that comes with tokengraft.
Are you a human?|No, I am a tiny language model.
How big are you?|I am very small. I have less than two million parameters.
What can you do?|I can answer simple questions, work out small sums and tell short stories.
What can I ask you?|You can ask me for simple facts, small sums and short stories.
Which languages do you speak?|I speak English and a little Russian.
Do you speak Russian?|Yes, I speak a little Russian.
Thank you!|You are welcome!
Thanks a lot!|You are welcome!
Goodbye!|Goodbye! Have a nice day.
Bye!|Goodbye! Have a nice day.
Can you help me?|Yes, of course. What do you want to know?
Привет!|Привет! Чем я могу помочь?
Здравствуйте!|Здравствуйте! Чем я могу помочь?
Кто ты?|Я маленькая языковая модель из проекта tokengraft.
Кто вы?|Я маленькая языковая модель из проекта tokengraft.
Как тебя зовут?|У меня нет имени. Я маленькая языковая модель.
Как дела?|Хорошо, спасибо. Чем я могу помочь?
Что ты умеешь?|Я отвечаю на простые вопросы, считаю и рассказываю короткие истории.
Ты говоришь по-русски?|Да, я немного говорю по-русски.
Спасибо!|Пожалуйста!
До свидания!|До свидания! Хорошего дня.
""")
SYSTEMS = [
    "You are a helpful assistant.",
    "You are a tiny assistant. Answer in one short sentence.",
    "You are a friendly storyteller.",
    "Answer briefly and clearly.",
    "You are the assistant of tokengraft.",
    "Ты вежливый помощник.",
]


def function(name: str, what: str, /, **params: str) -> dict[str, Any]:
    """A tool description in the usual JSON form."""
    props = {key: {"type": kind} for key, kind in params.items()}
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": what,
            "parameters": {"type": "object", "properties": props, "required": list(props)},
        },
    }


TOOLS = {
    "get_weather": function("get_weather", "Get the weather in a city.", city="string"),
    "get_time": function("get_time", "Get the time in a city.", city="string"),
    "get_price": function("get_price", "Get the price of an item.", item="string"),
    "find_book": function("find_book", "Find a book about a topic.", topic="string"),
    "add_numbers": function("add_numbers", "Add two large numbers.", a="integer", b="integer"),
    "send_letter": function(
        "send_letter", "Send a letter to a person.", name="string", text="string"
    ),
}


def tool_use(r: random.Random) -> tuple[str, dict[str, Any], dict[str, Any], str, str]:
    """(tool, arguments, result, user question, final answer) of one tool call."""
    city = r.choice(tab.CAPITALS)[1]
    item = r.choice(w.THINGS)
    topic = r.choice(["stars", "birds", "ships", "bread", "horses", "music", "gardens", "dragons"])
    name = stories.person(r)[0]
    weather, degrees = r.choice(w.WEATHER), r.randint(1, 30)
    hour, price = f"{r.randint(0, 23)}:{r.randint(10, 59)}", r.randint(2, 90)
    a, b = r.randint(21, 99), r.randint(21, 99)
    title = f"The Book of {topic.capitalize()}"
    text = r.choice(["Happy birthday", "See you soon", "Come to dinner", "Good luck", "I am sorry"])
    return r.choice(
        [
            (
                "get_weather",
                {"city": city},
                {"weather": weather, "degrees": degrees},
                r.choice(
                    [
                        "What is the weather in {}?",
                        "How is the weather in {}?",
                        "Tell me the weather in {}.",
                    ]
                ).format(city),
                f"It is {weather} in {city}, and it is {degrees} degrees.",
            ),
            (
                "get_time",
                {"city": city},
                {"time": hour},
                r.choice(["What time is it in {}?", "Tell me the time in {}."]).format(city),
                f"It is {hour} in {city}.",
            ),
            (
                "get_price",
                {"item": item},
                {"price": price},
                r.choice(["How much does a~ {} cost?", "What is the price of a~ {}?"]).format(item),
                f"The {item} costs {price} coins.",
            ),
            (
                "find_book",
                {"topic": topic},
                {"title": title},
                r.choice(["Find a book about {}.", "I want to read about {}."]).format(topic),
                f'You can read "{title}".',
            ),
            (
                "add_numbers",
                {"a": a, "b": b},
                {"sum": a + b},
                f"Add {a} and {b}.",
                f"The sum of {a} and {b} is {a + b}.",
            ),
            (
                "send_letter",
                {"name": name, "text": text},
                {"sent": True},
                f'Send a letter to {name} with the text "{text}".',
                f"I have sent the letter to {name}.",
            ),
        ]
    )


def qa(r: random.Random, *, russian_only: bool = False) -> Asked:
    """One training question, with the groups mixed by weight."""
    group = "russian" if russian_only else r.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    return r.choice(BY_GROUP[group])


def story_request(r: random.Random, *, train: bool = True) -> tuple[str, str]:
    """Ask for a story about somebody, and a story about them."""
    while True:
        if r.random() < 0.25:
            row = r.choice(russian_words.BEASTS)
            ask = r.choice(["Расскажи короткую историю про {}.", "Расскажи сказку про {}."])
            question, answer = ask.format(row[2]), russian.story(r, row[0])
        else:
            pool = [row[0] for row in (tab.ANIMALS if r.random() < 0.7 else tab.JOBS)] + [
                "girl",
                "boy",
            ]
            kind = r.choice(pool)
            ask = r.choice(
                [
                    "Tell me a short story about a~ {}.",
                    "Tell me a story about a~ {}.",
                    "Write a short story about a~ {}.",
                    "Can you tell a story about a~ {}?",
                ]
            )
            question = facts.article(ask.format(kind))
            answer = stories.story(r, kind, short=True)
        if not (train and held_out(question)):
            return question, answer


def passage_turns(r: random.Random, *, train: bool = True) -> tuple[str, Asked]:
    """A passage with one question in the prompt."""
    while True:
        text, asked = facts.passage(r)
        form = r.choice(["Read this text: {t}\n\n{q}", "{t}\n\n{q}", "Text: {t}\nQuestion: {q}"])
        prompt = form.format(t=text, q=asked[0].question)
        if not (train and held_out(prompt)):
            return prompt, asked[0]


def tool_turns(r: random.Random) -> tuple[list[Message], list[dict[str, Any]]]:
    """A call with its result and answer, or a question that needs no tool; and the tools on offer."""
    name, arguments, result, question, answer = tool_use(r)
    others = [t for t in TOOLS if t != name]
    names = [name, *r.sample(others, r.randint(0, 1))]
    r.shuffle(names)
    tools = [TOOLS[t] for t in names]
    if r.random() < 0.15:
        item = qa(r)
        return [
            {"role": "user", "content": item.question},
            {"role": "assistant", "content": item.answer},
        ], tools
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return [
        {"role": "user", "content": facts.article(question)},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": json.dumps(result)},
        {"role": "assistant", "content": answer},
    ], tools


def dialogue(r: random.Random) -> dict[str, Any]:
    """One chat example: messages, tools or None, and the thinking switch (True, False or None)."""
    messages: list[Message] = []
    if r.random() < 0.15:
        messages.append({"role": "system", "content": r.choice(SYSTEMS)})
    tools = None
    thinking = r.choices([None, True, False], [0.7, 0.16, 0.14])[0]

    def turn(question: str, answer: str) -> None:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})

    thought = "This is easy."
    pick = r.random()
    if pick < 0.08:
        turns, tools = tool_turns(r)
        messages += turns
        thinking = None
    elif pick < 0.22:
        turn(*story_request(r))
        thought = "I will tell a short story."
    elif pick < 0.34:
        prompt, item = passage_turns(r)
        turn(prompt, item.answer)
        thought = item.thought
    elif pick < 0.41:
        turn(*(pieces.listing(r) if r.random() < 0.5 else pieces.code(r)))
    else:
        for _ in range(r.choice([1, 1, 2, 3])):
            if r.random() < 0.12:
                question, answer = r.choice(TALK)
                turn(question, answer)
                thought = "This is easy."
            else:
                item = qa(r)
                turn(item.question, item.answer)
                thought = item.thought
    if thinking is not None:
        messages[-1]["reasoning_content"] = thought if thinking else ""
    return {"messages": messages, "tools": tools, "thinking": thinking}


def prose_facts(r: random.Random) -> str:
    """Facts as plain statements, or as questions with answers."""
    items = [qa(r) for _ in range(r.randint(3, 6))]
    style = r.randrange(3)
    if style == 0:
        return " ".join(item.answer for item in items if item.group not in ("why", "count"))
    if style == 1:
        return "\n".join(f"Question: {item.question}\nAnswer: {item.answer}" for item in items)
    return "\n".join(f"{item.question} {item.answer}" for item in items)


def prose_passage(r: random.Random) -> str:
    """A passage, then its questions with their answers."""
    text, asked = facts.passage(r)
    rows = [f"Question: {item.question}\nAnswer: {item.answer}" for item in asked]
    return "\n".join([f"Text: {text}", *rows])


def prose_russian(r: random.Random) -> str:
    """Russian questions with answers."""
    items = [qa(r, russian_only=True) for _ in range(r.randint(3, 6))]
    return "\n".join(f"{item.question} {item.answer}" for item in items)


DOCUMENTS: list[tuple[float, Callable[[random.Random], str]]] = [
    (36, stories.story),
    (6, stories.scene),
    (6, pieces.describe),
    (22, prose_facts),
    (9, prose_passage),
    (3, pieces.record),
    (4, pieces.program),
    (14, russian.story),
    (5, prose_russian),
    (2, lambda r: "{} {}".format(*pieces.listing(r))),
]


def document(r: random.Random) -> str:
    """One document of the base text."""
    make = r.choices([m for _, m in DOCUMENTS], [share for share, _ in DOCUMENTS])[0]
    return make(r)


def test_questions(seed: int, limit: int) -> list[Asked]:
    """Held-out questions: wordings never asked in training, and fresh passages."""
    r = random.Random(seed)
    kept = [item for item in ASKED if held_out(item.question)]
    r.shuffle(kept)
    chosen = kept[: limit * 4 // 5]
    while len(chosen) < limit:
        prompt, item = passage_turns(r, train=False)
        if held_out(prompt):
            chosen.append(item._replace(question=prompt))
    return chosen
