"""Which tokens are measured: four strata, sized by what vocabulary and corpus have.

S1  words that are one piece, whose merge is taken away and whose true rows are hidden.
S2  words that are several pieces.
S3  tokens that stand for a description; what follows it is sampled from the model itself.
S4  nonce: pieces put together at random, in places chosen at random. Nothing can be learned of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.rows.placing import placed
from benchmarks.rows.subject import FIT, TEST, VALIDATION, Subject
from numpy.typing import NDArray

from tokengraft.training.evidence import BACKGROUND, PER_TOKEN, neutral_text, windows_in
from tokengraft.training.resplitting import at_most, spelled_out, without_merge
from tokengraft.training.windows import Ids, Phrase, Windows

FEWEST_TOKENS = 32  # below this no interval is given
WANTED = {"S1": 64, "S2": 128, "S3": 32, "S4": 32}
FEWEST = ({FIT: 12, VALIDATION: 4, TEST: 8}, {FIT: 8, VALIDATION: 2, TEST: 6})
_POOL = 3  # times as many windows to fit on as one seed takes


@dataclass(frozen=True, slots=True, eq=False)
class Background:
    """Neutral text: sequences [S, T], and the positions at which no phrase is due."""

    ids_ST: Ids
    keep_ST: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Stratum:
    """Tokens of one kind, with their windows.

    Attributes:
        windows: by part; those to fit on are more than one seed takes.
        backgrounds: of the fit and of the test documents.
        frequency_N: occurrences of each phrase a position of the corpus.
    """

    name: str
    phrases: tuple[Phrase, ...]
    windows: dict[str, Windows]
    backgrounds: dict[str, Background]
    frequency_N: NDArray[np.float64]


def choose(
    subject: Subject,
    name: str,
    *,
    background: int,
    wanted: int | None = None,
    neutral: int | None = None,
) -> Stratum:
    """Choose the tokens of a stratum and cut their windows; always the same for a subject.

    Args:
        background: positions of neutral text to measure on; `neutral`: to fit on, by default as many
            as `train` reads.
    """
    rng = np.random.default_rng([ord(letter) for letter in name])
    wanted = wanted or WANTED[name]
    phrases = {"S1": _resplit, "S2": _several_pieces, "S3": _described, "S4": _nonce}[name](
        subject, wanted, rng
    )
    found: dict[str, Windows] = {}
    counts = np.zeros(len(phrases))
    for part in (FIT, VALIDATION, TEST):
        most = PER_TOKEN[part] * (_POOL if part == FIT else 1)
        found[part], seen = _windows(subject, name, phrases, part, most, rng)
        counts += seen
    n_positions = sum(len(ids) for part in subject.parts.values() for ids in part)
    backgrounds = {
        part: _background(subject, phrases, part, positions, rng)
        for part, positions in ((FIT, neutral or BACKGROUND), (TEST, background))
    }
    return Stratum(name, phrases, found, backgrounds, np.maximum(counts, 1) / n_positions)


def for_seed(stratum: Stratum, seed: int) -> Windows:
    """The windows that one seed fits on: `PER_TOKEN` of each token's."""
    windows = stratum.windows[FIT]
    order = np.random.default_rng(seed).permutation(len(windows))
    rank = np.zeros(len(windows), np.int64)
    seen: Counter[int] = Counter()
    for n in order:
        token = int(windows.token_W[n])
        rank[n] = seen[token]
        seen[token] += 1
    return windows.of(rank < PER_TOKEN[FIT])


# ── the four kinds ───────────────────────────────────────────────────────────────────────────────


def _resplit(subject: Subject, wanted: int, rng: np.random.Generator) -> tuple[Phrase, ...]:
    words, shortest = subject.words, 4 if subject.model.n_rows < 1024 else 5
    counts = _places_a_part(subject, {(i,): i for i in range(subject.model.n_rows)})
    candidates = [
        i
        for i in range(subject.model.n_rows)
        if words.begins_V[i] and len(words.text([i])) >= shortest and words.text([i]).isprintable()
    ]
    taken: dict[int, tuple[int, ...]] = {}
    used: set[int] = set()
    for fewest in FEWEST:
        fitting = [i for i in candidates if _is_frequent(counts, (i,), fewest)]
        for i in rng.permutation(np.array(fitting, np.int64)).tolist():
            pieces = _without_merge(subject, i)
            free = i not in used and not set(pieces) & set(taken)
            if len(taken) < wanted and i not in taken and len(pieces) > 1 and free:
                taken[i] = pieces
                used |= set(pieces)
        if len(taken) >= FEWEST_TOKENS:
            break
    return tuple(Phrase(words.text([i]), pieces, without=i) for i, pieces in sorted(taken.items()))


def _without_merge(subject: Subject, i: int) -> tuple[int, ...]:
    symbols = without_merge(subject.tokenizer.id_to_token(i), subject.ranks)
    ids = [subject.tokenizer.token_to_id(symbol) for symbol in symbols]
    return () if None in ids else tuple(ids)


def _several_pieces(subject: Subject, wanted: int, rng: np.random.Generator) -> tuple[Phrase, ...]:
    counts = _places_a_part(subject, None)
    words = subject.words
    whole = {pieces for pieces in counts if len(pieces) > 1 and len(words.text(pieces)) > 3}
    clean = {p for p in whole if words.text(p)[1:].isalpha()}
    for fewest in FEWEST:
        fitting = sorted(p for p in clean if _is_frequent(counts, p, fewest))
        if len(fitting) >= FEWEST_TOKENS:
            break
    chosen = rng.permutation(len(fitting))[:wanted]
    return tuple(Phrase(words.text(fitting[n]), fitting[n]) for n in sorted(chosen))


def _described(subject: Subject, wanted: int, rng: np.random.Generator) -> tuple[Phrase, ...]:
    """Runs of three to five words of one line of text, 5 to 40 pieces."""
    found: dict[tuple[int, ...], str] = {}
    parts = subject.parts[FIT]
    while len(found) < wanted:
        ids = parts[int(rng.integers(len(parts)))]
        begins = np.flatnonzero(subject.words.begins_V[ids])
        if len(begins) < 8:
            continue
        n = int(rng.integers(len(begins) - 6))
        pieces = tuple(ids[begins[n] : begins[n + int(rng.integers(3, 6))]].tolist())
        text = subject.words.text(pieces)
        if 5 <= len(pieces) <= 40 and text.replace(" ", "").isalpha():
            found[pieces] = text
    return tuple(
        Phrase(f"<|described_{n}|>", pieces, is_described=True) for n, pieces in enumerate(found)
    )


def _nonce(subject: Subject, wanted: int, rng: np.random.Generator) -> tuple[Phrase, ...]:
    words = subject.words
    begins = np.array([i for i in np.flatnonzero(words.begins_V) if len(words.bytes_V[i]) > 1])
    inner = np.array([i for i in np.flatnonzero(words.goes_on_V) if len(words.bytes_V[i]) > 1])
    seen = _places_a_part(subject, None)
    found: dict[tuple[int, ...], str] = {}
    while len(found) < wanted:
        pieces = (int(rng.choice(begins)), *map(int, rng.choice(inner, int(rng.integers(1, 3)))))
        text = words.text(pieces)
        if pieces not in seen and text[1:].isalpha():
            found[pieces] = text
    return tuple(Phrase(text, pieces) for pieces, text in found.items())


def _places_a_part(
    subject: Subject, only: dict[tuple[int, ...], int] | None
) -> dict[tuple[int, ...], Counter[str]]:
    """How often each whole word, as its pieces, stands in each part; `only` these if given."""
    counts: dict[tuple[int, ...], Counter[str]] = {}
    for part, encoded in subject.parts.items():
        for ids in encoded:
            goes_on = subject.words.goes_on_V[ids]
            begins = np.flatnonzero(subject.words.begins_V[ids])
            stops = np.flatnonzero(~goes_on)
            ends = np.append(stops, len(ids))[np.searchsorted(stops, begins, side="right")]
            for first, end in zip(begins.tolist(), ends.tolist(), strict=True):
                word = tuple(ids[first:end].tolist())
                if only is None or word in only:
                    counts.setdefault(word, Counter())[part] += 1
    return counts


def _is_frequent(
    counts: dict[tuple[int, ...], Counter[str]], word: tuple[int, ...], fewest: dict[str, int]
) -> bool:
    # A third more than needed: some places lie too near to an end or to the same word.
    return word in counts and all(counts[word][part] * 3 >= n * 4 for part, n in fewest.items())


# ── windows ──────────────────────────────────────────────────────────────────────────────────────


def _windows(
    subject: Subject,
    name: str,
    phrases: Sequence[Phrase],
    part: str,
    most: int,
    rng: np.random.Generator,
) -> tuple[Windows, NDArray[np.float64]]:
    """Windows of a part, `most` a token, and how often each phrase stands there."""
    if name in ("S3", "S4"):
        return placed(subject, phrases, part, most, rng), np.zeros(len(phrases))
    encoded = subject.parts[part]
    standing = [Phrase(p.text, (p.without,)) if p.without is not None else p for p in phrases]
    goes_on_V = subject.words.goes_on_V
    windows, counts = windows_in(encoded, standing, goes_on_V, 2 * most, rng, bos=subject.bos)
    if name == "S1":
        windows = spelled_out(windows, phrases)
    return at_most(windows, most), counts.astype(float)


def _background(
    subject: Subject,
    phrases: Sequence[Phrase],
    part: str,
    positions: int,
    rng: np.random.Generator,
) -> Background:
    standing = [Phrase(p.text, (p.without,)) if p.without is not None else p for p in phrases]
    encoded, goes_on_V = subject.parts[part], subject.words.goes_on_V
    return Background(*neutral_text(encoded, standing, goes_on_V, positions, rng, bos=subject.bos))
