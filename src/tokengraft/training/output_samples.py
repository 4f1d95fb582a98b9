"""Which states an output row is fitted on: where its phrase stands, where it might, and where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.continuations import Rests
from tokengraft.training.language_model import LanguageModel
from tokengraft.training.output_rows import Samples
from tokengraft.training.states import Due, Neutral
from tokengraft.training.windows import Phrase

Values = NDArray[np.float64]
Singles = NDArray[np.float32]
Ids = NDArray[np.int64]

FIRST = 60  # neutral states a token where nothing is known of its row
SAMPLED = 160  # where a row is known; half as many for each further one
LEAK = 1e-6  # the probability that a token has anywhere, where nobody says when it is due
_LEAST = 1e-30
_EVEN = 0.3  # share of the draws that goes by nothing, so that no weight is large


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
    *rows: Values,
    rests: Rests | None = None,
) -> list[Chosen]:
    """Draw states for every token; q is exact in all of them, by one pass over the text.

    A phrase is due in few states, and a row is written in others where it should not be. So states are
    drawn by the probability of the phrase's first piece and by what rows write, and each counts for as
    many as it stands for: sums are those over all usable states but for chance. Weights sum to 1.

    Args:
        rows: rows [N, D] of the tokens, as many as are known; each of them draws alike.
        rests: what is known of the same text from earlier draws.
    """
    n_drawn = SAMPLED * (1 + len(rows)) // 2 if rows else FIRST
    usable = np.flatnonzero(usable_P)
    hidden_PD = neutral.hidden_PD[usable] if rows else None
    picked, weights, firsts = [], [], []
    for token, phrase in enumerate(phrases):
        first = np.exp(neutral.log_first(model, phrase, token))[usable]
        chances = [_EVEN / len(usable) + (1 - _EVEN) * _shares(first)]
        if hidden_PD is not None:
            norms = neutral.log_norms(model, phrase)[usable]
            written = (_written(model, hidden_PD, norms, rows_ND[token]) for rows_ND in rows)
            chances += map(_shares, written)
        included = inclusion(np.mean(chances, axis=0), n_drawn)
        drawn = _drawn(included, rng)
        picked.append(usable[drawn])
        weights.append(1 / included[drawn])
        firsts.append(first[drawn])
    plain = {n: picked[n] for n, phrase in enumerate(phrases) if not phrase.is_described}
    logs = (rests or Rests(model, neutral, phrases))(plain)
    return [
        Chosen(
            places,
            weight / weight.sum(),
            first * np.exp(logs[n]) if n in logs else np.full(len(places), LEAK),
        )
        for n, (places, weight, first) in enumerate(zip(picked, weights, firsts, strict=True))
    ]


def _written(model: LanguageModel, hidden_PD: Singles, norms: Values, row_D: Values) -> Values:
    """The probability of a row in states with these normalisers."""
    products = (hidden_PD @ row_D.astype(np.float32)).astype(np.float64)
    odds = model.written.logits(products) - norms
    return np.asarray(np.exp(-np.logaddexp(0.0, -odds)))


def _shares(values_P: Values) -> Values:
    return values_P / max(float(values_P.sum()), _LEAST)


def inclusion(chance_P: Values, n: int) -> Values:
    """How likely each state is among n that are drawn without repetition, by their chances.

    What would be above 1 is 1, and the others share what is left.
    """
    n = min(n, len(chance_P))
    is_sure = np.zeros(len(chance_P), np.bool_)
    while True:
        left = max(float(chance_P[~is_sure].sum()), _LEAST)
        found = np.where(is_sure, 1.0, (n - is_sure.sum()) * chance_P / left)
        if not (found > 1).any():
            return np.asarray(found)
        is_sure |= found >= 1


def _drawn(included_P: Values, rng: np.random.Generator) -> Ids:
    """Numbers of states, each with its own likelihood: points at even distances, states in any order."""
    order = rng.permutation(len(included_P))
    ends = np.cumsum(included_P[order])
    points = np.arange(rng.random(), ends[-1], 1.0)
    at = np.minimum(np.searchsorted(ends, points, side="right"), len(order) - 1)
    return np.sort(order[np.unique(at)])


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
