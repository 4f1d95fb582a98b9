"""Rows where there is no text to fit on: compositions, with a bias that the model itself suggests.

Each phrase is read once on its own. How sure the model is of the pieces after the first says how much
of the first piece's mass belongs to this word; a token that stands for no pieces gets a budget.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training.input_rows import MOST_PIECES, composed
from tokengraft.training.language_model import LanguageModel
from tokengraft.training.old_rows import Matrix, rows_at
from tokengraft.training.output_fits import quiet
from tokengraft.training.output_rows import Samples, bias_direction
from tokengraft.training.states import log_scores, states_at
from tokengraft.training.windows import Phrase, windows_of

Values = NDArray[np.float64]


def rows_without_corpus(
    model: LanguageModel,
    phrases: Sequence[Phrase],
    rows_VD: tuple[Matrix, Matrix],
    trained: NDArray[np.int64],
    bos: int | None,
) -> RowSet:
    """Read as the mean of the pieces, written as the first piece with a bias of log P(the others).

    Where one row does both jobs, it is the mean of the pieces: there is nothing to weigh them by.

    Args:
        rows_VD: input and output rows; the same array where tied.
        trained: ids that occur in text; their states on their own say what is constant in states.
    """
    read_ND = composed(rows_VD[0], phrases, "mean")
    note = "no corpus: nothing was measured"
    if model.tied:
        made = tuple(RowsMade("mean", "mean", notes=(note,)) for _ in phrases)
        return RowSet(tuple(p.text for p in phrases), read_ND, None, made)
    states = _alone(model, trained, bos)
    bias_D = bias_direction(states.hidden_CD)
    rng = np.random.default_rng(0)
    rest = _log_rest_alone(model, phrases, bos)
    written, made_of = [], []
    for phrase, log_rest in zip(phrases, rest, strict=True):
        if phrase.is_described:
            written.append(quiet(model.written, states, bias_D, rng))
            made_of.append(RowsMade("mean", "budget", notes=(note,)))
        else:
            (first_D,) = rows_at(rows_VD[1], phrase.pieces[:1])
            moved = float(model.written.products(np.array([log_rest]))[0])
            written.append(first_D + moved * bias_D)
            made_of.append(RowsMade("mean", "biased", notes=(note,)))
    texts = tuple(phrase.text for phrase in phrases)
    return RowSet(texts, read_ND, np.array(written), tuple(made_of))


def _alone(model: LanguageModel, trained: NDArray[np.int64], bos: int | None) -> Samples:
    """States after single pieces, each counted alike, in which nothing is due."""
    head = [] if bos is None else [bos]
    if len(trained) > MOST_PIECES:
        trained = trained[np.linspace(0, len(trained) - 1, MOST_PIECES).astype(int)]
    ids = np.array([[*head, i] for i in trained], np.int64)
    (hidden,) = states_at(model, ids, np.full((len(ids), 1), len(head), np.int64))
    norms, _ = log_scores(model, hidden[:, 0], trained)
    n = len(ids)
    return Samples(hidden[:, 0].astype(np.float64), norms, np.zeros(n), np.full(n, 1 / n))


def _log_rest_alone(
    model: LanguageModel, phrases: Sequence[Phrase], bos: int | None
) -> NDArray[np.float64]:
    """Log-probability of the pieces after the first, with nothing before them but the start."""
    head = [] if bos is None else [bos]
    rows = [np.array([*head, *p.pieces], np.int64) for p in phrases]
    windows = windows_of(rows, list(range(len(rows))), [len(head)] * len(rows), phrases, 1)
    most = max(1, int(windows.n_pieces_W.max()) - 1)
    steps = np.minimum(np.arange(most)[None], np.maximum(0, windows.n_pieces_W - 2)[:, None])
    places = len(head) + steps
    (hidden,) = states_at(model, windows.ids_WT, places)
    last = windows.ids_WT.shape[1] - 1
    targets = np.take_along_axis(windows.ids_WT, np.minimum(places + 1, last), axis=1)
    _, logs = log_scores(model, hidden.reshape(-1, model.width), targets.ravel())
    is_piece = np.arange(most)[None] < windows.n_pieces_W[:, None] - 1
    return np.asarray((logs.reshape(places.shape) * is_piece).sum(axis=1))
