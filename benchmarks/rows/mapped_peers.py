"""Peers that map from one space to another: hidden states to rows, a donor's rows to the base's."""

from __future__ import annotations

import numpy as np
from benchmarks.rows.cases import Context, Rows, Values
from benchmarks.rows.reading import divergences

from tokengraft.training.states import states_at

_ATOMS = 8  # of OMP; its authors use 64 of 30,000 rows and more


class NotApplicable(Exception):
    """A method has nothing to go on here; the table says why."""


def tokens2words_scaled(context: Context) -> Rows:
    """`tokens2words` with the best scale of its rotation: states are longer than rows.

    Not in the paper, whose calibrators are trained instead; here so that it is not judged by lengths.
    """
    return tokens2words(context, is_scaled=True)


def tokens2words(context: Context, *, is_scaled: bool = False) -> Rows:
    """Procrustes from the state of a word on its own to its rows (Kaplan et al., ICLR 2025).

    From the description: states of every piece on its own after layer k, centred; one rotation to
    centred input rows, one to output rows; the state of a new word's last piece is mapped, and the
    mean added. The layer is the one of L/6, L/3, L/2 with the best reading of validation windows,
    instead of the authors' patched prompts, which ask for a model that repeats words.
    """
    model = context.subject.model
    head = [] if context.subject.bos is None else [context.subject.bos]
    known = np.flatnonzero(context.known_V)
    layers = sorted({max(1, round(model.n_layers / part)) for part in (6, 3, 2)})
    singles = np.array([[*head, i] for i in known], np.int64)
    last = np.full((len(known), 1), len(head), np.int64)
    of_pieces = states_at(model, singles, last, layers=layers)
    longest = max(len(p.pieces) for p in context.phrases) + len(head)
    words = np.zeros((len(context.phrases), longest), np.int64)
    for n, phrase in enumerate(context.phrases):
        words[n, : len(head) + len(phrase.pieces)] = [*head, *phrase.pieces]
    ends = np.array([[len(head) + len(p.pieces) - 1] for p in context.phrases], np.int64)
    of_words = states_at(model, words, ends, layers=layers)
    found = []
    for pieces_KD, words_ND in zip(of_pieces, of_words, strict=True):
        state_KD = pieces_KD[:, 0].astype(np.float64)
        read, written = (
            _rotated(
                state_KD, rows_VD[known], words_ND[:, 0].astype(np.float64), is_scaled=is_scaled
            )
            for rows_VD in (context.input_VD, context.output_VD)
        )
        found.append(Rows(read, written, both_ND=read))
    scores = [
        divergences(model, context.validation, context.phrases, rows.input_ND).mean()
        for rows in found
    ]
    return found[int(np.argmin(scores))]


def _rotated(from_KD: Values, to_KD: Values, new_ND: Values, *, is_scaled: bool) -> Values:
    centre_from, centre_to = from_KD.mean(axis=0), to_KD.mean(axis=0)
    left, values, right = np.linalg.svd((from_KD - centre_from).T @ (to_KD - centre_to))
    scale = values.sum() / np.sum((from_KD - centre_from) ** 2) if is_scaled else 1.0
    return scale * (new_ND - centre_from) @ left @ right + centre_to


def omp(context: Context) -> Rows:
    """Orthogonal matching pursuit in a donor that has the word (2506.06607).

    Raises:
        NotApplicable: no donor, or it has no row of these words.
    """
    donor = context.donor
    if donor is None:
        raise NotApplicable("no donor")
    if any(p.without is None for p in context.phrases):
        raise NotApplicable("the donor has these words in pieces too")
    known = np.flatnonzero(context.known_V)
    targets = [p.without for p in context.phrases]
    found = []
    for of_donor, rows_VD in (
        (donor.model.input_VD(), context.input_VD),
        (donor.model.output_VD(), context.output_VD),
    ):
        atoms = of_donor[known].astype(np.float64)
        found.append(
            np.array(
                [_pursued(atoms, of_donor[t].astype(np.float64), rows_VD[known]) for t in targets]
            )
        )
    return Rows(*found, both_ND=found[0])


def _pursued(atoms_KD: Values, target_D: Values, rows_KD: Values) -> Values:
    chosen: list[int] = []
    left = target_D
    weights = np.zeros(0)
    for _ in range(_ATOMS):
        scores = np.abs(atoms_KD @ left)
        scores[chosen] = -1.0
        chosen.append(int(scores.argmax()))
        weights, *_ = np.linalg.lstsq(atoms_KD[chosen].T, target_D, rcond=None)
        left = target_D - weights @ atoms_KD[chosen]
    return weights @ rows_KD[chosen]
