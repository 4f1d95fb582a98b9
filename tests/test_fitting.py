"""Rows fitted without a backward pass: closed forms against what they must give, then on a model."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
transformers = pytest.importorskip("transformers", reason="needs tokengraft[train]")

from benchmarks.rows.cases import context
from benchmarks.rows.ours import evidence
from benchmarks.rows.strata import choose
from benchmarks.rows.subject import Subject
from tokenizers import Tokenizer

import tiny
from row_subjects import few, small_subject
from tokengraft import flow
from tokengraft.errors import MissingExtra, UnsupportedFormat
from tokengraft.formats.loading import load
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training import fitting, output_fits, refining
from tokengraft.training.continuations import log_rest
from tokengraft.training.input_rows import map_rows
from tokengraft.training.language_model import Written, language_model, load_model
from tokengraft.training.output_rows import (
    Samples,
    bias_direction,
    calibrated,
    divergence,
    slopes,
    solve,
)
from tokengraft.training.resplitting import without_merge
from tokengraft.training.row_files import save_rows
from tokengraft.training.states import due_states, neutral_states
from tokengraft.training.windows import Phrase, Windows
from tokengraft.training.without_corpus import rows_without_corpus

PLAIN = Written()
CAPPED = Written(scale=0.5, limit=20.0)


@pytest.fixture(autouse=True)
def few_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)


# ── closed forms ─────────────────────────────────────────────────────────────────────────────────


def samples(n: int, width: int, written: Written, seed: int = 0) -> tuple[Samples, np.ndarray]:
    """States in which a known row gives a token exactly its due."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((n, width)) + 1.0
    row = rng.standard_normal(width) / 2
    norms = 4 + rng.standard_normal(n)
    q = 1 / (1 + np.exp(-(written.logits(hidden @ row) - norms)))
    return Samples(hidden, norms, q, np.full(n, 1 / n)), row


@pytest.mark.parametrize("written", [PLAIN, CAPPED], ids=["plain", "capped"])
@pytest.mark.parametrize(("n", "width"), [(400, 12), (30, 48)], ids=["primal", "dual"])
def test_a_row_that_exists_is_found(written: Written, n: int, width: int) -> None:
    told, row = samples(n, width, written)
    start = np.zeros(width)
    found = solve(written, told, start, np.eye(width), 1e-6)
    assert divergence(written, told, found) < 1e-5 * divergence(written, told, start)
    if n > width:
        assert found == pytest.approx(row, abs=1e-2)


def test_both_systems_give_the_same_row() -> None:
    told, _ = samples(30, 48, PLAIN)
    twice = Samples(
        *(np.concatenate([a, a]) for a in (told.hidden_CD, told.log_norm_C, told.q_C)),
        np.concatenate([told.weight_C, told.weight_C]) / 2,
    )
    dual = solve(PLAIN, told, np.zeros(48), np.eye(48), 0.1)
    primal = solve(PLAIN, twice, np.zeros(48), np.eye(48), 0.1)  # 60 states: more than dimensions
    assert primal == pytest.approx(dual, abs=1e-6)


@pytest.mark.parametrize("written", [PLAIN, CAPPED], ids=["plain", "capped"])
def test_slopes_are_those_of_the_divergence(written: Written) -> None:
    told, row = samples(50, 6, written)
    at = row + 0.3
    gradient, _ = slopes(written, told, at)
    step = 1e-6
    for n in range(6):
        moved = at.copy()
        moved[n] += step
        back = at.copy()
        back[n] -= step
        rise = divergence(written, told, moved) - divergence(written, told, back)
        assert gradient[n] == pytest.approx(rise / (2 * step), rel=1e-4, abs=1e-9)


def test_a_strong_prior_is_kept_and_a_weak_one_left() -> None:
    told, _ = samples(400, 12, PLAIN)
    prior = np.full(12, 0.1)
    assert solve(PLAIN, told, prior, np.eye(12), 1e9) == pytest.approx(prior, abs=1e-6)
    assert np.abs(solve(PLAIN, told, prior, np.eye(12), 1e-6) - prior).max() > 0.1


@pytest.mark.parametrize("written", [PLAIN, CAPPED], ids=["plain", "capped"])
def test_a_calibrated_row_takes_what_is_due_in_all(written: Written) -> None:
    told, row = samples(400, 12, written)
    bias = bias_direction(told.hidden_CD)
    assert float((told.hidden_CD @ bias).mean()) == pytest.approx(1.0)
    found = calibrated(written, told, row + 0.5, bias)
    taken = 1 / (1 + np.exp(-told.log_odds(written, found)))
    assert float(taken.mean()) == pytest.approx(float(told.q_C.mean()), rel=1e-6)


def test_a_budget_for_leaks_is_kept_on_other_states_and_says_what_harm_it_does() -> None:
    told, _ = samples(4000, 64, PLAIN)
    states = told.hidden_CD + 2.0
    here = Samples(states[::2], told.log_norm_C[::2], told.q_C[::2], told.weight_C[::2] * 2)
    there = states[1::2], told.log_norm_C[1::2]
    bias = bias_direction(here.hidden_CD)
    for budget in (1e-6, 1e-4):
        rng = np.random.default_rng(1)
        rows = [output_fits.quiet(PLAIN, here, bias, rng, budget) for _ in range(2)]
        odds = np.exp(there[0] @ np.array(rows).T - there[1][:, None])
        assert float((odds / (1 + odds)).mean()) == pytest.approx(budget, rel=0.3)
        assert float(np.log1p(odds.sum(axis=1)).mean()) < 3 * budget
        assert np.abs(rows[0] - rows[1]).max() > 1e-3  # two such tokens are told apart


def test_products_and_logits_are_inverse() -> None:
    products = np.linspace(-30, 30, 7)
    assert CAPPED.products(CAPPED.logits(products)) == pytest.approx(products)
    assert np.isfinite(CAPPED.products(np.array([1e3]))).all()


# ── models ───────────────────────────────────────────────────────────────────────────────────────

SHAPE: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES = {
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM"),  # soft-capping, a scaled look-up, tied
    "cohere": ("CohereConfig", "CohereForCausalLM"),  # a scaled product
    "granite": ("GraniteConfig", "GraniteForCausalLM"),  # a divided one, and other multipliers
    "phi": ("PhiConfig", "PhiForCausalLM"),  # a bias
    "neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM"),  # other names, untied
    "llama": ("LlamaConfig", "LlamaForCausalLM"),
}


def small(name: str) -> Any:
    torch.manual_seed(0)
    config, model = (getattr(transformers, part) for part in FAMILIES[name])
    settings = {"logits_scaling": 3.0} if name == "granite" else {}
    network = model(config(**SHAPE, **settings)).eval()
    for matrix in dict.fromkeys((network.get_input_embeddings(), network.get_output_embeddings())):
        torch.nn.init.normal_(matrix.weight, std=1.0)
    return network


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_beside_a_familys_own_are_read_and_written_as_it_does(name: str) -> None:
    network = small(name)
    model = language_model(network)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        expected = network(input_ids=ids).logits[0]
        as_new = torch.tensor([[5, model.n_rows, 7, 8]])
        (hidden,) = model.hidden(as_new, torch.from_numpy(model.input_VD()[[6]]))
    assert model.logits(hidden)[0].numpy() == pytest.approx(expected.numpy(), abs=1e-4)
    products = hidden[0].numpy().astype(float) @ model.output_VD()[9]
    bias = 0.0 if model.written.bias_V is None else float(model.written.bias_V[9])
    ours = model.written.logits(products + bias / model.written.scale)
    assert ours == pytest.approx(expected[:, 9].numpy(), abs=1e-4)


def test_a_model_that_does_more_with_its_rows_is_refused() -> None:
    network = small("llama")
    plain = network.lm_head.forward
    network.lm_head.forward = lambda h: plain(h)  # noqa: PLW0108 - replaced below
    network.forward = _doubled(network.forward)
    with pytest.raises(UnsupportedFormat, match="does more with its rows") as caught:
        language_model(network)
    assert "differ by" in caught.value.detail
    assert "tokengraft plan" in caught.value.hint


def _doubled(forward: Any) -> Any:
    def answer(*arguments: Any, **settings: Any) -> Any:
        found = forward(*arguments, **settings)
        found.logits = found.logits * 2
        return found

    return answer


def test_a_model_without_an_output_matrix_is_refused() -> None:
    config = transformers.LlamaConfig(**SHAPE)
    with pytest.raises(UnsupportedFormat, match="no output matrix"):
        language_model(transformers.LlamaModel(config))


def test_without_the_extra_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra) as caught:
        load_model(tmp_path)
    assert caught.value.hint == "pip install 'tokengraft[train]'"


def test_what_is_due_is_the_product_of_the_pieces_probabilities() -> None:
    network = small("llama")
    model = language_model(network)
    rng = np.random.default_rng(0)
    ids = rng.integers(3, 120, (5, 14))
    phrases = (Phrase("a", (10, 11, 12)), Phrase("b", (20, 21), without=33))
    tokens = np.array([0, 0, 1, 1, 0])
    for row, token in zip(ids, tokens, strict=True):
        row[6 : 6 + len(phrases[token].pieces)] = phrases[token].pieces
    sizes = np.array([len(phrases[t].pieces) for t in tokens])
    windows = Windows(tokens, ids, np.full(5, 14), np.full(5, 6), sizes, 4)
    due = due_states(model, windows, phrases)
    with torch.no_grad():
        logits = network(input_ids=torch.from_numpy(ids)).logits.double()
    logits[2:4, :, 33] = -torch.inf
    logs = torch.log_softmax(logits, dim=-1)
    for n, token in enumerate(tokens):
        steps = range(len(phrases[token].pieces))
        expected = sum(float(logs[n, 5 + s, ids[n, 6 + s]]) for s in steps)
        assert due.log_q_W[n] == pytest.approx(expected, abs=1e-4)
    keep = np.zeros(ids.shape, bool)
    keep[:, 5] = True
    neutral = neutral_states(model, ids, keep, phrases)
    first = [neutral.log_first(model, phrases[t], t)[n] for n, t in enumerate(tokens)]
    assert first == pytest.approx(due.log_first_W, abs=1e-4)
    rest = log_rest(model, neutral, phrases, tokens, np.arange(5))
    assert rest + np.array(first) == pytest.approx(due.log_q_W, abs=1e-4)


# ── maps and steps ───────────────────────────────────────────────────────────────────────────────


def test_a_word_without_its_merge_is_what_the_library_makes_of_it() -> None:
    subject = small_subject()
    told = json.loads(subject.tokenizer.to_str())
    rng = np.random.default_rng(0)
    words = [w for w in sorted(subject.tokenizer.get_vocab()) if re.fullmatch("Ġ[a-z]{4,}", w)]
    for word in rng.choice(words, 6, replace=False).tolist():
        merges = [m for m in told["model"]["merges"] if "".join(_pair(m)) != word]
        changed = {**told, "model": {**told["model"], "merges": merges}}
        library = Tokenizer.from_str(json.dumps(changed))
        text = word.replace("Ġ", " ")
        assert list(without_merge(word, subject.ranks)) == library.encode(text).tokens


def _pair(merge: Any) -> list[str]:
    return merge.split(" ") if isinstance(merge, str) else list(merge)


def test_a_map_that_is_there_is_learned_and_noise_is_not() -> None:
    model = language_model(small("llama"))
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((120, 32))
    pairs = [tuple(map(int, rng.choice(np.arange(3, 60), 2, replace=False))) for _ in range(50)]
    known = [Phrase(str(n), p, without=60 + n) for n, p in enumerate(pairs)]
    for phrase in known:
        rows[phrase.without] = 0.8 * rows[phrase.pieces[0]]
    windows = _bare(known)
    new = [Phrase("new", (5, 9))]
    found = map_rows(model, rows, (known, windows), (new, _bare(new)))
    assert found.error < 0.8 * found.error_of_composition
    before = np.linalg.norm(found.composed_ND[0] - 0.8 * rows[5])
    assert np.linalg.norm(found.rows_ND[0] - 0.8 * rows[5]) < before
    for phrase in known:  # rows that have nothing to do with the pieces
        rows[phrase.without] = rows[list(phrase.pieces)].mean(axis=0)
        rows[phrase.without] += 3 * rng.standard_normal(32)
    noise = map_rows(model, rows, (known, windows), (new, _bare(new)))
    assert noise.error <= noise.error_of_composition
    gone = np.linalg.norm(noise.rows_ND[0] - noise.composed_ND[0])
    assert gone < 1.0  # of noise of size 17, next to nothing is left


def _bare(phrases: list[Phrase]) -> Windows:
    ids = np.array([[1, *p.pieces, 2, 2] for p in phrases])
    n = len(phrases)
    pieces = np.array([len(p.pieces) for p in phrases])
    return Windows(np.arange(n), ids, np.full(n, ids.shape[1]), np.ones(n, int), pieces, 2)


@pytest.fixture(scope="module")
def told() -> tuple[Subject, Any]:
    with pytest.MonkeyPatch.context() as patch:
        few(patch)
        subject = small_subject()
        return subject, context(subject, choose(subject, "S2", background=3000, wanted=3), 0)


def test_rows_are_fitted_and_the_model_is_left_alone(
    told: tuple[Subject, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refining, "ROUNDS", 2)
    monkeypatch.setattr(refining, "PROBES", 1.0)
    subject, given = told
    weights = subject.model.network.state_dict()
    before = {name: value.clone() for name, value in weights.items()}
    shown = evidence(given)
    found = fitting.fit_rows(subject.model, shown, (given.input_VD, given.output_VD))
    assert all(torch.equal(before[name], value) for name, value in weights.items())
    assert found.texts == tuple(p.text for p in given.phrases)
    assert not found.is_tied
    assert found.figures["loss_after"] < found.figures["loss_before"]
    for made in found.made:
        assert made.n_contexts >= 4
        assert made.leak is not None
        assert made.harm_nats is not None
        assert made.harm_nats < 1e-3
    mean = given.mean_of_all(given.input_VD)
    read = refining.judged(subject.model, shown.windows, shown.phrases, found.input_ND)
    uninformed = refining.judged(subject.model, shown.windows, shown.phrases, mean)
    assert (read <= uninformed + 1e-9).all()


def test_a_row_set_holds_finite_rows_of_different_tokens() -> None:
    made = (RowsMade("mean", "solved"),) * 2
    rows = np.zeros((2, 4))
    kept = RowSet(("a", "b"), rows, None, made)
    assert kept.is_tied
    assert kept.row("b")[0] is not None
    for texts, values in ((("a", "a"), rows), (("a", "b"), np.full((2, 4), np.nan))):
        with pytest.raises(AssertionError):
            RowSet(texts, values, None, made)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_a_row_set_goes_through_a_plan_into_a_folder(tmp_path: Path, *, tied: bool) -> None:
    base = tiny.build(tmp_path / "base", tied=tied, dtype="F32")
    rng = np.random.default_rng(3)
    read, written = rng.normal(size=(2, tiny.D)), rng.normal(size=(2, tiny.D))
    made = (RowsMade("refined", "solved", n_contexts=8),) * 2
    rows = RowSet(("<|a|>", "<|b|>"), read, None if tied else written, made)
    save_rows(rows, tmp_path / "rows.safetensors")
    adds = "".join(f"[[add]]\ntext = {json.dumps(text)}\n" for text in rows.texts)
    recipe = tmp_path / "recipe.toml"
    text = f'version = 1\n{adds}[rows]\nvalues = "rows.safetensors"\n'
    recipe.write_text(text, encoding="utf-8")
    flow.apply(recipe, base=str(base), out=tmp_path / "out")
    old = load(base).tokenizer
    assert old is not None
    names = {"model.embed_tokens.weight": read, **({} if tied else {"lm_head.weight": written})}
    for name, values in names.items():
        found = tiny.row_bytes(tmp_path / "out", name)[old.n_tokens : old.n_tokens + 2]
        assert found == [row.astype(np.float32).tobytes() for row in values]


def test_without_a_corpus_the_first_piece_is_biased_by_what_the_others_are_worth() -> None:
    network = small("llama")
    model = language_model(network)
    phrases = (
        Phrase("a", (10, 11, 12)),
        Phrase("b", (20,)),
        Phrase("c", (5, 6), is_described=True),
    )
    both = (model.input_VD().astype(float), model.output_VD().astype(float))
    found = rows_without_corpus(model, phrases, both, np.arange(3, 120), bos=1)
    assert found.output_ND is not None
    with torch.no_grad():
        logits = network(input_ids=torch.tensor([[1, 10, 11, 12]])).logits[0].double()
        logs = torch.log_softmax(logits, dim=-1)
        (alone,) = model.hidden(torch.tensor([[1, n] for n in range(3, 120)]))
    rest = float(logs[1, 11] + logs[2, 12])
    states = alone[:, 1].numpy().astype(float)
    moved = states @ (found.output_ND[0] - both[1][10])
    assert float(moved.mean()) == pytest.approx(rest, abs=1e-3)
    assert found.output_ND[1] == pytest.approx(both[1][20])  # one piece: nothing else is due
    norms = torch.logsumexp(model.logits(alone[:, 1]).double(), dim=-1).detach().numpy()
    odds = np.exp(states @ found.output_ND[2] - norms)
    # States of an untrained model have little in common: 1e-6 is not quite within a bias's reach.
    assert float((odds / (1 + odds)).mean()) < 2e-6
    tied = language_model(small("gemma2"))
    rows = tied.input_VD().astype(float)
    assert rows_without_corpus(tied, phrases, (rows, rows), np.arange(3, 120), 1).is_tied
