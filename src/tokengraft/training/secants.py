"""How states answer to a row: one map for all tokens, corrected for each by the steps it took.

The map that random changes show is that of all tokens together. Every step that is tried says how one
token's states really answered in one direction, at no cost beyond the pass that judged the step. The
correction is the least one that agrees with the last steps (Broyden's, for several steps at once),
least in the metric in which rows spread.

Shapes: N tokens, A places, D width, K steps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

STEPS = 12  # that are remembered
_RIDGE = 0.05  # of the mean square length of the steps: they are long, and answers bend


@dataclass(eq=False)
class Answers:
    """The answer of each token's states to its row.

    Attributes:
        shared_ADD: the map of all tokens, out x in.
        held_DD: inverse covariance of rows.
    """

    shared_ADD: Values
    held_DD: Values
    changes: list[Values] = field(default_factory=list)
    moved: list[Values] = field(default_factory=list)

    def learn(self, change_ND: Values, moved_NAD: Values) -> None:
        """Remember a step: the change of each row, and by how much its states moved on average."""
        self.changes = [*self.changes[1 - STEPS :], change_ND]
        self.moved = [*self.moved[1 - STEPS :], moved_NAD]

    def corrections(self, token: int) -> tuple[Values, Values]:
        """U [K, A, D] and V [K, D] with J x = shared x + sum_k U_k (V_k . x); K may be 0."""
        places, width = self.shared_ADD.shape[:2]
        x_KD = np.array([c[token] for c in self.changes]).reshape(-1, width)
        y_KAD = np.array([m[token] for m in self.moved]).reshape(-1, places, width)
        took = np.einsum("kd,kd->k", x_KD, x_KD) > 0
        x_KD, y_KAD = x_KD[took], y_KAD[took]
        if not len(x_KD):
            return y_KAD, x_KD
        unexplained = y_KAD - np.moveaxis(self.shared_ADD @ x_KD.T, 2, 0)
        held_KD = x_KD @ self.held_DD
        gram = held_KD @ x_KD.T
        # Steps are brought to one length, so that short ones near the end count as much.
        lengths = np.sqrt(np.maximum(np.diag(gram), 1e-300))
        unit = gram / np.outer(lengths, lengths)
        inner = np.linalg.inv(unit + _RIDGE * np.eye(len(unit)))
        v_KD = inner @ (held_KD / lengths[:, None])
        return unexplained / lengths[:, None, None], v_KD


def towards_and_curvature(
    answers: Answers, token: int, residual_AD: Values, fisher_DD: Values, shared: Values
) -> tuple[Values, Values]:
    """Gradient of the fall in second-order KL, and its curvature, for one token's row.

    Args:
        shared: `curvature_of_all` of the same answers, computed once for all tokens.
    """
    jac_ADD = answers.shared_ADD
    places = len(jac_ADD)
    u_KAD, v_KD = answers.corrections(token)
    weighted_AD = residual_AD @ fisher_DD
    # Places and outputs side by side, so that each of these is one product of matrices.
    flat_PD = jac_ADD.reshape(-1, jac_ADD.shape[2])
    towards = weighted_AD.ravel() @ flat_PD
    if not len(v_KD):
        return towards / places, shared
    u_KP = u_KAD.reshape(len(u_KAD), -1)
    towards += (u_KP @ weighted_AD.ravel()) @ v_KD
    f_KP = (u_KAD @ fisher_DD).reshape(u_KP.shape)
    mixed = (f_KP @ flat_PD).T @ v_KD
    inner = f_KP @ u_KP.T
    curvature = shared + (mixed + mixed.T + v_KD.T @ inner @ v_KD) / places
    return towards / places, curvature


def curvature_of_all(answers: Answers, fisher_DD: Values) -> Values:
    """Second-order KL of a change of a row by the shared map: the mean over places of J'FJ."""
    jac_ADD = answers.shared_ADD
    return np.asarray(sum(a.T @ fisher_DD @ a for a in jac_ADD) / len(jac_ADD))
