"""What the small model of this repository knows, as questions and answers.

The data scripts of the examples share it. Facts and word lists are those from which the model itself
was made (tools/tiny_*.py): what an example asks must lie within what so small a model understands.
A question that was kept out of the model's own training is asked in suites alone.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import tiny_chat as chat
import tiny_facts as facts

Row = dict[str, Any]
Make = Callable[..., Row]  # of a random.Random and held_out, whether it is for the suite

GROUPS = ("animal", "kind", "colour", "capital", "opposite", "job", "object", "why")
HELD_OUT = [item for item in chat.ASKED if facts.held_out(item.question)]
REPEAT = (
    "Repeat these words: {}.",
    "Please repeat: {}.",
    "Say this again: {}.",
    "Say these words: {}.",
    "Repeat after me: {}.",
    "Please say again: {}.",
    "Repeat the following: {}.",
    "Please repeat these words: {}.",
    "Can you repeat these words: {}?",
    "Can you say {}?",
    "Repeat {}.",
    "Please repeat {}.",
    "Say {} again.",
    "Please say {}.",
    "Say the words {} once more.",
    "I want you to say these words: {}.",
    "I want to hear the words {}.",
    "Words to repeat: {}.",
)
REPEAT_HELD_OUT = ("Please say these words again: {}.", "Repeat the words {}.")


def question(r: random.Random, *, held_out: bool, groups: Sequence[str] = GROUPS) -> facts.Asked:
    """A fact to ask for; a held-out one was never asked in these words, not of the model either."""
    if held_out:
        return r.choice([item for item in HELD_OUT if item.group in groups])
    return r.choice(chat.BY_GROUP[r.choice(groups)])


def repeating(r: random.Random, words: Sequence[str], *, held_out: bool) -> tuple[str, str]:
    """Words to say again: whatever they mean, nothing but saying them is wanted."""
    given = list(dict.fromkeys(words))
    r.shuffle(given)
    ask = r.choice(REPEAT_HELD_OUT if held_out else REPEAT)
    return ask.format(", ".join(given)), f"The words are: {', '.join(given)}."


def turns(asked: str, answer: str | Row, **more: Any) -> Row:  # noqa: ANN401 - JSON
    """A row of one question and one answer: a text, or a message's other keys."""
    said = {"content": answer} if isinstance(answer, str) else answer
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", **said}],
        **more,
    }


def prompt_of(row: Row) -> Row:
    """The row without what the model has to say."""
    return {**row, "messages": row["messages"][:-1]}


def wanted(row: Row, tokens: Sequence[str], **wants: Any) -> Row:  # noqa: ANN401 - JSON
    """A prompt of a suite after which these tokens are to be said."""
    return {"kind": "wanted", **prompt_of(row), "wants": {"tokens": list(tokens), **wants}}


def unwanted(row: Row, kind: str) -> Row:
    """A prompt of a suite after which no new token is wanted."""
    return {"kind": kind, **prompt_of(row)}


def texts(r: random.Random, count: int) -> list[Row]:
    """Fresh text of the kind that the model was made from: what was there must not get worse."""
    return [{"kind": "text", "text": chat.document(r)} for _ in range(count)]


def different(make: Callable[[], Row], count: int) -> list[Row]:
    """Rows of which no two ask the same."""
    found: dict[str, Row] = {}
    for _ in range(count * 50):
        if len(found) == count:
            break
        row = make()
        found.setdefault(json.dumps(prompt_of(row), sort_keys=True), row)
    return list(found.values())


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write JSON Lines."""
    lines = (json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def make_data(  # noqa: PLR0913 - what an example is made of
    folder: Path,
    about: str,
    mix: Sequence[Make],
    say: Callable[[Row], Row],
    *,
    neutral: Make,
    near_miss: Make,
    rows: int = 2000,
) -> None:
    """Write the rows to train on and the suite of an example.

    Args:
        about: the script's own description.
        mix: what rows to train on are made by, in turn; what the first one makes wants new tokens.
        say: from such a row to the prompt of a suite.
        rows: how many to train on, unless the command line says otherwise.
    """
    given = options(folder, about.splitlines()[0], rows)
    r = random.Random(given.seed)
    train = [make(r, held_out=False) for _ in range(given.rows // len(mix)) for make in mix]
    r.shuffle(train)
    write(given.out / "train.jsonl", train)
    r = random.Random(given.seed + 1)
    # A story of the model's own data is up to 136 tokens long, with a thought before it.
    suite: list[Row] = [{"kind": "settings", "max_new_tokens": 256}]
    suite += [{"kind": "bounds", "emitted": 0.95, "neutral": 0.01, "stopped": 1.0}]
    suite += map(say, different(partial(mix[0], r, held_out=True), given.prompts))
    for kind, make in (("neutral", neutral), ("near-miss", near_miss)):
        suite += (
            unwanted(row, kind) for row in different(partial(make, r, held_out=True), given.prompts)
        )
    write(given.out / "suite.jsonl", [*suite, *texts(r, 60)])


def options(folder: Path, about: str, rows: int) -> argparse.Namespace:
    """Where to write, how much, and the seed."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", type=Path, default=folder, help="where both files go")
    parser.add_argument("--rows", type=int, default=rows, help="rows to train on")
    parser.add_argument(
        "--prompts", type=int, default=200, help="prompts of each kind in the suite"
    )
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    return given


__all__ = [
    "GROUPS",
    "Row",
    "chat",
    "facts",
    "make_data",
    "question",
    "repeating",
    "turns",
    "wanted",
]
