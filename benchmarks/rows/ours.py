"""Our own methods without training, as the benchmark calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from benchmarks.rows.cases import Context, Method, Rows
from benchmarks.rows.subject import FIT

from tokengraft.training.fitting import fit_input, fit_tied
from tokengraft.training.input_rows import map_rows
from tokengraft.training.output_fits import fit_output, prepare_writing
from tokengraft.training.resplitting import known_windows, known_words
from tokengraft.training.windows import Evidence, Phrase
from tokengraft.training.without_corpus import rows_without_corpus

_A_WORD = 4  # windows of a known word


def evidence(context: Context, *, has_known: bool = True) -> Evidence:
    """What the fit may see: documents of the fit part, and windows of the validation part.

    Args:
        has_known: whether known words are looked for, which a map needs.
    """
    subject = context.subject
    known: Sequence[Phrase] = ()
    if has_known:
        known = known_words(subject.tokenizer, subject.words, subject.ranks, context.known_V)
    windows = known_windows(
        subject.parts[FIT], known, subject.words, a_word=_A_WORD, bos=subject.bos
    )
    return Evidence(
        phrases=context.phrases,
        windows=context.fit,
        validation=context.validation,
        neutral_ST=context.background.ids_ST,
        keep_ST=context.background.keep_ST,
        frequency_N=context.frequency_N,
        known=(known, windows),
        trained=np.flatnonzero(context.known_V),
        bos=subject.bos,
    )


def bias(context: Context) -> Rows:
    """Read as the mean of the pieces, written as the first with a calibrated bias."""
    read = context.pieces_mean(context.input_VD)
    told = evidence(context)
    written = prepare_writing(context.subject.model, told, context.output_VD, context.rng)
    return Rows(read, written.start_ND, both_ND=read)


def no_corpus(context: Context) -> Rows:
    """The mean of the pieces; the first with a bias that needs no text."""
    found = rows_without_corpus(
        context.subject.model,
        context.phrases,
        (context.input_VD, context.output_VD),
        np.flatnonzero(context.known_V),
        context.subject.bos,
    )
    written = found.input_ND if found.output_ND is None else found.output_ND
    return Rows(found.input_ND, written)


def mapped(context: Context) -> Rows:
    """Read as mapped from known words, written as solved."""
    model, told = context.subject.model, evidence(context)
    found = map_rows(model, context.input_VD, told.known, (told.phrases, told.windows))
    writing = prepare_writing(model, told, context.output_VD, context.rng)
    return Rows(found.rows_ND, fit_output(model, writing), both_ND=found.rows_ND)


_FITTED: dict[tuple[object, ...], Rows] = {}  # by stratum and seed: training goes on from it


def fit(context: Context) -> Rows:
    """Read as mapped and refined, written as solved; tied: the compromise."""
    key = (context.subject.name, context.seed, *(p.text for p in context.phrases))
    if key not in _FITTED:
        _FITTED[key] = _fit(context)
    return _FITTED[key]


def _fit(context: Context) -> Rows:
    model, told = context.subject.model, evidence(context)
    _, refined = fit_input(model, told, context.input_VD, context.rng)
    writing = prepare_writing(model, told, context.output_VD, context.rng)
    both = None
    if model.tied:
        both = fit_tied(model, told, writing, context.input_VD, context.rng)[1].rows_ND
    return Rows(refined.rows_ND, fit_output(model, writing), both_ND=both)


OURS: Mapping[str, Method] = MappingProxyType(
    {"no-corpus": no_corpus, "bias": bias, "mapped": mapped, "fit": fit}
)
