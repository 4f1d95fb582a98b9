"""How a new token is written: with which probability, where it is due and where it is not.

With frozen old rows, everything follows from the states of the old model: p* = Z*/(Z + Z*). What is
due is q, the probability that the model gives to the pieces, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.rows.strata import Background
from numpy.typing import NDArray

from tokengraft.training.continuations import log_rest
from tokengraft.training.language_model import LanguageModel
from tokengraft.training.states import (
    Due,
    Neutral,
    due_states,
    left_out,
    log_scores,
    neutral_states,
    states_at,
)
from tokengraft.training.windows import Phrase, Windows

Values = NDArray[np.float64]
Singles = NDArray[np.float32]

# Places a token at which q is computed piece by piece: where its first piece has at least this
# probability, the likeliest of them and no more than so many; and some of the others.
EXACT_LEAST, EXACT_MOST, EXACT_RANDOM = 1e-4, 4096, 16
_LEAST = 1e-30


@dataclass(frozen=True, slots=True, eq=False)
class Duties:
    """What is due where.

    Attributes:
        due: the states before the phrases of the test windows.
        inner_WID, inner_log_norm_WI, inner_log_p_WI: states at the pieces but the last, where the
            token must not come either, with the log-probability of the piece that does.
        neutral: states of neutral text; `q_NP` what is due of each token there.
    """

    due: Due
    inner_WID: Singles
    inner_log_norm_WI: Values
    inner_log_p_WI: Values
    neutral: Neutral
    log_norm_NP: Values | None
    q_NP: Singles


@dataclass(frozen=True, slots=True, eq=False)
class Wrote:
    """Of each token.

    Attributes:
        gap, gap_abs: mean of log p* - log q, and of its size, where the phrase stands, in nats.
        kl: binary KL(q || p*) in nats, where it stands and where not by their frequency.
        taken, due: mean of p* and of q on neutral text; leak is one sum by the other.
        canonical: p* by the probability of the text in either form.
        mass: probability of the text in either form by q.
        harm: KL from the old model to the one with all tokens, on neutral text, in nats;
            `harm_due`: what tokens that are written exactly as often as their pieces would do.
        lift: mean log p* where the phrase stands minus log of its mean on neutral text.
    """

    gap_N: Values
    gap_abs_N: Values
    kl_N: Values
    taken_N: Values
    due_N: Values
    canonical_N: Values
    mass_N: Values
    lift_N: Values
    harm: float
    harm_due: float


def duties(
    model: LanguageModel,
    windows: Windows,
    background: Background,
    phrases: Sequence[Phrase],
    rng: np.random.Generator,
) -> Duties:
    """Passes over test windows and neutral text; short passes for q."""
    due = due_states(model, windows, phrases)
    most = max(1, int(windows.n_pieces_W.max()) - 1)
    steps = np.minimum(np.arange(most)[None], np.maximum(0, windows.n_pieces_W - 2)[:, None])
    places = windows.at_W[:, None] + steps
    (inner,) = states_at(model, windows.ids_WT, places)
    targets = np.take_along_axis(windows.ids_WT, places + 1, axis=1)
    without = np.repeat(left_out(phrases, windows.token_W), most)
    norms, logs = log_scores(model, inner.reshape(-1, model.width), targets.ravel(), without)
    is_inner = np.arange(most)[None] < windows.n_pieces_W[:, None] - 1
    neutral = neutral_states(model, background.ids_ST, background.keep_ST, phrases)
    has_hidden = any(p.without is not None for p in phrases)
    return Duties(
        due,
        inner,
        norms.reshape(places.shape),
        np.where(is_inner, logs.reshape(places.shape), 0.0),
        neutral,
        np.array([neutral.log_norms(model, p) for p in phrases]) if has_hidden else None,
        due_on_neutral(model, neutral, phrases, rng),
    )


def due_on_neutral(
    model: LanguageModel, neutral: Neutral, phrases: Sequence[Phrase], rng: np.random.Generator
) -> Singles:
    """Q at every neutral place: exact where the first piece is likely and on a sample of the others.

    Elsewhere it is the first piece's probability times what the sample shows of the rest.
    """
    q_NP = np.zeros((len(phrases), len(neutral.at_P)), np.float32)
    for token, phrase in enumerate(phrases):
        if phrase.is_described:
            continue
        first_P = np.exp(neutral.log_first(model, phrase, token))
        order = np.argsort(-first_P, kind="stable")
        n_likely = min(int((first_P >= EXACT_LEAST).sum()), EXACT_MOST)
        others = order[n_likely:]
        sample = rng.choice(others, min(EXACT_RANDOM, len(others)), replace=False)
        here = np.concatenate([order[:n_likely], sample])
        rest = log_rest(model, neutral, phrases, np.full(len(here), token), here)
        exact = first_P[here] * np.exp(rest)
        ratio = exact[n_likely:].sum() / max(first_P[sample].sum(), _LEAST)
        q_NP[token] = first_P * ratio
        q_NP[token, here] = exact
    return q_NP


def wrote(
    model: LanguageModel,
    told: Duties,
    rows_ND: Values,
    frequency_N: Values,
) -> Wrote:
    """Measure the writing of rows."""
    n = len(rows_ND)
    token_W = told.due.token_W
    rows_WD = rows_ND[token_W]
    logits_W = model.written.logits(np.einsum("wd,wd->w", told.due.hidden_WD, rows_WD))
    log_p = logits_W - np.logaddexp(told.due.log_norm_W, logits_W)
    inner = model.written.logits(np.einsum("wid,wd->wi", told.inner_WID, rows_WD))
    log_not = -np.logaddexp(0.0, inner - told.inner_log_norm_WI)
    is_inner = told.inner_log_p_WI != 0
    pieces = np.log1p(-np.minimum(np.exp(log_p), 1 - 1e-12)) + told.due.log_q_W
    pieces += np.where(is_inner, log_not, 0.0).sum(axis=1)
    either = np.logaddexp(log_p, pieces)
    log_q = told.due.log_q_W
    log_q_known = np.where(np.isfinite(log_q), log_q, np.nan)  # descriptions are never written
    gap = log_p - log_q_known

    def mean_of(values_W: Values) -> Values:
        return np.bincount(token_W, values_W, n) / np.maximum(1, np.bincount(token_W, minlength=n))

    logits_NP = model.written.logits(rows_ND @ told.neutral.hidden_PD.T.astype(np.float64))
    norms = told.neutral.log_norm_P[None] if told.log_norm_NP is None else told.log_norm_NP
    p_NP = np.exp(logits_NP - np.logaddexp(norms, logits_NP))
    kl_neutral = binary_kl(told.q_NP.astype(np.float64), p_NP).mean(axis=1)
    kl_due = mean_of(binary_kl(np.exp(log_q), np.exp(log_p)))
    with np.errstate(over="ignore"):
        harm = np.log1p(np.exp(logits_NP - told.neutral.log_norm_P).sum(axis=0)).mean()
    taken = p_NP.mean(axis=1)
    return Wrote(
        gap_N=mean_of(gap),
        gap_abs_N=mean_of(np.abs(gap)),
        kl_N=frequency_N * kl_due + (1 - frequency_N) * kl_neutral,
        taken_N=taken,
        due_N=told.q_NP.mean(axis=1, dtype=np.float64),
        canonical_N=mean_of(np.exp(log_p - either)),
        mass_N=mean_of(np.exp(np.minimum(either - log_q_known, 50.0))),
        lift_N=mean_of(log_p) - np.log(np.maximum(taken, _LEAST)),
        harm=float(harm),
        harm_due=float(-np.log1p(-np.minimum(told.q_NP.sum(axis=0), 0.999)).mean()),
    )


def binary_kl(q: Values, p: Values) -> Values:
    """KL of two coins, in nats; exact for small ones."""
    p = np.clip(p, _LEAST, 1 - 1e-12)
    q = np.clip(q, 0.0, 1 - 1e-12)
    one = np.where(q > 0, q * (np.log(np.maximum(q, _LEAST)) - np.log(p)), 0.0)
    return np.asarray(one + (1 - q) * (np.log1p(-q) - np.log1p(-p)))
