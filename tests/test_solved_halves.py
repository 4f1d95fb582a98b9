"""Output rows as the mean of two that saw different text: what one alone would write is halved."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from tokengraft.training.language_model import Written
from tokengraft.training.output_fits import Writing, fit_output
from tokengraft.training.output_rows import Samples, bias_direction, calibrated, divergence, solve

PLAIN = Written()
WIDTH, TOKENS, STATES = 16, 12, 60
NOT_DRAWN: Any = None  # nothing is drawn anew here


def told(rng: np.random.Generator, row_D: np.ndarray, n: int) -> Samples:
    """States in which a row gives nearly what is due: no row gives all of it."""
    hidden = rng.standard_normal((n, WIDTH)) + 0.5
    norms = 5 + rng.standard_normal(n)
    odds = hidden @ row_D - norms + rng.standard_normal(n)
    return Samples(hidden, norms, 1 / (1 + np.exp(-odds)), np.full(n, 1 / n))


def test_a_row_of_both_halves_is_nearer_to_what_is_due_in_other_text() -> None:
    rng = np.random.default_rng(4)
    rows_ND = rng.standard_normal((TOKENS, WIDTH)) / 2
    fit, held_out, other = (
        tuple(told(rng, row, n) for row in rows_ND) for n in (STATES, STATES, 4000)
    )
    start_ND = rows_ND + rng.standard_normal(rows_ND.shape) / 4
    hidden = np.concatenate([s.hidden_CD for s in (*fit, *held_out)])
    bias = bias_direction(hidden)
    second = hidden.T @ hidden / len(hidden)
    model: Any = SimpleNamespace(written=PLAIN)
    found_ND = fit_output(model, Writing(fit, held_out, start_ND, second, bias, NOT_DRAWN))

    def lost(found: np.ndarray) -> float:
        return sum(divergence(PLAIN, s, row) for s, row in zip(other, found, strict=True))

    assert lost(found_ND) < 0.9 * lost(start_ND)
    # Whatever the strength, a row of one half is further off, though it is calibrated like those.
    for strength in (0.01, 0.1, 1.0, 10.0):
        half = [
            calibrated(PLAIN, s, solve(PLAIN, s, row, np.eye(WIDTH), strength), bias)
            for s, row in zip(fit, start_ND, strict=True)
        ]
        assert lost(found_ND) < lost(np.array(half))
    for row, one, two in zip(found_ND, fit, held_out, strict=True):
        taken = sum((1 / (1 + np.exp(-s.log_odds(PLAIN, row)))).mean() for s in (one, two))
        assert abs(taken / (one.q_C.mean() + two.q_C.mean()) - 1) < 1e-6
