"""Pieces behind many places of few texts: one pass for all of a text's places, and each by itself."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from test_fitting import FAMILIES, small
from tokengraft.training import continuations
from tokengraft.training.continuations import Places, Rests, log_rest, states_behind
from tokengraft.training.language_model import language_model
from tokengraft.training.output_samples import LEAK, _drawn, choose_neutral, inclusion
from tokengraft.training.states import neutral_states
from tokengraft.training.windows import Phrase

torch.set_num_threads(1)


def places(n: int = 17) -> Places:
    rng = np.random.default_rng(3)
    ids_ST = rng.integers(3, 120, (4, 12))
    sequence = rng.integers(0, 3, n)  # nothing is asked of the last text
    at = rng.integers(0, 11, n)
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


def test_states_are_drawn_where_a_phrase_is_likely_and_sums_over_them_are_those_of_all() -> None:
    rng = np.random.default_rng(1)
    n = 900
    chance = np.exp(3 * rng.standard_normal(n))
    chance = 0.3 / n + 0.7 * chance / chance.sum()
    included = inclusion(chance, 60)
    assert included.sum() == pytest.approx(60)
    assert included.max() == 1  # what is likeliest is always taken
    assert np.corrcoef(included[included < 1], chance[included < 1])[0, 1] == pytest.approx(1)
    values = chance * rng.random(n)
    sums, even = [], []
    for _ in range(200):
        drawn = _drawn(included, rng)
        assert len(drawn) == len(set(drawn.tolist()))
        assert abs(len(drawn) - 60) <= 1
        sums.append((values[drawn] / included[drawn]).sum())
        even.append(values[rng.choice(n, 60, replace=False)].mean() * n)
    assert np.mean(sums) == pytest.approx(values.sum(), rel=0.05)
    assert np.std(sums) < 0.3 * np.std(even)


def test_what_is_due_in_drawn_states_is_the_probability_of_all_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And where a row is written, it is asked, though the first piece is unlikely there."""
    model, rng = language_model(small("llama")), np.random.default_rng(2)
    ids = rng.integers(3, 120, (30, 14))
    keep = np.ones(ids.shape, np.bool_)
    keep[:, :3] = keep[:, -1] = False
    phrases = (
        Phrase("a", (10, 11, 12)),
        Phrase("b", (20, 21)),
        Phrase("c", (5, 6), is_described=True),
    )
    neutral = neutral_states(model, ids, keep, phrases)
    every = np.ones(len(neutral.at_P), np.bool_)
    first = choose_neutral(model, neutral, phrases, every, rng)
    for n, phrase in enumerate(phrases[:2]):
        for place, q in list(zip(first[n].place_C, first[n].q_C, strict=True))[::10]:
            text = ids[neutral.sequence_P[place], : neutral.at_P[place] + 1]
            row = torch.from_numpy(np.concatenate([text, phrase.pieces]))[None]
            with torch.no_grad():
                logs = torch.log_softmax(model.network(row).logits[0].double(), dim=-1)
            expected = sum(float(logs[len(text) - 1 + i, p]) for i, p in enumerate(phrase.pieces))
            assert np.log(q) == pytest.approx(expected, abs=1e-3)
    assert set(first[2].q_C.tolist()) == {LEAK}
    where = int(np.argmin(neutral.log_first_NP[0]))
    rows_ND = np.zeros((3, model.width))
    rows_ND[0] = 20 * neutral.hidden_PD[where] / np.square(neutral.hidden_PD[where]).sum()
    rests = Rests(model, neutral, phrases)
    again = choose_neutral(model, neutral, phrases, every, rng, rows_ND, rests=rests)
    assert where in again[0].place_C
    assert again[0].weight_C.sum() == pytest.approx(1)
    asked: list[int] = []

    def counted(*what: Any) -> Any:
        asked.append(len(what[3]))
        return log_rest(*what)

    monkeypatch.setattr(continuations, "log_rest", counted)
    later = choose_neutral(model, neutral, phrases, every, rng, rows_ND, rests=rests)
    fresh = choose_neutral(model, neutral, phrases, every, rng, rows_ND)
    drawn = sum(len(later[n].place_C) for n in range(2))
    assert asked[0] == drawn - sum(
        len(np.intersect1d(later[n].place_C, again[n].place_C)) for n in range(2)
    )
    assert asked[0] < drawn / 2
    for n in range(2):
        _, mine, theirs = np.intersect1d(later[n].place_C, fresh[n].place_C, return_indices=True)
        assert later[n].q_C[mine] == pytest.approx(fresh[n].q_C[theirs], rel=1e-4)
