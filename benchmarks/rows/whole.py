"""Whole held-out texts with all new tokens in them at once: bits per byte, and what is saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from benchmarks.rows.cases import Rows
from benchmarks.rows.subject import TEST, Subject
from numpy.typing import NDArray

from tokengraft.training.language_model import LanguageModel
from tokengraft.training.states import log_scores, states_at
from tokengraft.training.windows import Ids, Phrase, places_of

Values = NDArray[np.float64]
CHUNK, CHUNKS = 128, 256  # pieces of a text; how many texts at most
NEAR = 16  # pieces behind a new token that count as near


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """Texts with every phrase as its token.

    Attributes:
        ids_ST, length_S: the texts, padded on the right.
        kind_ST: of each position's own id: 0 elsewhere, 1 a new token, 2 near behind one.
        size: bytes of all texts.
        teacher_K: NLL of the pieces by kind, in nats, summed.
        saved: share of positions that the tokens save.
    """

    ids_ST: Ids
    length_S: Ids
    kind_ST: NDArray[np.int64]
    size: int
    teacher_K: Values
    saved: float


def merged_texts(
    subject: Subject, phrases: Sequence[Phrase], part: str, length: int, most: int
) -> tuple[list[Ids], list[Ids], list[NDArray[np.int64]], list[NDArray[np.int64]]]:
    """Texts as pieces and with tokens, and the kind of each id in either."""
    head = np.array([] if subject.bos is None else [subject.bos], np.int64)
    texts = [ids[:length] for ids in subject.parts[part] if len(ids) >= length // 2][:most]
    places: dict[int, list[tuple[int, int]]] = {}
    for place in places_of(texts, phrases, subject.words.goes_on_V):
        places.setdefault(place.document, []).append((place.at, place.token))
    plain, merged, kinds_plain, kinds_merged = [], [], [], []
    for n, ids in enumerate(texts):
        out, kind_of, kind = [*head.tolist()], [0] * len(head), np.zeros(len(ids), np.int64)
        at = 0
        for start, token in places.get(n, []):
            if start < at:
                continue  # inside the phrase before it
            end = start + len(phrases[token].pieces)
            kind[at : min(at + NEAR, start)] = np.where(at > 0, 2, 0)
            out += [*ids[at:start].tolist(), subject.model.n_rows + token]
            kind_of += [*kind[at:start].tolist(), 1]
            kind[start:end] = 1
            at = end
        kind[at : at + NEAR] = 2 if at else 0
        out += ids[at:].tolist()
        kind_of += kind[at:].tolist()
        plain.append(np.concatenate([head, ids]))
        merged.append(np.array(out, np.int64))
        kinds_plain.append(np.concatenate([np.zeros(len(head), np.int64), kind]))
        kinds_merged.append(np.array(kind_of, np.int64))
    return plain, merged, kinds_plain, kinds_merged


def whole_text(subject: Subject, phrases: Sequence[Phrase]) -> Whole:
    """Texts of the test documents, and what the model makes of them as pieces."""
    plain, merged, kinds_plain, kinds_merged = merged_texts(subject, phrases, TEST, CHUNK, CHUNKS)
    ids, lengths = padded(plain)
    kinds, _ = padded(kinds_plain)
    found = nats(subject.model, ids, lengths, None)
    teacher = np.array([found[kinds[:, 1:] == kind].sum() for kind in range(3)])
    new_ids, new_lengths = padded(merged)
    new_kinds, _ = padded(kinds_merged)
    size = sum(subject.words.size(row[1:].tolist()) for row in plain)
    saved = 1 - float(new_lengths.sum() / lengths.sum())
    return Whole(new_ids, new_lengths, new_kinds, size, teacher, saved)


def whole_figures(model: LanguageModel, told: Whole, rows: Rows) -> dict[str, float]:
    """Bits per byte above the pieces': in all, and what new tokens, near and other text add."""
    found = nats(model, told.ids_ST, told.length_S, rows)
    student = np.array([found[told.kind_ST[:, 1:] == kind].sum() for kind in range(3)])
    bits = 1 / (np.log(2) * told.size)
    rest, new, near = (student - told.teacher_K) * bits
    return {
        "bpb": float(student.sum() * bits),
        "bpb_pieces": float(told.teacher_K.sum() * bits),
        "bpb_more": float(rest + new + near),
        "bpb_new": float(new),
        "bpb_near": float(near),
        "bpb_elsewhere": float(rest),
        "saved": told.saved,
    }


def padded(rows: Sequence[Ids]) -> tuple[Ids, Ids]:
    """Rows of unlike length, padded with 0 on the right, and their lengths."""
    ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for n, row in enumerate(rows):
        ids[n, : len(row)] = row
    return ids, np.array([len(row) for row in rows], np.int64)


def nats(model: LanguageModel, ids_ST: Ids, length_S: Ids, rows: Rows | None) -> Values:
    """NLL of each id but the first, [S, T-1], among old rows and the new; 0 for padding."""
    n_places = ids_ST.shape[1] - 1
    places = np.repeat(np.arange(n_places)[None], len(ids_ST), axis=0)
    (states,) = states_at(model, ids_ST, places, None if rows is None else rows.input_ND)
    flat = states.reshape(-1, model.width)
    targets = ids_ST[:, 1:].ravel()
    is_new = targets >= model.n_rows
    norms, logs = log_scores(model, flat, np.where(is_new, 0, targets))
    if rows is not None:
        new = model.written.logits(flat.astype(np.float64) @ rows.output_ND.T)
        both = np.logaddexp(norms, np.logaddexp.reduce(new, axis=1))
        chosen = np.take_along_axis(new, np.where(is_new, targets - model.n_rows, 0)[:, None], 1)
        logs = np.where(is_new, chosen[:, 0] - both, logs + norms - both)
    exists = np.arange(n_places)[None] + 1 < length_S[:, None]
    return -np.where(exists, logs.reshape(exists.shape), 0.0)
