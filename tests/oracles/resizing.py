"""Generated recipes through tokengraft, and the same additions through transformers' own path.

What can be compared is compared: ids, flags, rows that nobody asked to change, encodings. Where the
two differ, `known` says which of them is wrong, and why; a difference that it does not know is a
failure.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from oracles.asking import ask
from raw_tensors import row_bytes
from tiny_kinds import EIGHT, build_eight
from tokengraft.flow import making

FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
MATRICES = ("model.embed_tokens.weight", "lm_head.weight")
NAMES = ("agent", "plan", "call", "мысль", "recursion", "x", "tool_7", "思考", "end of", "a-b")
SHAPES = ("<|{}|>", "<{}>", "</{}>", "[{}]", "<<{}>>", "⟦{}⟧")
TEXTS = (
    "hello world, the cats and the тест",
    " the  and\n\nof a\tin",
    "unable running 1234 <| not a token |>",
    "<|im_start|>user\nhello<|im_end|>\n<think>\nthe\n</think>",
    "é ñ ü 思考 🤖 ﬁ İ",
    '<tool_call>{"name": "of"}</tool_call>',
    "a <unk> b",
    "",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """A generated recipe: tokens with their flags, and whether a pad token is wanted."""

    adds: tuple[dict[str, Any], ...]
    pad: str | None

    def toml(self) -> str:
        lines = ["version = 1"]
        for add in self.adds:
            lines += ["[[add]]", f"text = {json.dumps(add['content'], ensure_ascii=False)}"]
            lines += [f"{flag} = {str(add[flag]).lower()}" for flag in FLAGS]
        if self.pad is not None:
            lines += ["[pad]", f"token = {json.dumps(self.pad, ensure_ascii=False)}"]
        return "\n".join(lines) + '\n[stop]\ntokens = "keep"\n'


def generated(seed: int) -> Recipe:
    """The same recipe for the same seed: 1 to 12 tokens, sometimes 80, so that matrices grow."""
    dice = random.Random(seed)
    number = 80 if seed % 25 == 24 else dice.randint(1, 12)
    texts: dict[str, None] = {}
    while len(texts) < number:
        texts[dice.choice(SHAPES).format(f"{dice.choice(NAMES)}{dice.randrange(100)}")] = None
    adds = tuple(
        {"content": text, **{flag: dice.random() < (0.5 if flag == "special" else 0.15)
                             for flag in FLAGS}} for text in texts
    )  # fmt: skip
    pad = f"<|pad{seed}|>" if dice.random() < 0.3 else None
    return Recipe(adds, pad)


@dataclass(frozen=True)
class Compared:
    """What came of it: pairs that agree, and differences by what is known of them."""

    pairs: int
    checks: Counter[str]
    known: Counter[str]
    unknown: tuple[str, ...]


def compare(home: Path, python: Path, seeds: range) -> Compared:
    """Send every recipe of `seeds` through both paths, on each of the eight checkpoints."""
    sources = build_eight(home / "sources")
    (home / "ours").mkdir()
    jobs = []
    for seed in seeds:
        recipe = generated(seed)
        path = home / f"{seed}.toml"
        path.write_text(recipe.toml(), encoding="utf-8")
        for name, source in sources.items():
            out = home / "ours" / f"{seed}-{name}"
            making.apply(path, base=str(source), out=out)
            rows = json.loads((out / "config.json").read_text(encoding="utf-8"))["vocab_size"]
            theirs = {"source": str(source), "out": str(home / "theirs" / out.name)}
            jobs.append({**theirs, "adds": recipe.adds, "pad": recipe.pad, "rows": rows})
    answers = ask(python, "resize_path.py", jobs, home=home / "asked")
    checks: Counter[str] = Counter()
    known: Counter[str] = Counter()
    unknown: list[str] = []
    for job, answer in zip(jobs, answers, strict=True):
        theirs = Path(str(job["out"]))
        ours = home / "ours" / theirs.name
        name = theirs.name.split("-", 1)[1]
        for check, difference in _differences(job, answer, ours, theirs, name):
            checks[check] += 1
            why = None if difference is None else reason(check, difference)
            if why is not None:
                known[why] += 1
            elif difference is not None:
                unknown.append(f"{theirs.name}: {check}: {difference}")
    return Compared(len(jobs), checks, known, tuple(unknown))


def _differences(
    job: dict[str, Any], answer: dict[str, Any], ours: Path, theirs: Path, name: str
) -> Iterator[tuple[str, str | None]]:
    """Each comparison with what differs, None where nothing does."""
    main, other = (
        json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        for folder in (ours, theirs)
    )
    mine = {entry["content"]: entry for entry in main["added_tokens"]}
    saved = {entry["content"]: entry for entry in other["added_tokens"]}
    for text, token_id in answer["ids"].items():
        yield "ids", None if mine[text]["id"] == token_id else f"{text}: {token_id}"
    for text, entry in saved.items():
        same = entry == mine.get(text)
        yield "flags", None if same else f"{text}: {entry} and {mine.get(text)}"
    tiny = EIGHT[name]
    for matrix in MATRICES[: 1 if tiny.tied else 2]:
        wanted = row_bytes(Path(job["source"]), matrix)[: tiny.n_tokens()]
        for folder in (ours, theirs):
            kept = row_bytes(folder, matrix)[: tiny.n_tokens()] == wanted
            yield "rows", None if kept else f"{folder.parent.name} changed {matrix}"
    one, two = (Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (ours, theirs))
    texts = [*TEXTS, *(f"one {add['content']}two" for add in job["adds"])]
    for text in texts:
        a = one.encode(text, add_special_tokens=False).ids
        b = two.encode(text, add_special_tokens=False).ids
        yield "encodings", None if a == b else f"{text!r}: {a} and {b}"


def reason(check: str, difference: str) -> str | None:
    """Why two results differ, where it is known that transformers' path is the one that is wrong."""
    if check == "flags" and difference.startswith("<unk>: ") and difference.endswith(" and None"):
        return "save_pretrained turned the named unk, an ordinary piece, into an added token"
    if check == "encodings" and difference.startswith("'a <unk> b'"):
        return "and so text that spells it is read as the token"
    return None
