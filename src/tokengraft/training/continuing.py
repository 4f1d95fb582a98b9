"""Text that goes on as the model itself goes on: sampled at temperature 1, pieces of text alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tokengraft.training.language_model import LanguageModel
from tokengraft.training.windows import Ids

_AT_ONCE = 256


def continued(
    model: LanguageModel, texts: Sequence[Ids], n_more: int, seed: int, *, without: Ids
) -> list[Ids]:
    """Texts of one length with `n_more` sampled ids behind them; always the same for a seed.

    Args:
        without: ids that are not written, such as those that end a text.

    Raises:
        ValueError, RuntimeError: of the model's library, where the model cannot generate.
    """
    import torch

    device = model.device
    generator = torch.Generator(device=device).manual_seed(seed)
    unwritten = torch.from_numpy(without).to(device)
    found: list[Ids] = []
    for first in range(0, len(texts), _AT_ONCE):
        ids = torch.from_numpy(np.stack(texts[first : first + _AT_ONCE])).to(device)
        with torch.inference_mode():
            past, given = None, ids
            for _ in range(n_more):
                answer = model.network.base_model(
                    input_ids=given, past_key_values=past, use_cache=True
                )
                logits = model.logits(answer.last_hidden_state[:, -1]).float()
                logits[:, unwritten] = -torch.inf
                chances = torch.softmax(logits, dim=-1)
                drawn = torch.multinomial(chances, 1, generator=generator)
                ids = torch.cat([ids, drawn], dim=1)
                past = getattr(answer, "past_key_values", None)
                given = ids if past is None else drawn  # some models keep no keys
        found += list(ids.cpu().numpy())
    return found
