"""Our own trained methods, as the benchmark calls them, within the budget that peers have."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from benchmarks.rows import trained_peers
from benchmarks.rows.cases import Context, Method, Rows
from benchmarks.rows.ours import evidence, fit

from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training.distilling import Settings, distil_rows
from tokengraft.training.fitting import fit_input, fit_output, fit_tied, prepare_writing


def passes(context: Context) -> int:
    """Passes over the windows that cost the positions that a peer's epochs cost.

    A peer computes whole windows; a pass of ours begins at the token. The teacher's one pass is left
    out on both sides: peers repeat it with every epoch.
    """
    windows = context.fit
    whole = float((windows.length_W - windows.n_pieces_W + 1).mean())
    behind = float((windows.length_W - windows.last_piece()).mean())
    return max(1, int(trained_peers.EPOCHS * whole / behind))


def distil(context: Context) -> Rows:
    """Distilled from the start that a fit would take; written as solved, or both at once on one row."""
    model, told = context.subject.model, evidence(context)
    _, read = fit_input(model, told, context.input_VD, context.rng, rounds=0)
    both = None
    if model.tied:
        writing = prepare_writing(model, told, context.output_VD, context.rng)
        both = fit_tied(model, told, writing, context.input_VD, context.rng, rounds=0)[1].rows_ND
    return _distilled(context, Rows(read.rows_ND, read.rows_ND, both_ND=both))


def distil_fit(context: Context) -> Rows:
    """Distilled from where the fit ends."""
    return _distilled(context, fit(context))


def _distilled(context: Context, start: Rows) -> Rows:
    model, told = context.subject.model, evidence(context)
    names = tuple(p.text for p in context.phrases)
    made = tuple(RowsMade("mean", "mean") for _ in names)
    most = passes(context)
    reading = Settings(passes=most, writing="keep")
    if not model.tied:
        found = distil_rows(
            model, told, RowSet(names, start.input_ND, start.output_ND, made), reading
        )
        writing = prepare_writing(model, told, context.output_VD, context.rng)
        return Rows(found.input_ND, fit_output(model, writing))
    one, two = (
        distil_rows(model, told, RowSet(names, rows_ND, None, made), settings).input_ND
        for rows_ND, settings in (
            (start.tied().input_ND, Settings(passes=most)),
            (start.input_ND, reading),
        )
    )
    writing = prepare_writing(model, told, context.output_VD, np.random.default_rng(context.seed))
    return Rows(two, fit_output(model, writing), both_ND=one)


OURS_TRAINED: Mapping[str, Method] = MappingProxyType({"distil": distil, "distil+fit": distil_fit})
