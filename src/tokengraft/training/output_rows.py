"""Output rows in closed form: how often a token is written, solved for and not trained.

Old rows are frozen, so a new row u gives its token the odds exp(u . h) / Z in every state h, and takes
the same share from all old tokens. Its pieces have the probability q(h) there. The row that gives the
token what its pieces had solves

    minimise  sum_c w_c KL( q_c || p_c ) + penalty |u - u0|^2,   p_c = odds / (1 + odds),

which is convex, needs no backward pass and has one number a state: states h, log Z and q come from
passes of the old model. q is soft where training on text has one hard answer for each state, so that
a few dozen contexts say as much as thousands.

Shapes: C states, D width, N tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.language_model import Written

Values = NDArray[np.float64]

_STEPS = 30
_CONVERGED = 1e-9  # of the objective, relative
_HALVINGS = 12
_BISECTIONS = 60
_WIDEST = 40.0  # nats that a bias may be away from where it starts


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """States, and what is due in each.

    Attributes:
        hidden_CD: as the output matrix reads it.
        log_norm_C: log of the normaliser over old rows.
        q_C: the probability that the token shall have.
        weight_C: how often such a state comes; sums to 1 over all text.
    """

    hidden_CD: Values
    log_norm_C: Values
    q_C: Values
    weight_C: Values

    @property
    def entropy(self) -> float:
        """The weighted sum of -q log q - (1 - q) log(1 - q), in nats."""
        q = self.q_C
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.where(q > 0, q * np.log(q), 0.0) + np.where(q < 1, (1 - q) * np.log1p(-q), 0.0)
        return -float(self.weight_C @ own)

    def log_odds(self, written: Written, row_D: Values) -> Values:
        """Log of p / (1 - p) of a row."""
        return np.asarray(written.logits(self.hidden_CD @ row_D) - self.log_norm_C)


def both(one: Samples, other: Samples) -> Samples:
    """Two sets of samples of the same text, each of which speaks for all of it."""
    return Samples(
        hidden_CD=np.concatenate([one.hidden_CD, other.hidden_CD]),
        log_norm_C=np.concatenate([one.log_norm_C, other.log_norm_C]),
        q_C=np.concatenate([one.q_C, other.q_C]),
        weight_C=np.concatenate([one.weight_C, other.weight_C]) / 2,
    )


def divergence(written: Written, samples: Samples, row_D: Values) -> float:
    """The weighted binary KL of a row, in nats."""
    odds = samples.log_odds(written, row_D)
    q = samples.q_C
    # -q log p - (1 - q) log(1 - p), less the entropy of q
    cross = np.logaddexp(0.0, odds) - q * odds
    return float(samples.weight_C @ cross) - samples.entropy


def leak_and_harm(written: Written, samples: Samples, row_D: Values) -> tuple[float, float]:
    """What is written by what is due (NaN where nothing is), and the nats that it costs."""
    odds = samples.log_odds(written, row_D)
    taken = float(samples.weight_C @ np.exp(-np.logaddexp(0.0, -odds)))
    due = float(samples.weight_C @ samples.q_C)
    harm = float(samples.weight_C @ np.logaddexp(0.0, odds))
    return taken / due if due > 0 else float("nan"), harm


def solve(
    written: Written, samples: Samples, prior_D: Values, shape_DD: Values, strength: float
) -> Values:
    """The row that minimises the divergence, held to a prior.

    Newton's steps in the space in which the penalty is a plain square; with fewer states than
    dimensions, in the dual, so that a step costs C^2 D and not D^3.

    Args:
        shape_DD: T with penalty = |T^-1 (u - prior)|^2: where it is wide, the row may go far.
        strength: of the penalty, as a share of the mean curvature at q.
    """
    hidden_CD = samples.hidden_CD @ shape_DD
    curved = samples.weight_C * samples.q_C * (1 - samples.q_C)
    squares = np.einsum("cd,cd->c", hidden_CD, hidden_CD)
    penalty = strength * max(float(curved @ squares), 1e-300) / hidden_CD.shape[1]
    step_D = np.zeros(hidden_CD.shape[1])  # u = prior + T step

    def objective(candidate_D: Values) -> float:
        data: float = divergence(written, samples, prior_D + shape_DD @ candidate_D)
        return data + float(penalty / 2 * (candidate_D @ candidate_D))

    best = objective(step_D)
    for _ in range(_STEPS):
        products = samples.hidden_CD @ (prior_D + shape_DD @ step_D)
        logits = written.logits(products)
        slope = _slope(written, logits)
        p = _sigmoid(logits - samples.log_norm_C)
        gradient = hidden_CD.T @ (samples.weight_C * (p - samples.q_C) * slope) + penalty * step_D
        weights = samples.weight_C * p * (1 - p) * slope**2
        newton = -_inverse_times(hidden_CD, weights, penalty, gradient)
        length, found = _searched(objective, step_D, newton, best)
        if best - found <= _CONVERGED * max(abs(best), 1e-300):
            break
        step_D, best = step_D + length * newton, found
    return np.asarray(prior_D + shape_DD @ step_D)


def loss_and_gradient(written: Written, samples: Samples, row_D: Values) -> tuple[float, Values]:
    """The divergence of a row, in nats, and its gradient; no curvature."""
    logits = written.logits(samples.hidden_CD @ row_D)
    odds = logits - samples.log_norm_C
    cross = np.logaddexp(0.0, odds) - samples.q_C * odds
    weights = samples.weight_C * (_sigmoid(odds) - samples.q_C) * _slope(written, logits)
    loss = float(samples.weight_C @ cross) - samples.entropy
    return loss, weights @ samples.hidden_CD


def slopes(written: Written, samples: Samples, row_D: Values) -> tuple[Values, Values]:
    """Gradient and (Gauss-Newton) curvature of the divergence at a row."""
    logits = written.logits(samples.hidden_CD @ row_D)
    slope = _slope(written, logits)
    p = _sigmoid(logits - samples.log_norm_C)
    gradient = samples.hidden_CD.T @ (samples.weight_C * (p - samples.q_C) * slope)
    weights = samples.weight_C * p * (1 - p) * slope**2
    return gradient, samples.hidden_CD.T @ (weights[:, None] * samples.hidden_CD)


def calibrated(
    written: Written, samples: Samples, row_D: Values, bias_D: Values, total: float | None = None
) -> Values:
    """The row plus as much of the bias direction as gives the token its due in all, no more.

    Where the pieces' first row is written, the token comes wherever its first piece is due; this
    takes away what belongs to other words with the same beginning. Where no bias takes enough away, the
    row is the one that takes least.

    Args:
        bias_D: a direction whose product with every state is about 1.
        total: the weighted sum of p that is wanted; what q sums to if None.
    """
    wanted = float(samples.weight_C @ samples.q_C) if total is None else total

    # Both products once: a bisection asks for the same states seventy times.
    base_C, along_C = samples.hidden_CD @ row_D, samples.hidden_CD @ bias_D

    def reached(bias: float) -> float:
        return float(written.products(np.array([bias]))[0])

    def taken(bias: float) -> float:
        logits_C = written.logits(base_C + reached(bias) * along_C)
        return float(samples.weight_C @ _sigmoid(logits_C - samples.log_norm_C))

    low, high = _least(taken), _WIDEST
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if taken(middle) < wanted else (low, middle)
    return np.asarray(row_D + reached((low + high) / 2) * bias_D)


def _least(taken: Callable[[float], float]) -> float:
    """The bias with the least mass: below it, states whose product with it is negative take over."""
    grid = np.linspace(-_WIDEST, _WIDEST, 81)
    return float(grid[int(np.argmin([taken(bias) for bias in grid.tolist()]))])


def bias_direction(hidden_CD: Values) -> Values:
    """The direction whose product with every state is as near to 1 as can be.

    Least squares with a little of a ridge; the mean state divided by its square is the same where
    states differ in all directions alike.
    """
    second = hidden_CD.T @ hidden_CD / len(hidden_CD)
    ridge = 1e-3 * np.trace(second) / len(second)
    direction = np.linalg.solve(second + ridge * np.eye(len(second)), hidden_CD.mean(axis=0))
    return np.asarray(direction / float((hidden_CD @ direction).mean()))


def _searched(
    objective: Callable[[Values], float], start_D: Values, newton_D: Values, best: float
) -> tuple[float, float]:
    length = 1.0
    for _ in range(_HALVINGS):
        found = objective(start_D + length * newton_D)
        if found < best:
            return length, found
        length /= 2
    return 0.0, best


def _inverse_times(hidden_CD: Values, weight_C: Values, penalty: float, vector_D: Values) -> Values:
    """(H' W H + penalty)^-1 v, through the smaller of the two systems."""
    n, width = hidden_CD.shape
    if n >= width:
        curvature = hidden_CD.T @ (weight_C[:, None] * hidden_CD)
        curvature[np.diag_indices(width)] += penalty
        return np.asarray(np.linalg.solve(curvature, vector_D))
    rooted = np.sqrt(weight_C)[:, None] * hidden_CD
    inner = rooted @ rooted.T
    inner[np.diag_indices(n)] += penalty
    return np.asarray((vector_D - rooted.T @ np.linalg.solve(inner, rooted @ vector_D)) / penalty)


def _slope(written: Written, logits: Values) -> Values:
    if written.limit is None:
        return np.full(logits.shape, written.scale)
    return np.asarray(written.scale * (1 - (logits / written.limit) ** 2))


def _sigmoid(values: Values) -> Values:
    return np.asarray(0.5 * (1 + np.tanh(values / 2)))
