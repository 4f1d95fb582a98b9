"""Texts for two models to read: windows of running text, and passkeys hidden in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from tokengraft.verifying.texts import Dice

MAX_WINDOWS = 8
# A window of 8,192 tokens takes a model of 135 million parameters about a minute on four cores.
MAX_TOKENS = 8192
N_KEYS = 3
DEPTHS = (10, 50, 90)  # per cent of the text before the key
CHARS_A_TOKEN = 32  # no tokenizer needs more characters a token for running text

# Mohtashami and Jaggi 2023 ("Landmark Attention") hid keys in this way; the words are ours.
HEAD = "A pass key is hidden in this text. Find it and remember it.\n\n"
KEY = "\n\nThe pass key is {0}. Remember it: {0} is the pass key.\n\n"
QUESTION = "\n\nWhat is the pass key? The pass key is"

Encode = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True, slots=True)
class Hidden:
    """A text with a passkey in it, and its answer behind it."""

    ids: tuple[int, ...]
    depth_percent: int
    n_answer: int


def windows(
    texts: Sequence[str], encode: Encode, n_tokens: int, begin: tuple[int, ...]
) -> list[tuple[int, ...]]:
    """At most `MAX_WINDOWS` windows of `n_tokens` ids, evenly spread over each text, none overlapping.

    A text is taken as it runs, across blank lines and whatever else divides it.

    Args:
        texts: whole texts; each gives the same number of windows, as far as they are long enough.
        begin: ids that every window opens with.
    """
    by_text = [_spread(text, encode, n_tokens - len(begin)) for text in texts]
    mixed = (ids for row in zip_longest(*by_text) for ids in row if ids is not None)
    return [(*begin, *ids) for ids, _ in zip(mixed, range(MAX_WINDOWS), strict=False)]


def passkeys(
    filler: Sequence[tuple[int, ...]], encode: Encode, n_tokens: int, begin: tuple[int, ...]
) -> Iterator[Hidden]:
    """Texts of exactly `n_tokens` ids: the question, what hides the key, the question, the key.

    None if there is no room. Depths come before further keys, so that a run cut short has all of them.
    """
    dice = Dice(5)
    keys = [str(10_000 + dice.below(90_000)) for _ in range(N_KEYS)]
    head, question = encode([HEAD, QUESTION])
    hints = encode([KEY.format(key) for key in keys])
    asked = encode([f"{QUESTION} {key}" for key in keys])
    for number, (hint, ending) in enumerate(zip(hints, asked, strict=True)):
        alike = zip(question, ending, strict=False)
        n_same = next((n for n, (a, b) in enumerate(alike) if a != b), len(question))
        room = n_tokens - sum(map(len, (begin, head, hint, ending)))
        if room < 0:
            return
        text = filler[number % len(filler)][len(begin) :]
        for depth in DEPTHS:
            cut = room * depth // 100
            ids = (*begin, *head, *text[:cut], *hint, *text[cut:room], *ending)
            yield Hidden(ids, depth, len(ending) - n_same)


def _spread(text: str, encode: Encode, n_tokens: int) -> list[list[int]]:
    """As many pieces of the text as give `n_tokens` ids each, beginning at lines where there are some."""
    for number in range(MAX_WINDOWS, 0, -1):
        begins = [_line(text, len(text) * at // number) for at in range(number)]
        ends = [*begins[1:], len(text)]
        pieces = [
            text[begin : min(end, begin + CHARS_A_TOKEN * n_tokens)]
            for begin, end in zip(begins, ends, strict=True)
        ]
        if all(pieces):
            ids = encode(pieces)
            if all(len(row) >= n_tokens for row in ids):
                return [row[:n_tokens] for row in ids]
    return []


def _line(text: str, at: int) -> int:
    """The beginning of the next line, if that is near."""
    if at == 0:
        return 0
    end = text.find("\n", at, at + 1000)
    return at if end < 0 else end + 1
