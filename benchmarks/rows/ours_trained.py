"""Our own trained methods, as the benchmark calls them, within the budget that peers have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from benchmarks.rows import trained_peers
from benchmarks.rows.cases import Context, Method, Rows, Values
from benchmarks.rows.ours import evidence, fit
from benchmarks.rows.reading import divergences
from benchmarks.rows.trained_peers import BATCH, Swept, Train

from tokengraft.recipes import Distillation
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training.distilling import distil_rows
from tokengraft.training.fitting import Writing, fit_output, prepare_writing
from tokengraft.training.input_rows import beyond_last
from tokengraft.training.output_rows import both as both_samples
from tokengraft.training.output_rows import solve

Start = Callable[[Context], Rows]
CrossEntropy = float | Literal["auto"]
_BOTH = 0.1  # of the spread of old rows: the most that one row with two jobs is moved in a step
_HELD = 0.1  # how strongly a row that is moved to be written is held to where it was


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
        read = _distilled(context, rows.input_ND, rate, cross_entropy, output_ND=output)
        both = None
        if model.tied:
            begin = _written(context, writing) if rows.both_ND is None else rows.both_ND
            most = _BOTH * float(np.nanstd(context.input_VD[context.known_V]))
            both = _distilled(context, begin, min(rate, most), cross_entropy, writing=writing)
        return Rows(read, output, both_ND=both)

    return train


def _written(context: Context, writing: Writing) -> Values:
    """The mean of all rows, moved so that it is written as is due: from there it learns to be read.

    From rows that are read well, writing is not learned in so few steps: on 24 words of stories260K
    one row that began beyond the last piece was written 13 times as often as is due, this one 1.5
    times, and was read as well (0.68 of reading).
    """
    model, mean_ND = context.subject.model, context.mean_of_all(context.input_VD)
    samples = [both_samples(*parts) for parts in zip(writing.fit, writing.held_out, strict=True)]
    shape_DD = np.eye(model.width)
    return np.array(
        [
            solve(model.written, one, row, shape_DD, _HELD)
            for one, row in zip(samples, mean_ND, strict=True)
        ]
    )


def _tried(start: Start) -> Train:
    def train(context: Context, rate: float) -> Rows:
        rows = start(context)
        read = _distilled(context, rows.input_ND, rate, output_ND=rows.input_ND)
        return Rows(read, read)

    return train


def _distilled(
    context: Context,
    start_ND: Values,
    rate: float,
    cross_entropy: CrossEntropy = 0.0,
    *,
    output_ND: Values | None = None,
    writing: Writing | None = None,
) -> Values:
    """Rows to read beside `output_ND`; without them, rows for both jobs."""
    model = replace(context.subject.model, tied=output_ND is None)
    names = tuple(p.text for p in context.phrases)
    made = tuple(RowsMade("start", "start") for _ in names)
    spread = float(np.nanstd(context.input_VD[context.known_V]))
    wish = Distillation(
        batch=BATCH,
        rate=rate / spread,
        passes=passes(context),
        validate_each=1,
        cross_entropy=cross_entropy,
        writing="solve" if output_ND is None else "keep",
    )
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
