"""Our own trained methods, as the benchmark calls them, within the budget that peers have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from benchmarks.rows import trained_peers
from benchmarks.rows.cases import Context, Method, Rows, Values
from benchmarks.rows.ours import evidence, fit
from benchmarks.rows.reading import divergences
from benchmarks.rows.trained_peers import BATCH, Swept, Train

from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training.distilling import distil_rows
from tokengraft.training.fitting import Writing, fit_output, prepare_writing
from tokengraft.training.input_rows import beyond_last
from tokengraft.training.training_settings import Settings

Start = Callable[[Context], Rows]


def passes(context: Context) -> int:
    """Passes over the windows that cost the positions that a peer's epochs cost.

    A peer computes whole windows; a pass of ours begins at the token. The teacher's one pass is left
    out on both sides: peers repeat it with every epoch.
    """
    windows = context.fit
    whole = float((windows.length_W - windows.n_pieces_W + 1).mean())
    behind = float((windows.length_W - windows.last_piece()).mean())
    return max(1, int(trained_peers.EPOCHS * whole / behind))


def first(context: Context) -> Rows:
    """Where training starts: beyond the last piece, seen from the mean of the pieces."""
    start = beyond_last(context.input_VD, context.phrases)
    return Rows(start, start, both_ND=start)


def _trained(start: Start) -> Train:
    """Read rows trained by Adam, written as solved; where one row does both jobs, both at once."""

    def train(context: Context, rate: float) -> Rows:
        model, rows = context.subject.model, start(context)
        told, rng = evidence(context, has_known=False), np.random.default_rng(context.seed)
        read = _distilled(context, rows.input_ND, rate)
        writing = prepare_writing(model, told, context.output_VD, rng)
        both = None
        if model.tied:
            both = _distilled(context, rows.tied().input_ND, rate, writing)
        return Rows(read, fit_output(model, writing), both_ND=both)

    return train


def _tried(start: Start) -> Train:
    def train(context: Context, rate: float) -> Rows:
        read = _distilled(context, start(context).input_ND, rate)
        return Rows(read, read)

    return train


def _distilled(
    context: Context, start_ND: Values, rate: float, writing: Writing | None = None
) -> Values:
    model = context.subject.model
    names = tuple(p.text for p in context.phrases)
    rows = RowSet(
        names,
        start_ND,
        None if model.tied else start_ND,
        tuple(RowsMade("start", "start") for _ in names),
    )
    spread = float(np.nanstd(context.input_VD[context.known_V]))
    settings = Settings(
        optimizer="adam",
        group=BATCH,
        rate=rate / spread,
        passes=passes(context),
        validate_each=1,
        writing="keep" if writing is None else "solve",
    )
    told = evidence(context, has_known=False)
    return distil_rows(model, told, rows, settings, seed=context.seed, writing=writing).input_ND


def _reading(context: Context, rows: Rows) -> float:
    kl = divergences(context.subject.model, context.validation, context.phrases, rows.input_ND)
    return float(np.nan_to_num(kl, nan=np.inf).mean())


OURS_TRAINED: Mapping[str, Method] = MappingProxyType(
    {
        "distil": Swept(_trained(first), _reading, _tried(first)),
        "distil+fit": Swept(_trained(fit), _reading, _tried(fit)),
    }
)
