"""What each initializer is worth before any training, on real text: a table for the documentation.

python benchmarks/bench_initializers.py [--data FOLDER] [--words 24] [-o docs/explanation/...md]

Words that a tokenizer cuts into pieces are added as tokens (`use = "word"`), once with each initializer,
through the same plan and apply that everybody uses. In held-out text, each place where such a word
stands is read twice with 48 old tokens before it and 16 behind:

- *reading*: what the model loses on the 16 tokens behind, where it has read the new token instead of
  the pieces, in bits per byte. New tokens are left out of the softmax, so that it is reading alone.
- *writing*: the log probability of the new token less that of the pieces, in nats, at the same place:
  0 is right, below it the token is written too seldom, above too often.

Both are means over places; intervals are 95 % of a bootstrap over words. Needs torch and transformers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tokengraft import flow
from tokengraft.rows.initializers import INITIALIZERS

REPO = Path(__file__).resolve().parents[1]
BEFORE, BEHIND = 48, 16
PLACES = 24  # of one word at most, so that no word rules the mean
BATCH = 64
RESAMPLES = 2000
# Those that need something a word does not have: a description, a text that it replaces.
WITHOUT = ("meaning-mean", "sequence")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """A model, held-out text for it, and a donor that has its words as single tokens."""

    name: str
    folder: Path
    text: str
    donor: Path | None


@dataclass(frozen=True)
class Place:
    """One place where a word stands, in old ids."""

    word: int
    before: tuple[int, ...]
    pieces: tuple[int, ...]
    behind: tuple[int, ...]
    n_bytes: int


@dataclass(frozen=True)
class Scores:
    """One initializer's figures by place: bits lost behind, and the gap in nats."""

    bits: Floats
    gap: Floats


def main() -> int:
    """Measure every initializer on both models and print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("TOKENGRAFT_DATA"))
    parser.add_argument("--words", type=int, default=24)
    parser.add_argument("-o", "--output", type=Path)
    wish = parser.parse_args()
    if wish.data is None:
        print("needs --data, the folder of real files: nothing measured")
        return 0
    parts = [table(subject, wish.words) for subject in subjects(Path(wish.data))]
    page = "\n".join(parts)
    if wish.output:
        before, mark, _ = wish.output.read_text(encoding="utf-8").partition(MARK)
        wish.output.write_text(f"{before}{mark}\n\n{page}", encoding="utf-8")
    print(page)
    return 0


MARK = "<!-- what follows is written by benchmarks/bench_initializers.py -->"


def subjects(data: Path) -> Iterator[Subject]:
    """A tied model that was trained by others, and the untied one of the repository."""
    tiny = REPO / "models" / "tiny-qwen3-moe-base"
    stories = data / "text" / "tinystories" / "tiny_stories_944k.txt"
    text = stories.read_text(encoding="utf-8").replace("<|endoftext|>", "\n")
    yield Subject("stories260K: tied, width 64", data / "models" / "stories260K", text, tiny)
    yield Subject("tiny-qwen3-moe-base: untied, width 96", tiny, own_text(), None)


def own_text() -> str:
    """Text of the grammar that the small model was trained on, of a seed that it never saw."""
    sys.path.insert(0, str(REPO / "tools"))
    from tiny_chat import document  # the trainer's

    r = random.Random(987_654)
    return "\n".join(document(r) for _ in range(6_000))


# ── words and places ─────────────────────────────────────────────────────────────────────────────


def tokenizer_of(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder."""
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    """Ids of a text without special tokens around it."""
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


def pieces_of(tokenizer: Tokenizer, word: str) -> list[int]:
    """What a word becomes behind other text."""
    return ids_of(tokenizer, f"x{word}")[len(ids_of(tokenizer, "x")) :]


def chosen_words(subject: Subject, count: int) -> list[str]:
    """The most frequent words of four letters and more that are two pieces or more."""
    tokenizer = tokenizer_of(subject.folder)
    donor = None if subject.donor is None else tokenizer_of(subject.donor)
    words = Counter(re.findall(r"(?<=\w)( [^\W\d_]{4,})(?!\w)", subject.text))
    found = (
        word
        for word, _ in words.most_common()
        if len(pieces_of(tokenizer, word)) > 1
        and (donor is None or len(pieces_of(donor, word)) == 1)
    )
    return list(itertools.islice(found, count))


def places(subject: Subject, grown: Path, words: Sequence[str]) -> list[Place]:
    """Where the words stand in the text, with the old ids around them."""
    old, new = tokenizer_of(subject.folder), tokenizer_of(grown)
    cut = {new.token_to_id(key): word for key, word in _entries(new, words).items()}
    pieces = {token_id: pieces_of(old, words[word]) for token_id, word in cut.items()}
    found: list[Place] = []
    seen: Counter[int] = Counter()
    for line in subject.text.splitlines():
        flat: list[int] = []
        at: list[tuple[int, int]] = []
        for token_id in ids_of(new, line):
            if token_id in pieces:
                at.append((len(flat), token_id))
            flat += pieces.get(token_id, [token_id])
        assert flat == ids_of(old, line), "a new id taken apart is the old text"
        for begin, token_id in at:
            end = begin + len(pieces[token_id])
            word = cut[token_id]
            if begin < BEFORE // 4 or end + BEHIND > len(flat) or seen[word] >= PLACES:
                continue
            seen[word] += 1
            behind = flat[end : end + BEHIND]
            n_bytes = max(1, len(old.decode(behind).encode()))
            before = tuple(flat[max(0, begin - BEFORE) : begin])
            found.append(Place(word, before, tuple(pieces[token_id]), tuple(behind), n_bytes))
    return found


def _entries(tokenizer: Tokenizer, words: Sequence[str]) -> dict[str, int]:
    """How the grown vocabulary spells each word, by the id that stands for it whole."""
    spelled = {}
    for number, word in enumerate(words):
        (token_id,) = pieces_of(tokenizer, word)
        spelled[tokenizer.id_to_token(token_id)] = number
    return spelled


# ── grown models ─────────────────────────────────────────────────────────────────────────────────


def grown(subject: Subject, words: Sequence[str], init: str, home: Path) -> Path:
    """The model with all words added, by plan and apply."""
    lines = ["version = 1"]
    for word in words:
        lines += ["[[add]]", f"text = {json.dumps(word)}", 'use = "word"']
        if init == "copy":  # of its first piece, which is the best that a copy can be told
            first = pieces_of(tokenizer_of(subject.folder), word)[0]
            lines.append(f"like = {json.dumps(tokenizer_of(subject.folder).id_to_token(first))}")
        lines.append(f'init = "{init}"')
    if init == "omp":
        lines += ["[rows]", f"donor = {json.dumps(str(subject.donor))}"]
    recipe = home / f"{init}.toml"
    recipe.write_text("\n".join(lines) + "\n", encoding="utf-8")
    flow.apply(recipe, base=str(subject.folder), out=home / init)
    return home / init


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


def log_probabilities(model: Any, rows: Sequence[Sequence[int]], n_old: int) -> list[Any]:  # noqa: ANN401 - of torch
    """For each row of ids: log probabilities over the old tokens, and of each new one, at all places.

    The new ones are given with all tokens in the softmax, the old ones among themselves.
    """
    import torch

    width = max(map(len, rows))
    ids = torch.tensor(
        [[*row, *[0] * (width - len(row))] for row in rows]
    )  # causal: padding is unseen
    with torch.no_grad():
        logits = model(ids).logits.double()
    old = torch.log_softmax(logits[..., :n_old], dim=-1)
    return list(zip(old, torch.log_softmax(logits, dim=-1), strict=True))


@dataclass(frozen=True)
class Reader:
    """The base and the grown model, and the ids of both.

    Attributes:
        begin: what every text begins with.
    """

    base: Any
    model: Any
    new_ids: Sequence[int]
    n_old: int
    begin: Sequence[int]


def scored(reader: Reader, spots: Sequence[Place]) -> Scores:
    """Read every place with the pieces and with the new token."""
    import torch

    bits, gap = [], []
    begin, new_ids = reader.begin, reader.new_ids
    for first in range(0, len(spots), BATCH):
        part = spots[first : first + BATCH]
        teacher_rows = [[*begin, *p.before, *p.pieces, *p.behind] for p in part]
        student_rows = [[*begin, *p.before, new_ids[p.word], *p.behind] for p in part]
        teacher = log_probabilities(reader.base, teacher_rows, reader.n_old)
        student = log_probabilities(reader.model, student_rows, reader.n_old)
        for place, (t_old, _), (s_old, s_all) in zip(part, teacher, student, strict=True):
            at = len(begin) + len(place.before)
            behind = torch.tensor(place.behind)
            rows = torch.arange(BEHIND)
            read_t = t_old[at + len(place.pieces) - 1 + rows, behind].sum()
            read_s = s_old[at + rows, behind].sum()
            bits.append(float(read_t - read_s) / math.log(2) / place.n_bytes)
            written = sum(float(t_old[at - 1 + n, i]) for n, i in enumerate(place.pieces))
            gap.append(float(s_all[at - 1, new_ids[place.word]]) - written)
    return Scores(np.array(bits), np.array(gap))


def table(subject: Subject, count: int) -> str:
    """The table of one model."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    words = chosen_words(subject, count)
    names = [name for name in (*sorted(INITIALIZERS), "auto") if name not in WITHOUT]
    names = [name for name in names if name != "omp" or subject.donor is not None]
    base = AutoModelForCausalLM.from_pretrained(subject.folder, dtype=torch.float32).eval()
    rows = []
    spots: list[Place] = []
    with tempfile.TemporaryDirectory() as place:
        for init in names:
            out = grown(subject, words, init, Path(place))
            spots = spots or places(subject, out, words)
            tokenizer = tokenizer_of(out)
            new_ids = [pieces_of(tokenizer, word)[0] for word in words]
            n_old = min(new_ids)
            begin = tokenizer_of(subject.folder).encode("x").ids
            begin = begin[: len(begin) - len(ids_of(tokenizer, "x"))]
            model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
            rows.append((init, scored(Reader(base, model, new_ids, n_old, begin), spots)))
    return rendered(subject, words, spots, rows)


def rendered(
    subject: Subject, words: Sequence[str], spots: Sequence[Place], rows: list[tuple[str, Scores]]
) -> str:
    """Markdown: the best reader first."""
    of_word = np.array([place.word for place in spots])
    lines = [
        f"### {subject.name}",
        "",
        f"{len(words)} words, {len(spots)} places; {', '.join(w.strip() for w in words[:8])} ...",
        "",
        "| init | reading: bits per byte lost | writing: gap in nats | size of the gap |",
        "| --- | --- | --- | --- |",
    ]
    for init, found in sorted(rows, key=lambda row: float(row[1].bits.mean())):
        figures = (found.bits, found.gap, np.abs(found.gap))
        cells = [f"{interval(one, of_word)}" for one in figures]
        lines.append(f"| `{init}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def interval(values: Floats, of_word: NDArray[np.int64]) -> str:
    """The mean, and 95 % of a bootstrap over words."""
    words = np.unique(of_word)
    sums = np.array([values[of_word == word].sum() for word in words])
    counts = np.array([(of_word == word).sum() for word in words])
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(words), (RESAMPLES, len(words)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    raise SystemExit(main())
