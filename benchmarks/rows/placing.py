"""Windows for tokens that stand nowhere yet: placed between words, continued by text or by the model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from benchmarks.rows.subject import Subject

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
            whole = np.array([[*past, *phrase.pieces] for past in pasts], np.int64)
            futures = _continued(subject, whole, seed=int(rng.integers(1 << 31)))
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


def _continued(subject: Subject, ids_BT: Ids, seed: int) -> list[Ids]:
    """Sampled at temperature 1, all of the vocabulary, `AFTER` + 1 pieces."""
    import torch

    torch.manual_seed(seed)
    given = torch.from_numpy(ids_BT)
    answer = subject.model.network.generate(
        given,
        attention_mask=torch.ones_like(given),
        do_sample=True,
        top_k=0,
        top_p=1.0,
        temperature=1.0,
        max_new_tokens=AFTER + 1,
        min_new_tokens=AFTER + 1,
        pad_token_id=0,
    )
    return list(answer[:, ids_BT.shape[1] :].numpy())
