"""What a model writes with new rows: whether words still come, as which ids, and what slips in.

Text is sampled at temperature 1 from all ids. Prompts end where a phrase stands in test text, and in
neutral text. The noise is the same for every method, so that two methods differ by their rows alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks.rows.cases import Rows
from benchmarks.rows.strata import Background, Stratum
from benchmarks.rows.subject import TEST, Subject
from benchmarks.rows.whole import nats, padded
from numpy.typing import NDArray

from tokengraft.training.language_model import LanguageModel
from tokengraft.training.windows import Ids, Phrase

Values = NDArray[np.float64]

PAST = 16  # pieces of a prompt
AHEAD = 8  # ids that are sampled behind a phrase's prompt
NEUTRAL_AHEAD = 16
A_TOKEN = 16  # prompts of each token at most
NEUTRAL = 100
_SEED = 5


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Prompts, and what the model writes of them without new rows.

    Attributes:
        due_PT, token_P: before phrases, and whose.
        neutral_PT: before nothing of the kind.
        wrote_P: whether the model without new rows wrote the phrase, as pieces.
        slipped_P: whether it wrote any phrase behind a neutral prompt.
        bits: what the model itself finds of its texts, bits a byte.
    """

    due_PT: Ids
    token_P: Ids
    neutral_PT: Ids
    wrote_P: NDArray[np.bool_]
    slipped_P: NDArray[np.bool_]
    bits: float


def prompts(subject: Subject, stratum: Stratum) -> Prompts | None:
    """Prompts of the test documents; None where there are too few places with enough before them."""
    windows = stratum.windows[TEST]
    seen: dict[int, int] = {}
    pasts, tokens = [], []
    for ids, at, token in zip(windows.ids_WT, windows.at_W, windows.token_W, strict=True):
        if at >= PAST and seen.get(int(token), 0) < A_TOKEN:
            pasts.append(ids[at - PAST : at])
            tokens.append(token)
            seen[int(token)] = seen.get(int(token), 0) + 1
    neutral = _neutral(stratum.backgrounds[TEST])
    if len(pasts) < NEUTRAL or not len(neutral):
        return None
    due, token_P = np.array(pasts, np.int64), np.array(tokens, np.int64)
    told = sampled(subject.model, due, AHEAD, None)
    slipped = sampled(subject.model, neutral, NEUTRAL_AHEAD, None)
    phrases = stratum.phrases
    return Prompts(
        due,
        token_P,
        neutral,
        np.array([_holds(ids, phrases[t].pieces) for ids, t in zip(told, token_P, strict=True)]),
        np.array([any(_holds(ids, p.pieces) for p in phrases) for ids in slipped]),
        _bits(subject, due, list(told)),
    )


def generated(
    subject: Subject, told: Prompts, phrases: Sequence[Phrase], rows: Rows
) -> dict[str, float]:
    """Rates, and what the model without new rows finds of the decoded text.

    Returns:
        `gen`: share of prompts behind which the word comes, in either form, over that of the model
        without new rows; `gen_z`: the two-proportion z of the two; `gen_token`: share of the words
        that came as the token; `gen_bits`: bits a byte of the decoded text above those of the
        model's own; `hijack`: share of neutral prompts behind which a token comes.
    """
    model = subject.model
    n_rows = model.n_rows
    found = sampled(model, told.due_PT, AHEAD, rows)
    as_token = np.array(
        [(ids == n_rows + t).any() for ids, t in zip(found, told.token_P, strict=True)]
    )
    as_pieces = np.array(
        [_holds(ids, phrases[t].pieces) for ids, t in zip(found, told.token_P, strict=True)]
    )
    came = as_token | as_pieces
    n = len(came)
    both = (came.sum() + told.wrote_P.sum()) / (2 * n)
    spread = np.sqrt(max(both * (1 - both) * 2 / n, 1e-12))
    neutral = sampled(model, told.neutral_PT, NEUTRAL_AHEAD, rows)
    texts = [_in_pieces(ids, phrases, n_rows) for ids in found]
    return {
        "gen": float(came.mean() / max(told.wrote_P.mean(), 1 / n)),
        "gen_rate": float(came.mean()),
        "gen_rate_pieces": float(told.wrote_P.mean()),
        "gen_z": float((came.mean() - told.wrote_P.mean()) / spread),
        "gen_token": float(as_token.sum() / max(1, came.sum())),
        "gen_bits": _bits(subject, told.due_PT, texts) - told.bits,
        "hijack": float((neutral >= n_rows).any(axis=1).mean()),
        "hijack_pieces": float(told.slipped_P.mean()),
    }


def sampled(model: LanguageModel, ids_PT: Ids, ahead: int, rows: Rows | None) -> Ids:
    """Sample `ahead` ids behind each prompt, at temperature 1: [P, ahead]."""
    import torch

    new_N = 0 if rows is None else len(rows.input_ND)
    read = None if rows is None else torch.from_numpy(rows.input_ND.astype(np.float32))
    written = None if rows is None else torch.from_numpy(rows.output_ND.astype(np.float32))
    drawing, drawing_new = (torch.Generator().manual_seed(_SEED + n) for n in (0, 1))
    given, past = torch.from_numpy(ids_PT), None
    out = []
    with torch.inference_mode():
        for _ in range(ahead):
            answer: Any = model.network.base_model(
                inputs_embeds=model.embed(given, read), past_key_values=past, use_cache=True
            )
            past = answer.past_key_values
            state = answer.last_hidden_state[:, -1].float()
            logits = model.logits(state).float()
            noise = torch.rand(logits.shape, generator=drawing)
            if written is not None:
                more = torch.rand((len(logits), new_N), generator=drawing_new)
                products = (state @ written.T).double().numpy()
                new = torch.from_numpy(model.written.logits(products)).float()
                logits, noise = torch.cat([logits, new], 1), torch.cat([noise, more], 1)
            given = (logits - torch.log(-torch.log(noise.clamp(1e-9, 1 - 1e-7)))).argmax(1)[:, None]
            out.append(given[:, 0].numpy())
    return np.stack(out, axis=1)


def _neutral(background: Background) -> Ids:
    """The beginnings of sequences in which no phrase stands."""
    free = background.keep_ST[:, 6 : PAST + NEUTRAL_AHEAD].all(axis=1)
    return background.ids_ST[free][:NEUTRAL, :PAST]


def _holds(ids: Ids, pieces: Sequence[int]) -> bool:
    n = len(pieces)
    return any(tuple(ids[at : at + n].tolist()) == tuple(pieces) for at in range(len(ids) - n + 1))


def _in_pieces(ids: Ids, phrases: Sequence[Phrase], n_rows: int) -> Ids:
    found: list[int] = []
    for i in ids.tolist():
        found += phrases[i - n_rows].pieces if i >= n_rows else [i]
    return np.array(found, np.int64)


def _bits(subject: Subject, past_PT: Ids, texts: Sequence[Ids]) -> float:
    """Bits a byte of texts behind their prompts, as the model without new rows sees them."""
    rows = [np.concatenate([past, text]) for past, text in zip(past_PT, texts, strict=True)]
    ids, lengths = padded(rows)
    lost = nats(subject.model, ids, lengths, None)[:, past_PT.shape[1] - 1 :].sum()
    size = sum(subject.words.size(text.tolist()) for text in texts)
    return float(lost / np.log(2) / max(1, size))
