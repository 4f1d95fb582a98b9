"""Text for training where there is none: what the model itself writes around each phrase.

A document is sampled up to the phrase, the phrase is put there, and the model goes on. What is wanted
of a row is that the model does behind it what it does behind the pieces, so its own text asks the
right question, though not with the frequencies of anybody's text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tokengraft.training.continuing import continued
from tokengraft.training.corpus import FIT, TEST, VALIDATION, Corpus
from tokengraft.training.evidence import AFTER, PER_TOKEN, SEQUENCE
from tokengraft.training.subject import Subject
from tokengraft.training.windows import Ids, Phrase

BEFORE = 24  # sampled positions before a phrase
NEUTRAL = {FIT: 64, VALIDATION: 24}  # documents without any phrase
_NEUTRAL_LENGTH = 3 * SEQUENCE
_MORE = 1.6  # documents for each window that is wanted: some go on inside the phrase's word


def sampled_corpus(subject: Subject, phrases: Sequence[Phrase], seed: int) -> Corpus:
    """Documents around every phrase that has pieces, and neutral ones; the same for a seed.

    Raises:
        ValueError, RuntimeError: of the model's library, where the model cannot generate.
    """
    rng = np.random.default_rng([seed, 7])
    parts: dict[str, list[Ids]] = {FIT: [], VALIDATION: [], TEST: []}
    unused = np.flatnonzero(~subject.used_V)  # ids that are no pieces, the end of a text among them

    def more(texts: Sequence[Ids], n_more: int) -> list[Ids]:
        number = int(rng.integers(1 << 31))
        return continued(subject.model, texts, n_more, number, without=unused)

    for part, n_neutral in NEUTRAL.items():
        n = int(np.ceil(PER_TOKEN[part] * _MORE))
        parts[part] += more(_begun(subject, n_neutral, rng), _NEUTRAL_LENGTH)
        for phrase in phrases:
            if phrase.is_described:
                continue
            past = more(_begun(subject, n, rng), BEFORE)
            stands = [np.concatenate([ids, phrase.pieces]).astype(np.int64) for ids in past]
            parts[part] += more(stands, AFTER + 2)
    head = 0 if subject.bos is None else 1  # windows put it there themselves
    cut = {part: [ids[head:] for ids in texts] for part, texts in parts.items()}
    n_positions = sum(len(ids) for texts in cut.values() for ids in texts)
    n_bytes = sum(subject.words.size(ids) for texts in cut.values() for ids in texts)
    return Corpus(cut, n_bytes, n_positions, is_whole=True)


def _begun(subject: Subject, n: int, rng: np.random.Generator) -> list[Ids]:
    """First ids of documents: what stands before every text, or a piece that begins a word."""
    if subject.bos is not None:
        return [np.array([subject.bos], np.int64)] * n
    begins = subject.words.begins_V[: len(subject.used_V)] & subject.used_V
    return [np.array([i], np.int64) for i in rng.choice(np.flatnonzero(begins), n)]
