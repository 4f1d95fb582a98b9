"""Windows for tokens that stand nowhere yet: placed between words, continued by text or by the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from benchmarks.rows.subject import Subject

from tokengraft.training.continuing import continued
from tokengraft.training.windows import Ids, Phrase, Windows, windows_of

BEFORE, AFTER = 16, 16


def placed(
    subject: Subject, phrases: Sequence[Phrase], part: str, most: int, rng: np.random.Generator
) -> Windows:
    """Put each phrase behind the beginnings of `most` sentences or parts of them.

    What follows a description is sampled from the model, given the description; what follows a
    nonce word is the text that was there.
    """
    rows, tokens, ats = [], [], []
    for token, phrase in enumerate(phrases):
        pasts, futures = _gaps(subject, part, most, rng)
        if phrase.is_described:
            whole = [np.array([*past, *phrase.pieces], np.int64) for past in pasts]
            unused = np.flatnonzero(~subject.used_V)
            number = int(rng.integers(1 << 31))
            texts = continued(subject.model, whole, AFTER + 1, number, without=unused)
            futures = [text[-AFTER - 1 :] for text in texts]
        for past, future in zip(pasts, futures, strict=True):
            rows.append(np.array([*past, *phrase.pieces, *future], np.int64))
            tokens.append(token)
            ats.append(len(past))
    return windows_of(rows, tokens, ats, phrases, AFTER)


def _gaps(
    subject: Subject, part: str, most: int, rng: np.random.Generator
) -> tuple[list[Ids], list[Ids]]:
    """What stands before and behind gaps between two words, chosen at random."""
    head = [] if subject.bos is None else [subject.bos]
    pasts, futures = [], []
    encoded = subject.parts[part]
    while len(pasts) < most:
        ids = encoded[int(rng.integers(len(encoded)))]
        gaps = np.flatnonzero(subject.words.begins_V[ids])
        gaps = gaps[(gaps >= BEFORE) & (gaps < len(ids) - AFTER - 1)]
        if len(gaps):
            at = int(rng.choice(gaps))
            pasts.append(np.array([*head, *ids[at - BEFORE : at]], np.int64))
            futures.append(ids[at : at + AFTER + 1])
    return pasts, futures
