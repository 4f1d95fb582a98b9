"""Text for training where there is none: what the model itself writes around each phrase.

A document is sampled up to the phrase, the phrase is put there, and the model goes on. What is wanted
of a row is that the model does behind it what it does behind the pieces, so its own text asks the
right question, though not with the frequencies of anybody's text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tokengraft.training.corpus import FIT, TEST, VALIDATION, Corpus
from tokengraft.training.evidence import AFTER, PER_TOKEN, SEQUENCE
from tokengraft.training.subject import Subject
from tokengraft.training.windows import Ids, Phrase

BEFORE = 24  # sampled positions before a phrase
NEUTRAL = {FIT: 64, VALIDATION: 24}  # documents without any phrase
_NEUTRAL_LENGTH = 3 * SEQUENCE
_MORE = 1.6  # documents for each window that is wanted: some go on inside the phrase's word
_AT_ONCE = 256


def sampled_corpus(subject: Subject, phrases: Sequence[Phrase], seed: int) -> Corpus:
    """Documents around every phrase that has pieces, and neutral ones; the same for a seed.

    Raises:
        ValueError, RuntimeError: of the model's library, where the model cannot generate.
    """
    import torch

    rng = np.random.default_rng([seed, 7])
    parts: dict[str, list[Ids]] = {FIT: [], VALIDATION: [], TEST: []}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(1 << 31)))
        for part, n_neutral in NEUTRAL.items():
            n = int(np.ceil(PER_TOKEN[part] * _MORE))
            texts = _begun(subject, n_neutral, rng)
            parts[part] += _continued(subject, texts, _NEUTRAL_LENGTH)
            for phrase in phrases:
                if phrase.is_described:
                    continue
                past = _continued(subject, _begun(subject, n, rng), BEFORE)
                stands = [np.concatenate([ids, phrase.pieces]).astype(np.int64) for ids in past]
                parts[part] += _continued(subject, stands, AFTER + 2)
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


def _continued(subject: Subject, texts: Sequence[Ids], n_more: int) -> list[Ids]:
    """Texts of one length with `n_more` sampled ids behind them, at temperature 1."""
    import torch

    network = subject.model.network
    device = subject.model.embedding.weight.device
    # What the model must not write: ids that are no pieces, its end among them.
    unused = np.flatnonzero(~subject.used_V).tolist()
    found: list[Ids] = []
    for first in range(0, len(texts), _AT_ONCE):
        ids = torch.from_numpy(np.stack(texts[first : first + _AT_ONCE])).to(device)
        with torch.inference_mode():
            past = None
            given = ids
            for _ in range(n_more):
                answer = network(input_ids=given, past_key_values=past, use_cache=True)
                past = answer.past_key_values
                logits = answer.logits[:, -1].float()
                logits[:, unused] = -torch.inf
                given = torch.multinomial(torch.softmax(logits, dim=-1), 1)
                ids = torch.cat([ids, given], dim=1)
        found += list(ids.cpu().numpy())
    return found
