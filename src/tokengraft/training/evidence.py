"""From a corpus to what rows are fitted and judged on: windows around tokens, and neutral text.

Tokens with pieces are looked for in the text. Described ones stand nowhere yet: their description is
put between words, and what the model itself writes behind it is the text that follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.continuing import continued
from tokengraft.training.corpus import FIT, TEST, VALIDATION, Corpus
from tokengraft.training.resplitting import at_most, known_windows, known_words, some_places
from tokengraft.training.subject import Subject
from tokengraft.training.windows import (
    Evidence,
    Ids,
    Phrase,
    Windows,
    cut_windows,
    places_of,
    windows_of,
)

PER_TOKEN = {FIT: 25, VALIDATION: 8, TEST: 24}  # windows
SEQUENCE = 64  # positions of neutral text
BACKGROUND = 24_000  # positions of it
BEFORE, AFTER = 32, 16
_PLACED_BEFORE = 16
_KNOWN_WINDOWS = 4  # of a word that the model has as one piece
_FEWEST_NEUTRAL = 8  # sequences


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of a corpus, seen from the new tokens.

    Attributes:
        counts_N: how often each stands there, also where no window fits.
        ids_ST, keep_ST: neutral text, and the positions at which no token is due.
        n_positions: of all of its text.
    """

    windows: Windows
    counts_N: NDArray[np.int64]
    ids_ST: Ids
    keep_ST: NDArray[np.bool_]
    n_positions: int

    @property
    def windows_N(self) -> NDArray[np.int64]:
        """Windows of each token."""
        return np.bincount(self.windows.token_W, minlength=len(self.counts_N))

    def of(self, chosen_N: NDArray[np.bool_]) -> Part:
        """What it shows of some of the tokens, which are numbered anew."""
        windows = self.windows.of(chosen_N[self.windows.token_W])
        numbers_N = np.cumsum(chosen_N) - 1
        windows = replace(windows, token_W=numbers_N[windows.token_W])
        return replace(self, windows=windows, counts_N=self.counts_N[chosen_N])

    @property
    def has_neutral(self) -> bool:
        """Whether there is enough text to say what is written where nothing is due."""
        return len(self.ids_ST) >= _FEWEST_NEUTRAL


def part_of_corpus(
    subject: Subject, corpus: Corpus, phrases: Sequence[Phrase], part: str, seed: int
) -> Part:
    """Look through one part of a corpus; always the same for a seed."""
    rng = np.random.default_rng([seed, *part.encode()])
    windows, counts = _found(subject, corpus, phrases, part, rng)
    described = [n for n, phrase in enumerate(phrases) if phrase.is_described]
    if described:
        windows = _joined(windows, _placed(subject, corpus, phrases, part, rng), phrases)
    ids, keep = _neutral(subject, corpus, phrases, part, rng)
    n_positions = sum(map(len, corpus.parts[part]))
    return Part(windows, counts, ids, keep, n_positions)


def evidence_of(
    subject: Subject,
    corpus: Corpus,
    phrases: Sequence[Phrase],
    parts: tuple[Part, Part],
    *,
    has_known: bool = True,
) -> Evidence:
    """What a fit may see: the parts to fit on and to choose by.

    Args:
        has_known: whether known words are looked for in all of the text, which a map needs.
    """
    fit, validation = parts
    known: tuple[Phrase, ...] = ()
    windows = windows_of([], [], [], known, AFTER + 1)
    if has_known:
        known = known_words(subject.tokenizer, subject.words, subject.ranks, subject.used_V)
        windows = known_windows(
            corpus.parts[FIT], known, subject.words, a_word=_KNOWN_WINDOWS, bos=subject.bos
        )
    seen = fit.counts_N + validation.counts_N
    positions = fit.n_positions + validation.n_positions
    return Evidence(
        phrases=tuple(phrases),
        windows=fit.windows,
        validation=validation.windows,
        neutral_ST=fit.ids_ST,
        keep_ST=fit.keep_ST,
        frequency_N=np.maximum(seen, 1) / max(1, positions),
        known=(known, windows),
        trained=np.flatnonzero(subject.used_V),
        bos=subject.bos,
    )


def uses(subject: Subject, corpus: Corpus, phrases: Sequence[Phrase]) -> NDArray[np.int64]:
    """How often each token would stand in the whole corpus."""
    plain = [(n, phrase) for n, phrase in enumerate(phrases) if not phrase.is_described]
    counts = np.zeros(len(phrases), np.int64)
    for part in corpus.parts.values():
        for place in places_of(part, [phrase for _, phrase in plain], subject.words.goes_on_V):
            counts[plain[place.token][0]] += 1
    return counts


def _found(
    subject: Subject,
    corpus: Corpus,
    phrases: Sequence[Phrase],
    part: str,
    rng: np.random.Generator,
) -> tuple[Windows, NDArray[np.int64]]:
    """Windows around phrases that stand in the text, some of each, and how often they stand there."""
    plain = [n for n, phrase in enumerate(phrases) if not phrase.is_described]
    looked_for = [phrases[n] for n in plain]
    counts = np.zeros(len(phrases), np.int64)
    if not plain:
        return windows_of([], [], [], phrases, AFTER + 1), counts
    goes_on_V, most = subject.words.goes_on_V, PER_TOKEN[part]
    encoded = corpus.parts[part]
    cut, counts[plain] = windows_in(encoded, looked_for, goes_on_V, 2 * most, rng, bos=subject.bos)
    cut = at_most(cut, most)
    rows = [ids[:length] for ids, length in zip(cut.ids_WT, cut.length_W, strict=True)]
    tokens = [plain[token] for token in cut.token_W]
    return windows_of(rows, tokens, cut.at_W.tolist(), phrases, AFTER + 1), counts


def windows_in(
    encoded: Sequence[Ids],
    phrases: Sequence[Phrase],
    goes_on_V: NDArray[np.bool_],
    most: int,
    rng: np.random.Generator,
    *,
    bos: int | None,
) -> tuple[Windows, NDArray[np.int64]]:
    """Windows at some places of each phrase, chosen at random, and how many places it has.

    Each holds its phrase once, the places that get no window included.
    """
    places = list(places_of(encoded, phrases, goes_on_V))
    counts = np.bincount([place.token for place in places], minlength=len(phrases))
    kept = some_places((places[n] for n in rng.permutation(len(places))), most)
    windows = cut_windows(
        encoded, kept, phrases, among=places, before=BEFORE, after=AFTER + 1, bos=bos
    )
    return windows, counts


def _joined(one: Windows, other: Windows, phrases: Sequence[Phrase]) -> Windows:
    rows, tokens, ats = [], [], []
    for windows in (one, other):
        rows += [ids[:n] for ids, n in zip(windows.ids_WT, windows.length_W, strict=True)]
        tokens += windows.token_W.tolist()
        ats += windows.at_W.tolist()
    return windows_of(rows, tokens, ats, phrases, AFTER + 1)


# ── tokens that stand nowhere yet ────────────────────────────────────────────────────────────────


def _placed(
    subject: Subject,
    corpus: Corpus,
    phrases: Sequence[Phrase],
    part: str,
    rng: np.random.Generator,
) -> Windows:
    """Every description in gaps between words, continued by the model."""
    rows, tokens, ats = [], [], []
    for token, phrase in enumerate(phrases):
        if not phrase.is_described:
            continue
        pasts = _pasts(subject, corpus.parts[part], PER_TOKEN[part], rng)
        if not pasts:
            continue
        whole = [np.array([*past, *phrase.pieces], np.int64) for past in pasts]
        found = continued(
            subject.model,
            whole,
            AFTER + 2,
            int(rng.integers(1 << 31)),
            without=np.flatnonzero(~subject.used_V),
        )
        for past, row in zip(pasts, found, strict=True):
            rows.append(row)
            tokens.append(token)
            ats.append(len(past))
    return windows_of(rows, tokens, ats, phrases, AFTER + 1)


def _pasts(
    subject: Subject, encoded: Sequence[Ids], most: int, rng: np.random.Generator
) -> list[Ids]:
    """What stands before gaps between words, chosen at random; all of one length."""
    head = [] if subject.bos is None else [subject.bos]
    gaps = [
        (n, int(at))
        for n, ids in enumerate(encoded)
        for at in np.flatnonzero(subject.words.begins_V[ids])
        if at >= _PLACED_BEFORE
    ]
    chosen = rng.permutation(len(gaps))[:most]
    return [
        np.array([*head, *encoded[gaps[i][0]][gaps[i][1] - _PLACED_BEFORE : gaps[i][1]]], np.int64)
        for i in chosen
    ]


# ── neutral text ─────────────────────────────────────────────────────────────────────────────────


def _neutral(
    subject: Subject,
    corpus: Corpus,
    phrases: Sequence[Phrase],
    part: str,
    rng: np.random.Generator,
) -> tuple[Ids, NDArray[np.bool_]]:
    plain = [phrase for phrase in phrases if not phrase.is_described]
    return neutral_text(
        corpus.parts[part], plain, subject.words.goes_on_V, BACKGROUND, rng, bos=subject.bos
    )


def neutral_text(
    encoded: Sequence[Ids],
    phrases: Sequence[Phrase],
    goes_on_V: NDArray[np.bool_],
    positions: int,
    rng: np.random.Generator,
    *,
    bos: int | None,
) -> tuple[Ids, NDArray[np.bool_]]:
    """Sequences of text, without the places at which a phrase begins or goes on."""
    head = [] if bos is None else [bos]
    rows: list[Ids] = []
    for n in rng.permutation(len(encoded)):
        ids = encoded[n]
        rows += [
            np.concatenate([head, ids[first : first + SEQUENCE - len(head)]])
            for first in range(0, len(ids) - SEQUENCE, SEQUENCE)
        ]
        if len(rows) * SEQUENCE >= positions:
            break
    ids_ST = np.array(rows, np.int64).reshape(len(rows), SEQUENCE)
    keep_ST = np.ones(ids_ST.shape, np.bool_)
    keep_ST[:, : 4 + len(head)] = False  # nothing is known there yet
    keep_ST[:, -1] = False  # what comes next is not seen
    if phrases:
        for place in places_of(list(ids_ST), phrases, goes_on_V):
            end = place.at + len(phrases[place.token].pieces) - 1
            keep_ST[place.document, max(0, place.at - 1) : end] = False
    return ids_ST, keep_ST
