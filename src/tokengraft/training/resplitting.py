"""Words that are one piece, taken apart again: pairs of pieces and true row that cost nothing.

A word's merge is taken away; what BPE then makes of it are pieces as a new word would have them, and
its row is the answer. What maps one to the other on known words can be asked for new ones.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.windows import (
    Ids,
    Phrase,
    Place,
    Windows,
    cut_windows,
    places_of,
    windows_of,
)
from tokengraft.training.word_pieces import WordPieces

FEWEST_LETTERS = 3


def without_merge(whole: str, ranks: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
    """What BPE makes of a piece when no merge yields it; merges by rank, as the library does it."""
    symbols = list(whole)
    while True:
        pairs = [
            (ranks[pair], n)
            for n, pair in enumerate(itertools.pairwise(symbols))
            if pair in ranks and pair[0] + pair[1] != whole
        ]
        if not pairs:
            return tuple(symbols)
        _, n = min(pairs)
        symbols[n : n + 2] = [symbols[n] + symbols[n + 1]]


def known_words(
    tokenizer: Any,
    words: WordPieces,
    ranks: Mapping[tuple[str, str], int],
    usable_V: NDArray[np.bool_],
) -> tuple[Phrase, ...]:
    """Every usable word of one piece, as the pieces that it would be without its merge."""
    found = []
    for i in np.flatnonzero(usable_V & words.begins_V[: len(usable_V)]).tolist():
        if len(words.text([i])) <= FEWEST_LETTERS:
            continue
        pieces = [tokenizer.token_to_id(s) for s in without_merge(tokenizer.id_to_token(i), ranks)]
        if len(pieces) > 1 and None not in pieces and all(usable_V[p] for p in pieces):
            found.append(Phrase(words.text([i]), tuple(pieces), without=i))
    return tuple(found)


def known_windows(
    documents: Sequence[Ids],
    known: Sequence[Phrase],
    words: WordPieces,
    *,
    a_word: int,
    bos: int | None,
) -> Windows:
    """Windows around known words, at most so many a word, with the pieces in the word's place."""
    standing = [Phrase(p.text, (int(p.without or 0),)) for p in known]
    among = list(places_of(documents, standing, words.goes_on_V))
    places = some_places(among, 2 * a_word)
    windows = cut_windows(documents, places, standing, among=among, before=24, bos=bos)
    return at_most(spelled_out(windows, known), a_word)


def some_places(places: Iterable[Place], a_token: int) -> list[Place]:
    """The first places of each token."""
    seen: Counter[int] = Counter()
    kept = []
    for place in places:
        if seen[place.token] < a_token:
            kept.append(place)
        seen[place.token] += 1
    return kept


def at_most(windows: Windows, a_token: int) -> Windows:
    """The first windows of each token."""
    seen: Counter[int] = Counter()
    keep = np.zeros(len(windows), np.bool_)
    for n, token in enumerate(windows.token_W.tolist()):
        keep[n] = seen[token] < a_token
        seen[token] += 1
    return windows.of(keep)


def spelled_out(windows: Windows, phrases: Sequence[Phrase]) -> Windows:
    """Windows around the one id of a word, with its pieces in that id's place."""
    rows = [
        np.concatenate([ids[:at], phrases[token].pieces, ids[at + 1 : length]])
        for ids, length, at, token in zip(
            windows.ids_WT, windows.length_W, windows.at_W, windows.token_W, strict=True
        )
    ]
    return windows_of(rows, windows.token_W.tolist(), windows.at_W.tolist(), phrases, windows.after)
