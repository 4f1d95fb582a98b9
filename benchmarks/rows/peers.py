"""The published initialisers that need no gradient, written from their descriptions.

Each takes a context and returns rows. `hf-default` calls the library itself. Where a paper says what
one row does for both jobs, `both_ND` has it; where it says nothing, the read row is taken.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from benchmarks.rows.cases import Context, Method, Rows, Values
from benchmarks.rows.mapped_peers import omp, tokens2words, tokens2words_scaled

from tokengraft.training.windows import Phrase


def zero(context: Context) -> Rows:
    """All zeros."""
    rows = np.zeros((len(context.phrases), context.input_VD.shape[1]))
    return Rows(rows, rows)


def hf_default(context: Context) -> Rows:
    """`resize_token_embeddings` of the library, on a copy of the model."""
    import torch

    torch.manual_seed(context.seed)
    network = copy.deepcopy(context.subject.model.network)
    n_rows, n = context.subject.model.n_rows, len(context.phrases)
    network.resize_token_embeddings(n_rows + n, mean_resizing=True)
    found = (network.get_input_embeddings(), network.get_output_embeddings())
    read, written = (m.weight[n_rows : n_rows + n].detach().double().numpy() for m in found)
    return Rows(read, written)


def mean(context: Context) -> Rows:
    """The mean of all rows: what recovery is measured against."""
    return Rows(context.mean_of_all(context.input_VD), context.mean_of_all(context.output_VD))


def hewitt(context: Context) -> Rows:
    """The mean and 1e-5 of the covariance (Hewitt 2021)."""
    return _sampled(context, 1e-5)


def normal(context: Context) -> Rows:
    """A normal with the mean and the covariance of the rows."""
    return _sampled(context, 1.0)


def _sampled(context: Context, share: float) -> Rows:
    found = []
    for rows_VD in (context.input_VD, context.output_VD):
        known = rows_VD[context.known_V]
        centred = known - known.mean(axis=0)
        drawn = context.rng.standard_normal((len(context.phrases), len(known)))
        noise = drawn @ centred / np.sqrt(len(known))
        found.append(known.mean(axis=0) + np.sqrt(share) * noise)
    return Rows(*found, both_ND=found[0])


def subword_mean(context: Context) -> Rows:
    """The mean of the pieces in either matrix (FVT, Gee et al. 2022)."""
    return Rows(context.pieces_mean(context.input_VD), context.pieces_mean(context.output_VD))


def adaptivocab(context: Context) -> Rows:
    """Weights exp(2i) in the input, exp(-2i) in the output (Nakash et al. 2025); tied: the mean."""
    rising = context.weighted(context.input_VD, lambda p: np.exp(2.0 * _numbers(p)))
    falling = context.weighted(context.output_VD, lambda p: np.exp(-2.0 * _numbers(p)))
    return Rows(rising, falling, both_ND=(rising + falling) / 2)


def eeve(context: Context) -> Rows:
    """Read as the mean, written as the first piece (Kim et al. 2024); tied: the mean."""
    read = context.pieces_mean(context.input_VD)
    return Rows(read, _piece(context.output_VD, context, 0), both_ND=read)


def bil(context: Context) -> Rows:
    """The asymmetric rule of 2608.03494: mean at the median norm; mean weighted by length.

    The median is over all rows: by script or over all, its authors' figures do not differ. Tied:
    the mean.
    """
    mean_ND = context.pieces_mean(context.input_VD)
    norm = np.median(np.linalg.norm(context.input_VD[context.known_V], axis=1))
    scaled = mean_ND * norm / np.linalg.norm(mean_ND, axis=1, keepdims=True)
    written = context.weighted(context.output_VD, lambda p: _lengths(context, p))
    return Rows(scaled, written, both_ND=mean_ND)


def first_last(context: Context) -> Rows:
    """Read as the last piece, written as the first; tied: the mean of the two."""
    read = _piece(context.input_VD, context, -1)
    written = _piece(context.output_VD, context, 0)
    return Rows(read, written, both_ND=(read + written) / 2)


def description(context: Context) -> Rows:
    """LLaMA-Factory's `desc_init`: the mean of what the input module gives, in both matrices.

    Where a token has no description, its pieces are one. The library calls the module, so that a
    family's scale is in the result.
    """
    read = context.pieces_mean(context.input_VD) * context.subject.model.embed_scale
    return Rows(read, read)


def noise(context: Context) -> Rows:
    """LLaMA-Factory's `noise_init`: the mean of all and a normal of variance 1 / width."""
    width = context.input_VD.shape[1]
    shape = (len(context.phrases), width)
    read = context.mean_of_all(context.input_VD) + context.rng.normal(0, width**-0.5, shape)
    written = context.mean_of_all(context.output_VD) + context.rng.normal(0, width**-0.5, shape)
    return Rows(read, written)


def _piece(rows_VD: Values, context: Context, at: int) -> Values:
    return np.array([rows_VD[p.pieces[at]] for p in context.phrases])


def _numbers(phrase: Phrase) -> Values:
    return np.arange(len(phrase.pieces)) - (len(phrase.pieces) - 1) / 2


def _lengths(context: Context, phrase: Phrase) -> Values:
    words = context.subject.words
    return np.array([max(1, len(words.text([i]))) for i in phrase.pieces], np.float64)


PEERS: Mapping[str, Method] = MappingProxyType(
    {
        "zero": zero,
        "hf-default": hf_default,
        "hewitt": hewitt,
        "normal": normal,
        "lf-noise": noise,
        "mean": mean,
        "subword-mean": subword_mean,
        "adaptivocab": adaptivocab,
        "eeve": eeve,
        "bil": bil,
        "first-last": first_last,
        "lf-description": description,
        "tokens2words": tokens2words,
        "tokens2words-scaled": tokens2words_scaled,
        "omp": omp,
    }
)
# These depend on neither the seed nor its windows: one measurement serves all seeds.
FIXED = frozenset(
    {"zero", "mean", "subword-mean", "adaptivocab", "eeve", "bil", "first-last"}
    | {"lf-description", "omp", "tokens2words", "tokens2words-scaled"}
)
