"""What the text behind a phrase is worth to the model when the phrase is not there at all."""

from __future__ import annotations

import numpy as np
from benchmarks.rows.reading import compared, expected
from benchmarks.rows.strata import Stratum
from benchmarks.rows.subject import TEST, Subject
from numpy.typing import NDArray

from tokengraft.training.states import states_at

Values = NDArray[np.float64]


def without_phrases(subject: Subject, stratum: Stratum) -> tuple[Values, Values]:
    """Of each token, over its test windows with the phrase taken out.

    Returns:
        KL from the model with the phrase, in nats, mean over places, then over windows; NLL of what
        follows, in nats, summed.
    """
    model, windows = subject.model, stratum.windows[TEST]
    told = expected(model, windows)
    columns = np.arange(windows.ids_WT.shape[1])[None]
    source = columns + np.where(columns >= windows.at_W[:, None], windows.n_pieces_W[:, None], 0)
    ids = np.take_along_axis(windows.ids_WT, np.minimum(source, columns.max()), axis=1)
    places, exists = windows.following()
    before = np.where(exists, places - windows.n_pieces_W[:, None], 0)
    (states,) = states_at(model, ids, before)
    kl, _, nats = compared(model, told, stratum.phrases, states)
    n = len(stratum.phrases)
    a_window = kl.sum(axis=1) / np.maximum(1, exists.sum(axis=1))
    counts = np.maximum(1, np.bincount(windows.token_W, minlength=n))
    return (
        np.bincount(windows.token_W, a_window, n) / counts,
        np.bincount(windows.token_W, nats.sum(axis=1), n),
    )
