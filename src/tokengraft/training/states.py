"""Passes of the model over text, of which only what is asked for is kept.

Everything streams: a batch of sequences goes through the model, the states at the places asked for
are gathered, the rest is dropped. What is kept is W x A x D float32 numbers and nothing of size V.

Shapes: W sequences, T positions, A places a sequence, P places in all, D width, V old rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.training.language_model import LanguageModel
from tokengraft.training.windows import Phrase, Windows

Ids = NDArray[np.int64]
Singles = NDArray[np.float32]
Values = NDArray[np.float64]

_LOGITS_AT_ONCE = 1 << 24  # numbers: 64 MB of float32
FINAL = -1
NOBODY = -1  # no id is left out


def states_at(
    model: LanguageModel,
    ids_WT: Ids,
    places_WA: Ids,
    new_ND: Values | None = None,
    layers: Sequence[int] = (FINAL,),
) -> list[Singles]:
    """Hidden states at these places, an array [W, A, D] for each layer.

    Args:
        ids_WT: padded on the right, which causal attention does not see.
        new_ND: rows of new ids, from `model.n_rows` on.
    """
    import torch

    kept = [np.empty((*places_WA.shape, model.width), np.float32) for _ in layers]
    rows = None if new_ND is None else torch.from_numpy(new_ND.astype(np.float32))
    # Sequences of like length share a pass, so that little padding is computed.
    order = np.argsort(places_WA.max(axis=1, initial=0), kind="stable")
    with torch.inference_mode():
        for batch in model.batches(len(order), ids_WT.shape[1]):
            chosen = order[batch]
            last = int(places_WA[chosen].max()) + 1
            found = model.hidden(torch.from_numpy(ids_WT[chosen, :last]), rows, layers)
            at = torch.from_numpy(places_WA[chosen])[..., None].to(model.device)
            for array, states in zip(kept, found, strict=True):
                found_there = states.gather(1, at.expand(-1, -1, states.shape[2]))
                array[chosen] = found_there.float().cpu().numpy()
    return kept


def log_scores(
    model: LanguageModel, hidden_PD: Singles, targets_P: Ids, without_P: Ids | None = None
) -> tuple[Values, Values]:
    """Log of the normaliser over old rows, and log-probability of a target, at each state.

    Args:
        without_P: an old id that counts as if it were not there, or `NOBODY`.
    """
    import torch

    norms, chosen = np.empty(len(hidden_PD)), np.empty(len(hidden_PD))
    step = max(1, _LOGITS_AT_ONCE // model.n_rows)
    with torch.inference_mode():
        for first in range(0, len(hidden_PD), step):
            here = slice(first, first + step)
            logits = masked_logits(
                model, hidden_PD[here], None if without_P is None else without_P[here]
            )
            norm = torch.logsumexp(logits, dim=-1)
            at = torch.from_numpy(targets_P[here])[:, None].to(model.device)
            target = logits.gather(1, at)[:, 0]
            norms[here] = norm.double().cpu().numpy()
            chosen[here] = (target - norm).double().cpu().numpy()
    return norms, chosen


def masked_logits(model: LanguageModel, hidden_PD: Singles, without_P: Ids | None) -> Any:
    """Logits [P, V] of the old rows; minus infinity at the id that is left out."""
    import torch

    logits = model.logits(torch.from_numpy(hidden_PD)).float()
    if without_P is not None:
        rows = np.flatnonzero(without_P != NOBODY)
        logits[torch.from_numpy(rows), torch.from_numpy(without_P[rows])] = -torch.inf
    return logits


def left_out(phrases: Sequence[Phrase], token_P: Ids) -> Ids:
    """The id that is left out at each place, by the place's token."""
    ids = np.array([NOBODY if p.without is None else p.without for p in phrases], np.int64)
    return ids[token_P]


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """States in which phrases are due, one a window.

    Attributes:
        token_W: whose phrase.
        hidden_WD: the state right before the phrase, as the output matrix reads it.
        log_norm_W: log of the normaliser over old rows there.
        log_q_W: log-probability of the pieces there; minus infinity for descriptions.
        log_first_W: log-probability of the first piece alone.
    """

    token_W: Ids
    hidden_WD: Singles
    log_norm_W: Values
    log_q_W: Values
    log_first_W: Values


def due_states(model: LanguageModel, windows: Windows, phrases: Sequence[Phrase]) -> Due:
    """One pass over windows in which phrases stand as pieces."""
    most = int(windows.n_pieces_W.max(initial=1))
    steps = np.minimum(np.arange(most)[None], windows.n_pieces_W[:, None] - 1)
    places = windows.at_W[:, None] - 1 + steps
    (hidden,) = states_at(model, windows.ids_WT, places)
    targets = np.take_along_axis(windows.ids_WT, places + 1, axis=1)
    without = np.repeat(left_out(phrases, windows.token_W), most)
    norms, logs = log_scores(model, hidden.reshape(-1, model.width), targets.ravel(), without)
    logs = logs.reshape(places.shape)
    is_piece = np.arange(most)[None] < windows.n_pieces_W[:, None]
    is_described = np.array([p.is_described for p in phrases])[windows.token_W]
    return Due(
        token_W=windows.token_W,
        hidden_WD=hidden[:, 0],
        log_norm_W=norms.reshape(places.shape)[:, 0],
        log_q_W=np.where(is_described, -np.inf, (logs * is_piece).sum(axis=1)),
        log_first_W=logs[:, 0],
    )


@dataclass(frozen=True, slots=True, eq=False)
class Neutral:
    """States of text in which no phrase is due.

    Attributes:
        ids_ST: the sequences.
        sequence_P, at_P: where each state stands.
        hidden_PD: as the output matrix reads it.
        log_norm_P: log of the normaliser over old rows.
        log_first_NP: log-probability of each phrase's first piece.
    """

    ids_ST: Ids
    sequence_P: Ids
    at_P: Ids
    hidden_PD: Singles
    log_norm_P: Values
    log_first_NP: Singles

    def log_norms(self, model: LanguageModel, phrase: Phrase) -> Values:
        """`log_norm_P`, with the id that the phrase's token takes the place of left out."""
        if phrase.without is None:
            return self.log_norm_P
        share = np.exp(self._log_p(model, phrase.without))
        return np.asarray(self.log_norm_P + np.log1p(-np.minimum(share, 1 - 1e-7)))

    def log_first(self, model: LanguageModel, phrase: Phrase, token: int) -> Values:
        """Log-probability of the phrase's first piece, likewise."""
        logs = self.log_first_NP[token].astype(np.float64)
        return np.asarray(logs + self.log_norm_P - self.log_norms(model, phrase))

    def _log_p(self, model: LanguageModel, old_id: int) -> Values:
        written = model.written
        products = self.hidden_PD @ model.output_row(old_id)
        bias = 0.0 if written.bias_V is None else float(written.bias_V[old_id])
        if bias:
            products = products + bias / written.scale
        logs: Values = written.logits(products.astype(np.float64)) - self.log_norm_P
        return logs


def neutral_states(
    model: LanguageModel, ids_ST: Ids, keep_ST: NDArray[np.bool_], phrases: Sequence[Phrase]
) -> Neutral:
    """One pass over text.

    Args:
        ids_ST: sequences without padding.
        keep_ST: the positions whose states are kept: those before which no phrase begins or goes on.
    """
    import torch

    sequence, at = np.nonzero(keep_ST)
    firsts = torch.tensor([phrase.pieces[0] for phrase in phrases])
    hidden = np.empty((len(at), model.width), np.float32)
    norms = np.empty(len(at))
    logs = np.empty((len(phrases), len(at)), np.float32)
    bounds = np.searchsorted(sequence, np.arange(len(ids_ST) + 1))
    with torch.inference_mode():
        for batch in model.batches(len(ids_ST), ids_ST.shape[1]):
            here = slice(int(bounds[batch.start]), int(bounds[batch.stop]))
            (states,) = model.hidden(torch.from_numpy(ids_ST[batch]))
            kept = states[torch.from_numpy(keep_ST[batch]).to(model.device)].float()
            hidden[here] = kept.cpu().numpy()
            step = max(1, _LOGITS_AT_ONCE // model.n_rows)
            for first in range(0, len(kept), step):
                part = slice(here.start + first, min(here.start + first + step, here.stop))
                logits = model.logits(kept[first : first + step]).float()
                norm = torch.logsumexp(logits, dim=-1)
                norms[part] = norm.double().cpu().numpy()
                logs[:, part] = (logits[:, firsts] - norm[:, None]).T.cpu().numpy()
    return Neutral(ids_ST, sequence, at, hidden, norms, logs)
