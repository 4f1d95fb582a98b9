"""Which states an output row is fitted on: where its phrase stands, where it might, and where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.continuations import log_rest
from tokengraft.training.language_model import LanguageModel
from tokengraft.training.output_rows import Samples
from tokengraft.training.states import Due, Neutral
from tokengraft.training.windows import Phrase

Values = NDArray[np.float64]
Ids = NDArray[np.int64]

LIKELY = 24  # neutral states a token at which its first piece is likeliest; q is exact there
PROBED = 12  # drawn by the first piece's probability; q is exact there too
PLAIN = 400  # drawn evenly or by the first piece, q by what the probed ones show
LEAK = 1e-6  # the probability that a token has anywhere, where nobody says when it is due
_LEAST = 1e-30


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Neutral states chosen for one token: where, how much each counts for, and q."""

    place_C: Ids
    weight_C: Values
    q_C: Values


def choose_neutral(
    model: LanguageModel,
    neutral: Neutral,
    phrases: Sequence[Phrase],
    usable_P: NDArray[np.bool_],
    rng: np.random.Generator,
) -> list[Chosen]:
    """Choose states for every token; one pass for the short continuations of all of them.

    States at which the first piece is likely are all taken; of the others a sample, each weighted by
    how many it stands for, so that weights sum to 1.
    """
    usable = np.flatnonzero(usable_P)
    drafts = []
    for token, phrase in enumerate(phrases):
        first = np.exp(neutral.log_first(model, phrase, token))[usable]
        likely = np.argsort(-first)[:LIKELY]
        rest = np.setdiff1d(np.arange(len(usable)), likely)
        by_first = first[rest] / max(first[rest].sum(), _LEAST)
        chance = 0.5 / len(rest) + 0.5 * by_first
        drawn = rng.choice(len(rest), size=PLAIN, p=chance / chance.sum())
        probed = rng.choice(len(rest), size=PROBED, p=by_first / max(by_first.sum(), _LEAST))
        drafts.append((first, likely, rest, chance / chance.sum(), drawn, probed))
    exact = [np.concatenate([likely, rest[probed]]) for _, likely, rest, _, _, probed in drafts]
    token_P = np.repeat(np.arange(len(phrases)), [len(e) for e in exact])
    logs = np.exp(log_rest(model, neutral, phrases, token_P, usable[np.concatenate(exact)]))
    chosen = []
    for token, (first, likely, rest, chance, drawn, _) in enumerate(drafts):
        after = logs[token_P == token]
        ratio = float(after[len(likely) :].mean())
        q_likely = first[likely] * after[: len(likely)]
        q_drawn = first[rest[drawn]] * ratio
        share = len(rest) / len(usable)
        weights = np.concatenate(
            [
                np.full(len(likely), 1 / len(usable)),
                share / (len(rest) * chance[drawn] * len(drawn)),
            ]
        )
        q = np.concatenate([q_likely, q_drawn])
        places = usable[np.concatenate([likely, rest[drawn]])]
        due = np.full_like(q, LEAK) if phrases[token].is_described else q
        chosen.append(Chosen(places, weights / weights.sum(), due))
    return chosen


def samples_of(
    model: LanguageModel,
    phrases: Sequence[Phrase],
    states: tuple[Due, Neutral],
    chosen: Sequence[Chosen],
    frequency_N: Values,
) -> list[Samples]:
    """For each token: positives by the phrase's frequency, neutral states by the rest."""
    due, neutral = states
    found = []
    for token, phrase in enumerate(phrases):
        mine = np.flatnonzero(due.token_W == token)
        mine = mine[:0] if phrase.is_described else mine
        share = float(frequency_N[token]) if len(mine) else 0.0
        here = chosen[token]
        norms = neutral.log_norms(model, phrase)[here.place_C]
        hidden = (due.hidden_WD[mine], neutral.hidden_PD[here.place_C])
        weights = (np.full(len(mine), share / max(1, len(mine))), (1 - share) * here.weight_C)
        found.append(
            Samples(
                hidden_CD=np.concatenate(hidden).astype(np.float64),
                log_norm_C=np.concatenate([due.log_norm_W[mine], norms]),
                q_C=np.concatenate([np.exp(due.log_q_W[mine]), here.q_C]),
                weight_C=np.concatenate(weights),
            )
        )
    return found
