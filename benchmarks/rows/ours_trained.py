"""Our own trained methods, as the benchmark calls them, within the budget that peers have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from benchmarks.rows import trained_peers
from benchmarks.rows.cases import Context, Method, Rows, Values
from benchmarks.rows.ours import evidence, fit
from benchmarks.rows.reading import divergences
from benchmarks.rows.trained_peers import BATCH, Swept, Train

from tokengraft.recipes import Distillation
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training.distilling import distil_rows
from tokengraft.training.fitting import COMPROMISE
from tokengraft.training.input_rows import beyond_last
from tokengraft.training.output_fits import Writing, fit_output, prepare_writing

Start = Callable[[Context], Rows]
CrossEntropy = float | Literal["auto"]


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
    return Rows(start, start)


def _trained(start: Start, cross_entropy: CrossEntropy = 0.0) -> Train:
    """Read rows trained by Adam, written as solved; where one row does both jobs, both at once."""

    def train(context: Context, rate: float) -> Rows:
        model, rows = context.subject.model, start(context)
        told, rng = evidence(context, has_known=False), np.random.default_rng(context.seed)
        writing = prepare_writing(model, told, context.output_VD, rng)
        output = fit_output(model, writing)
        read = distilled(context, rows.input_ND, rate, cross_entropy, output_ND=output)
        both = None
        if model.tied:
            is_fitted = rows.both_ND is not None
            begun = rows.tied().input_ND
            both = distilled(
                context, begun, rate, cross_entropy, writing=writing, is_fitted=is_fitted
            )
        return Rows(read, output, both_ND=both)

    return train


def _tried(start: Start) -> Train:
    def train(context: Context, rate: float) -> Rows:
        rows = start(context)
        read = distilled(context, rows.input_ND, rate, output_ND=rows.input_ND)
        return Rows(read, read)

    return train


def distilled(  # noqa: PLR0913 - where from, how, and what is known of writing
    context: Context,
    start_ND: Values,
    rate: float,
    cross_entropy: CrossEntropy = 0.0,
    *,
    output_ND: Values | None = None,
    writing: Writing | None = None,
    is_fitted: bool = False,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Values:
    """Rows to read beside `output_ND`; without them, rows for both jobs, which a fit may have made.

    Args:
        settings: of the training, instead of those of the tables.
    """
    model = replace(context.subject.model, tied=output_ND is None)
    names = tuple(p.text for p in context.phrases)
    made = (RowsMade("start", COMPROMISE if is_fitted else "start"),) * len(names)
    spread = float(np.nanstd(context.input_VD[context.known_V]))
    usual = {
        "batch": BATCH,
        "rate": rate / spread,
        "passes": passes(context),
        "validate_each": 1,
        "cross_entropy": cross_entropy,
        "writing": "solve" if output_ND is None else "keep",
    }
    wish = Distillation.model_validate({**usual, **settings})
    rows = RowSet(names, start_ND, output_ND, made)
    told = evidence(context, has_known=False)
    return distil_rows(model, told, rows, wish, seed=context.seed, writing=writing).input_ND


def _reading(context: Context, rows: Rows) -> float:
    kl = divergences(context.subject.model, context.validation, context.phrases, rows.input_ND)
    return float(np.nan_to_num(kl, nan=np.inf).mean())


OURS_TRAINED: Mapping[str, Method] = MappingProxyType(
    {
        "distil": Swept(_trained(first), _reading, _tried(first)),
        "distil+ntp": Swept(_trained(first, "auto"), _reading, _tried(first)),
        "distil+fit": Swept(_trained(fit), _reading, _tried(fit)),
    }
)
