"""Input rows mapped from pieces: a ridge regression learned on known words.

For words that are one piece, the row is known; taken apart, they look like new words. The map goes
from what is known of a word in pieces (rows of its pieces; states of its last piece in context) to
what its row has beyond a composition of pieces. It is a correction that leave-one-out error may shrink
to nothing, so that it is not worse than the composition by more than noise.

Shapes: K known words, N new tokens, D width, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.language_model import LanguageModel
from tokengraft.training.old_rows import Matrix, rows_at
from tokengraft.training.states import states_at
from tokengraft.training.windows import Phrase, Windows

Values = NDArray[np.float64]

MOST_PIECES = 1500  # that a map is learned from; more cost time and change little
_STRENGTHS = tuple(float(10.0**n) for n in range(-3, 5))


def _rising(n: int) -> Values:
    return np.asarray(np.exp(np.arange(n) - n + 1.0))


COMPOSITIONS: Mapping[str, Callable[[int], Values]] = MappingProxyType(
    {
        "mean": np.ones,
        "last-weighted": _rising,
        "last": lambda n: np.eye(n)[-1],
        "sum": lambda n: np.full(n, float(n)),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Mapped:
    """Rows of new tokens, and how well the map does on words that it was not fitted on.

    Attributes:
        composition: the composition that the map corrects.
        strength: of the ridge; infinite where the correction was left out.
        error, error_of_composition: mean squared distance to the true rows of known words, left out
            one by one; NaN where no word is known.
    """

    rows_ND: Values
    composed_ND: Values
    composition: str
    strength: float
    error: float
    error_of_composition: float


def layers_read(model: LanguageModel) -> tuple[int, ...]:
    """The layers whose states are features: after a sixth, a third and a half."""
    return tuple(sorted({max(1, round(model.n_layers / part)) for part in (6, 3, 2)}))


def map_rows(
    model: LanguageModel,
    rows_VD: Matrix,
    known: tuple[Sequence[Phrase], Windows],
    new: tuple[Sequence[Phrase], Windows],
) -> Mapped:
    """Fit on known words with their windows, apply to new ones with theirs.

    Words without a window are left out of the fit; new tokens without one get the composition.
    """
    known_phrases, known_windows = known
    phrases, windows = new
    has = np.flatnonzero(np.bincount(known_windows.token_W, minlength=len(known_phrases)))
    kept = [known_phrases[n] for n in has.tolist()]
    truth_KD = rows_at(rows_VD, [int(p.without or 0) for p in kept])
    errors = (
        {
            name: float(np.mean((composed(rows_VD, kept, name) - truth_KD) ** 2))
            for name in COMPOSITIONS
        }
        if kept
        else {"mean": np.nan}
    )
    best = min(errors, key=lambda name: errors[name])
    composed_ND = composed(rows_VD, phrases, best)
    if len(kept) < 16:  # noqa: PLR2004 - words; fewer are no regression
        return Mapped(composed_ND, composed_ND, best, np.inf, errors[best], errors[best])
    states_K = _mean_states(model, known_windows, len(known_phrases))[has]
    states_N = _mean_states(model, windows, len(phrases))
    from_KF = _features(rows_VD, kept, states_K)
    to_NF = _features(rows_VD, phrases, states_N)
    residual_KD = truth_KD - composed(rows_VD, kept, best)
    correction_ND, strength, error = _ridge(from_KF, residual_KD, to_NF)
    seen = np.bincount(windows.token_W, minlength=len(phrases)) > 0
    if error >= errors[best]:
        correction_ND, strength, error = np.zeros_like(composed_ND), np.inf, errors[best]
    rows_ND = composed_ND + np.where(seen[:, None], correction_ND, 0.0)
    return Mapped(rows_ND, composed_ND, best, strength, error, errors[best])


def map_alone(
    model: LanguageModel,
    rows_VD: Matrix,
    pieces_K: NDArray[np.int64],
    phrases: Sequence[Phrase],
    bos: int | None,
) -> Values:
    """Rows from what the model makes of each phrase on its own.

    Every piece is a pair here: its state on its own, at three layers, and its row. A ridge goes from
    one to the other; a phrase's last state is what its row would have led to.
    Source: Kaplan et al. 2025, "From Tokens to Words", with a rotation instead and one layer.
    """
    head = [] if bos is None else [bos]
    if len(pieces_K) > MOST_PIECES:
        pieces_K = pieces_K[np.linspace(0, len(pieces_K) - 1, MOST_PIECES).astype(int)]
    singles = np.array([[*head, i] for i in pieces_K], np.int64)
    longest = len(head) + max(len(p.pieces) for p in phrases)
    words = np.zeros((len(phrases), longest), np.int64)
    ends = np.zeros((len(phrases), 1), np.int64)
    for n, phrase in enumerate(phrases):
        words[n, : len(head) + len(phrase.pieces)] = [*head, *phrase.pieces]
        ends[n] = len(head) + len(phrase.pieces) - 1
    layers = layers_read(model)
    at = np.full((len(singles), 1), len(head), np.int64)
    of_pieces, of_words = (
        [states[:, 0].astype(np.float64) for states in states_at(model, ids, places, layers=layers)]
        for ids, places in ((singles, at), (words, ends))
    )
    predicted, _, _ = _ridge(of_pieces, rows_at(rows_VD, pieces_K), of_words)
    return predicted


def composed(rows_VD: Matrix, phrases: Sequence[Phrase], name: str) -> Values:
    """A weighted mean of each phrase's pieces (`sum`: their sum)."""
    found = []
    for phrase in phrases:
        weights = COMPOSITIONS[name](len(phrase.pieces))
        share = 1.0 if name == "sum" else weights.sum()
        scale = 1.0 / len(phrase.pieces) if name == "sum" else 1.0
        found.append(scale * (weights @ rows_at(rows_VD, phrase.pieces)) / share)
    return np.array(found)


def beyond_last(rows_VD: Matrix, phrases: Sequence[Phrase]) -> Values:
    """The last piece's row, moved on by half of what parts it from the mean of the pieces.

    A token stands where its last piece would, and says more than that piece alone. Rows that are
    trained end nearer to what the pieces do from here than from the row that reads best untrained.
    """
    last_ND, mean_ND = (composed(rows_VD, phrases, name) for name in ("last", "mean"))
    return np.asarray(last_ND + (last_ND - mean_ND) / 2)


def _mean_states(model: LanguageModel, windows: Windows, n: int) -> Values:
    """States of the last piece at `layers_read`, mean over windows; [n, layers * D]."""
    states = states_at(
        model, windows.ids_WT, windows.last_piece()[:, None], layers=layers_read(model)
    )
    counts = np.maximum(1, np.bincount(windows.token_W, minlength=n))[:, None]
    sums = np.zeros((n, len(states) * model.width))
    np.add.at(sums, windows.token_W, np.concatenate([s[:, 0] for s in states], axis=1))
    return np.asarray(sums / counts)


def _features(rows_VD: Matrix, phrases: Sequence[Phrase], states_NF: Values) -> list[Values]:
    """Blocks that are scaled alike: rows of pieces, states by layer, the number of pieces."""
    width = rows_VD.shape[1]
    mean = composed(rows_VD, phrases, "mean")
    first = rows_at(rows_VD, [p.pieces[0] for p in phrases])
    last = rows_at(rows_VD, [p.pieces[-1] for p in phrases])
    counts = np.array([[len(p.pieces) == n for n in (2, 3, 4)] for p in phrases], np.float64)
    layers = [states_NF[:, at : at + width] for at in range(0, states_NF.shape[1], width)]
    return [mean, first, last, *layers, counts]


def _ridge(
    from_K: Sequence[Values], target_KD: Values, to_N: Sequence[Values]
) -> tuple[Values, float, float]:
    """Predictions for the new, the strength, and the mean squared error left out one by one."""
    blocks_K, blocks_N = [], []
    for block_K, block_N in zip(from_K, to_N, strict=True):
        centre = block_K.mean(axis=0)
        size = np.sqrt(np.mean(np.sum((block_K - centre) ** 2, axis=1))) or 1.0
        blocks_K.append((block_K - centre) / size)
        blocks_N.append((block_N - centre) / size)
    features_KF = np.concatenate(blocks_K, axis=1)
    # What lies farther out than anything seen is taken back to where the map was learned.
    blocks_N = [_within(new, _length(old)) for old, new in zip(blocks_K, blocks_N, strict=True)]
    features_NF = np.concatenate(blocks_N, axis=1)
    centre_D = target_KD.mean(axis=0)
    values, vectors = np.linalg.eigh(features_KF @ features_KF.T)
    turned_KD = vectors.T @ (target_KD - centre_D)
    n = len(target_KD)
    best: tuple[float, float] = (np.inf, np.inf)
    for strength in _STRENGTHS:
        kept = values / (values + strength)
        fitted = vectors @ (kept[:, None] * turned_KD)
        leverage = (vectors**2) @ kept + 1 / n
        left_out = (target_KD - centre_D - fitted) / (1 - np.minimum(leverage, 0.999))[:, None]
        best = min(best, (float(np.mean(left_out**2)), strength))
    error, strength = best
    weights_KD = vectors @ (turned_KD / (values + strength)[:, None])
    predicted = features_NF @ features_KF.T @ weights_KD + centre_D
    return np.asarray(predicted), strength, error


def _length(block_KF: Values) -> float:
    return float(np.linalg.norm(block_KF, axis=1).max())


def _within(block_NF: Values, length: float) -> Values:
    lengths = np.maximum(np.linalg.norm(block_NF, axis=1), 1e-12)
    return np.asarray(block_NF * np.minimum(1.0, length / lengths)[:, None])
