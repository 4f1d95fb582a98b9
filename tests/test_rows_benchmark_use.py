"""The benchmark of rows: what is generated with them, the probe, trained peers, rates."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")
pytest.importorskip("peft", reason="needs tokengraft[train]")

from benchmarks.rows import generating, probing, trained_peers, whole
from benchmarks.rows.cases import Context, Rows, context
from benchmarks.rows.generating import Prompts, generated, prompts, sampled
from benchmarks.rows.mapped_peers import NotApplicable
from benchmarks.rows.ours_trained import first, passes
from benchmarks.rows.peers import PEERS
from benchmarks.rows.strata import Stratum, choose
from benchmarks.rows.subject import Subject
from benchmarks.rows.trained_peers import (
    ORIGINALS,
    Swept,
    best_rate,
    distillation,
    text_loss,
    trainable_tokens,
)
from benchmarks.rows.whole import nats

from row_subjects import few, small_subject
from tokengraft.training.output_fits import quiet
from tokengraft.training.output_rows import Samples, bias_direction
from tokengraft.training.states import neutral_states


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    monkeypatch.setattr(generating, "NEUTRAL", 8)
    monkeypatch.setattr(generating, "A_TOKEN", 3)
    monkeypatch.setattr(generating, "PAST", 8)
    monkeypatch.setattr(whole, "CHUNKS", 24)
    monkeypatch.setattr(probing, "STEPS", 12)
    monkeypatch.setattr(probing, "BATCH", 2)


@pytest.fixture(scope="module")
def told() -> tuple[Subject, Stratum, Context]:
    with pytest.MonkeyPatch.context() as patch:
        few(patch)
        subject = small_subject()
        stratum = choose(subject, "S2", background=1500, wanted=4)
        return subject, stratum, context(subject, stratum, 0)


@cache
def asked_of(subject: Subject, stratum: Stratum) -> Prompts:
    found = prompts(subject, stratum)
    assert found is not None
    return found


def seldom_written(given: Context, leak: float) -> np.ndarray:
    """Output rows whose tokens have this mean probability in neutral text."""
    model, text = given.subject.model, given.background
    neutral = neutral_states(model, text.ids_ST, text.keep_ST, given.phrases)
    hidden = neutral.hidden_PD.astype(np.float64)
    n = len(hidden)
    samples = Samples(hidden, neutral.log_norm_P, np.zeros(n), np.full(n, 1 / n))
    rng = np.random.default_rng(0)
    row = quiet(model.written, samples, bias_direction(hidden), rng, leak)
    return np.repeat(row[None], len(given.phrases), axis=0)


def test_rows_that_are_never_written_leave_generated_text_as_it_is(
    told: tuple[Subject, Stratum, Context],
) -> None:
    subject, stratum, given = told
    asked = asked_of(subject, stratum)
    n = len(asked.due_PT)
    silent = seldom_written(given, 1e-9)
    rows = Rows(PEERS["mean"](given).input_ND, silent)
    plain = sampled(subject.model, asked.due_PT, 4, None)
    assert plain.shape == (n, 4)
    assert (sampled(subject.model, asked.due_PT, 4, rows) == plain).all()
    figures = generated(subject, asked, stratum.phrases, rows)
    assert figures["gen_token"] == figures["hijack"] == figures["gen_bits"] == 0
    assert figures["gen_rate"] == figures["gen_rate_pieces"]


def test_tokens_written_everywhere_are_found_in_generated_text(
    told: tuple[Subject, Stratum, Context],
) -> None:
    subject, stratum, given = told
    asked = asked_of(subject, stratum)
    read = PEERS["subword-mean"](given).input_ND
    loud = 30 * PEERS["eeve"](given).output_ND
    figures = generated(subject, asked, stratum.phrases, Rows(read, loud))
    assert figures["hijack"] > figures["hijack_pieces"]
    assert figures["hijack"] > 0.5
    assert figures["gen_bits"] > 0.1


def test_a_short_training_makes_uninformed_rows_better(
    told: tuple[Subject, Stratum, Context],
) -> None:
    subject, stratum, given = told
    rows = PEERS["mean"](given)
    course = probing.course(subject, stratum)
    ids, lengths = course.ids_KBT.reshape(24, -1), course.length_KB.ravel()
    assert (ids >= subject.model.n_rows).any()
    after = probing.probed(subject.model, course, rows, tied=False)
    before, trained = (nats(subject.model, ids, lengths, each).sum() for each in (rows, after))
    assert trained < before - 1.0


@pytest.mark.parametrize("best", [2e-3, 0.02, 0.1, 5.0])
def test_a_rate_is_looked_for_beyond_those_that_are_tried_first(best: float) -> None:
    found = best_rate(lambda rate: abs(math.log(rate / best)))
    assert found == pytest.approx(best, rel=0.8)


def test_trainable_tokens_of_the_library_change_new_rows_and_make_text_likelier(
    told: tuple[Subject, Stratum, Context],
) -> None:
    subject, _, given = told
    before = {name: v.clone() for name, v in subject.model.network.state_dict().items()}
    start = PEERS["subword-mean"](given)
    rows = trainable_tokens(given, 3e-3)
    assert all(torch.equal(before[n], v) for n, v in subject.model.network.state_dict().items())
    assert np.abs(rows.input_ND - start.input_ND).max() > 1e-4
    assert np.abs(rows.output_ND - start.output_ND).max() > 1e-4
    assert text_loss(given, rows) < text_loss(given, start)


def test_without_its_authors_code_distillation_is_left_out(
    told: tuple[Subject, Stratum, Context],
) -> None:
    ORIGINALS.pop("token-distillation", None)
    with pytest.raises(NotApplicable, match="code was not given"):
        distillation(third=True, with_text=False)(told[2], 1e-3)


def test_our_passes_cost_no_more_positions_than_a_peers_epochs(
    told: tuple[Subject, Stratum, Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained_peers, "EPOCHS", 2)
    fit = told[2].fit
    whole_windows = 2 * int((fit.length_W - fit.n_pieces_W + 1).sum())
    behind = int((fit.length_W - fit.last_piece()).sum())
    assert passes(told[2]) * behind <= whole_windows < (passes(told[2]) + 1) * behind


def test_a_rate_is_swept_once_for_tokens_in_spreads_of_rows(
    told: tuple[Subject, Stratum, Context],
) -> None:
    given = told[2]
    spread = float(np.nanstd(given.input_VD[given.known_V]))
    tried = []

    def train(context: Context, rate: float) -> Rows:
        tried.append(rate)
        return Rows(np.full((1, 1), rate), np.zeros((1, 1)))

    swept = Swept(train, lambda _, rows: abs(math.log(rows.input_ND[0, 0] / (0.09 * spread))))
    assert swept.choose(given) == pytest.approx(0.1 * spread)
    assert tried == pytest.approx([0.03 * spread, 0.1 * spread, 0.3 * spread])
    assert swept(given).input_ND[0, 0] == pytest.approx(0.1 * spread)
    assert len(tried) == 4


def test_training_starts_beyond_the_last_piece(told: tuple[Subject, Stratum, Context]) -> None:
    _, _, given = told
    start = first(given)
    for n, phrase in enumerate(given.phrases):
        pieces = given.input_VD[list(phrase.pieces)]
        expected = pieces[-1] + (pieces[-1] - pieces.mean(axis=0)) / 2
        assert start.input_ND[n] == pytest.approx(expected)
    assert np.array_equal(start.tied().input_ND, start.input_ND)
