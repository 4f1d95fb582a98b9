"""Probabilities of pieces that are put behind places of text: many places, few texts.

A text is computed once for all places in it: what is put behind them stands behind the text, side by
side, each at the position of its place and with a mask that shows it the text up to there and itself. So
a place costs a position for each of its pieces. The first places are computed with texts of their own
too; where the two differ, as in models that take no such mask, all of them are.

Shapes: S texts, T positions, P places, K pieces behind a place, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.language_model import LanguageModel
from tokengraft.training.partial_passes import FINAL, is_near, states_after
from tokengraft.training.states import Neutral, left_out, log_scores, states_at
from tokengraft.training.windows import Phrase

Ids = NDArray[np.int64]
Singles = NDArray[np.float32]
Values = NDArray[np.float64]

_TOGETHER = 48  # places of a text in a pass: its cost grows with the square of its length
_TRIED = 4  # places at which it is seen whether texts may be shared


def log_rest(
    model: LanguageModel,
    neutral: Neutral,
    phrases: Sequence[Phrase],
    token_P: Ids,
    place_P: Ids,
) -> Values:
    """Log-probability of a phrase's pieces after the first, had the first come there.

    Args:
        token_P, place_P: which phrase, at which state of `neutral`.
    """
    most = max((len(phrases[t].pieces) for t in token_P), default=1) - 1
    if most < 1:
        return np.zeros(len(token_P))
    n_rest = np.array([len(phrases[t].pieces) - 1 for t in token_P])
    pieces_PK = np.array([_filled(phrases[t].pieces, most + 1) for t in token_P], np.int64)
    places = Places(
        neutral.ids_ST, neutral.sequence_P[place_P], neutral.at_P[place_P], pieces_PK[:, :-1]
    )
    hidden = states_behind(model, places)
    without = np.repeat(left_out(phrases, token_P), most)
    flat = hidden.reshape(-1, model.width)
    _, logs = log_scores(model, flat, pieces_PK[:, 1:].ravel(), without)
    is_piece = np.arange(most)[None] < n_rest[:, None]
    return np.asarray((logs.reshape(-1, most) * is_piece).sum(axis=1))


class Rests:
    """`log_rest` of the phrases at states of one text, each computed once: most are drawn again."""

    def __init__(self, model: LanguageModel, neutral: Neutral, phrases: Sequence[Phrase]) -> None:
        self.model, self.neutral, self.phrases = model, neutral, phrases
        self.place_NP = [np.empty(0, np.int64) for _ in phrases]  # of each phrase, in order
        self.log_NP = [np.empty(0) for _ in phrases]

    def __call__(self, chosen: Mapping[int, Ids]) -> dict[int, Values]:
        """Of these phrases at these states."""
        lacking = {n: np.setdiff1d(places, self.place_NP[n]) for n, places in chosen.items()}
        sizes = [len(places) for places in lacking.values()]
        if sum(sizes):
            token_P = np.repeat(np.fromiter(lacking, np.int64), sizes)
            place_P = np.concatenate(list(lacking.values()))
            found = log_rest(self.model, self.neutral, self.phrases, token_P, place_P)
            parts = np.split(found, np.cumsum(sizes)[:-1])
            for (n, places), logs in zip(lacking.items(), parts, strict=True):
                self._keep(n, places, logs)
        return {
            n: self.log_NP[n][np.searchsorted(self.place_NP[n], places)]
            for n, places in chosen.items()
        }

    def _keep(self, n: int, places: Ids, logs: Values) -> None:
        places = np.concatenate([self.place_NP[n], places])
        order = np.argsort(places)
        self.place_NP[n] = places[order]
        self.log_NP[n] = np.concatenate([self.log_NP[n], logs])[order]


def _filled(pieces: Sequence[int], length: int) -> list[int]:
    return [*pieces, *[pieces[-1]] * (length - len(pieces))]


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Places in texts, and what is put behind each.

    Attributes:
        ids_ST: texts without padding.
        sequence_P, at_P: each place's text, and the last position of it that is read.
        ids_PK: what is put there.
    """

    ids_ST: Ids
    sequence_P: Ids
    at_P: Ids
    ids_PK: Ids

    def __len__(self) -> int:
        return len(self.at_P)

    def of(self, chosen: Ids) -> Places:
        """Some of the places."""
        return Places(self.ids_ST, self.sequence_P[chosen], self.at_P[chosen], self.ids_PK[chosen])


def states_behind(model: LanguageModel, places: Places) -> Singles:
    """Final states [P, K, D] at ids that are put behind places of text."""
    few = places.of(np.argsort(-places.at_P, kind="stable")[:_TRIED])  # what windows would cut
    try:
        is_shared = is_near(model, _shared(model, few), _alone(model, few))
    except (AttributeError, IndexError, TypeError, ValueError, RuntimeError):
        is_shared = False  # a model that takes no such mask
    return _shared(model, places) if is_shared else _alone(model, places)


def _alone(model: LanguageModel, places: Places) -> Singles:
    """Each place with a text of its own."""
    end_P = places.at_P + 1
    n_ids = places.ids_PK.shape[1]
    ids = np.zeros((len(places), int(end_P.max()) + n_ids), np.int64)
    for n, end in enumerate(end_P.tolist()):
        past = places.ids_ST[places.sequence_P[n], :end]
        ids[n, : end + n_ids] = np.concatenate([past, places.ids_PK[n]])
    at_PK = end_P[:, None] + np.arange(n_ids)[None]
    (hidden,) = states_at(model, ids, at_PK)
    return hidden


def _shared(model: LanguageModel, places: Places) -> Singles:
    """Each text once, and behind it what is put at all of its places."""
    out = np.empty((*places.ids_PK.shape, model.width), np.float32)
    order = np.argsort(places.sequence_P, kind="stable")
    bounds = np.flatnonzero(np.diff(places.sequence_P[order])) + 1
    groups = [
        mine[first : first + _TOGETHER]
        for mine in np.split(order, bounds)
        for first in range(0, len(mine), _TOGETHER)
    ]
    # Texts with like many places share a pass, so that little padding is computed.
    groups.sort(key=len)
    longest = places.ids_ST.shape[1] + len(groups[-1]) * places.ids_PK.shape[1]
    for batch in model.batches(len(groups), longest):
        here = groups[batch]
        texts = np.array([places.sequence_P[mine[0]] for mine in here])
        found = _behind_texts(model, places, texts, here)
        for chosen, states in zip(here, found, strict=True):
            out[chosen] = states[: len(chosen)]
    return out


def _behind_texts(model: LanguageModel, places: Places, texts: Ids, here: Sequence[Ids]) -> Singles:
    """States [texts, places of each, K, D]; what is put behind one place does not see another's."""
    import torch

    n_text, n_ids = places.ids_ST.shape[1], places.ids_PK.shape[1]
    most = max(map(len, here))
    length = n_text + most * n_ids
    ids = np.zeros((len(texts), length), np.int64)
    ids[:, :n_text] = places.ids_ST[texts]
    positions = np.zeros(ids.shape, np.int64)
    positions[:, :n_text] = np.arange(n_text)
    sees = np.zeros((len(texts), length, length), np.bool_)
    sees[:, :n_text, :n_text] = np.tril(np.ones((n_text, n_text), np.bool_))
    sees[:, n_text:, n_text:] = np.kron(np.eye(most, dtype=np.bool_), np.tri(n_ids, dtype=np.bool_))
    sees[:, n_text:, 0] = True  # padding has to see something
    columns = np.arange(n_text)
    for row, chosen in enumerate(here):
        end = n_text + len(chosen) * n_ids
        at = places.at_P[chosen]
        ids[row, n_text:end] = places.ids_PK[chosen].ravel()
        positions[row, n_text:end] = (at[:, None] + 1 + np.arange(n_ids)[None]).ravel()
        sees[row, n_text:end, :n_text] = np.repeat(columns[None] <= at[:, None], n_ids, axis=0)
    kind = model.embedding.weight.dtype
    mask = torch.zeros(sees.shape, dtype=kind, device=model.device)
    mask.masked_fill_(torch.from_numpy(~sees).to(model.device), torch.finfo(kind).min)
    with torch.inference_mode():
        (states,) = states_after(
            model,
            model.embed(torch.from_numpy(ids)),
            (FINAL,),
            attention_mask=mask[:, None],
            position_ids=torch.from_numpy(positions).to(model.device),
        )
        found: Singles = states[:, n_text:].float().cpu().numpy()
    return found.reshape(len(texts), most, n_ids, -1)
