"""Pieces behind many places of few texts: one pass for all of a text's places, and each by itself."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from test_fitting import FAMILIES, small
from tokengraft.training.continuations import Places, states_behind
from tokengraft.training.language_model import language_model

torch.set_num_threads(1)


def places(n: int = 17) -> Places:
    rng = np.random.default_rng(3)
    ids_ST = rng.integers(3, 120, (4, 12))
    sequence, at = (
        rng.integers(0, 3, n),
        rng.integers(0, 11, n),
    )  # nothing is asked of the last text
    return Places(ids_ST, sequence, at, rng.integers(3, 120, (n, 2)))


def plain(network: Any, told: Places) -> np.ndarray:
    """What the network makes of each text up to its place and what is put there."""
    rows = []
    for s, at, ids in zip(told.sequence_P, told.at_P, told.ids_PK, strict=True):
        text = torch.from_numpy(np.concatenate([told.ids_ST[s, : at + 1], ids]))[None]
        with torch.no_grad():
            rows.append(network.base_model(text).last_hidden_state[0, -2:].numpy())
    return np.array(rows)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_put_behind_a_place_sees_its_text_up_to_there_and_itself(name: str) -> None:
    network, told = small(name), places()
    found = states_behind(language_model(network), told)
    assert found == pytest.approx(plain(network, told), abs=1e-3)


def test_places_of_a_text_share_one_pass_where_the_model_takes_a_mask() -> None:
    """And where it does not, the states are the same, by more passes."""
    network, told = small("llama"), places(40)
    model, base = language_model(network), network.base_model
    seen: list[int] = []
    forward = base.forward

    def counted(*, refuses: bool) -> Any:
        def answer(*given: Any, **named: Any) -> Any:
            mask = named.get("attention_mask")
            if mask is not None and mask.ndim == 4:
                if refuses:
                    raise ValueError("this mask is not known here")
                seen.append(named["inputs_embeds"].shape[0])
            return forward(*given, **named)

        return answer

    base.forward = counted(refuses=False)
    shared = states_behind(model, told)
    assert max(seen) == 3  # three texts, forty places
    base.forward = counted(refuses=True)
    alone = states_behind(model, told)
    base.forward = forward
    expected = plain(network, told)
    assert shared == pytest.approx(expected, abs=1e-3)
    assert alone == pytest.approx(expected, abs=1e-3)
