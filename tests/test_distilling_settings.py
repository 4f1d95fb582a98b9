"""Rows trained in fewer bits, and with states that are computed twice."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Literal, cast

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from benchmarks.rows.cases import context
from benchmarks.rows.ours import evidence
from benchmarks.rows.strata import choose

from row_subjects import few, small_subject
from test_distilling import some_rows, started, told_of, windows
from test_fitting import small
from tokengraft.events import ignore
from tokengraft.recipes import Distillation
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training import refining
from tokengraft.training.distilling import distil_rows
from tokengraft.training.language_model import LanguageModel, language_model
from tokengraft.training.lessons import Keep, Share
from tokengraft.training.partial_passes import FINAL, compared
from tokengraft.training.row_losses import Losses

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("n_layers", "layers"),
    [(1, (FINAL,)), (2, (1, FINAL)), (4, (3, FINAL)), (5, (4, FINAL)), (36, (27, FINAL))],
)
def test_states_after_three_quarters_of_the_layers_and_after_all_are_compared(
    n_layers: int, layers: tuple[int, ...]
) -> None:
    class Deep:
        def __init__(self) -> None:
            self.n_layers = n_layers

    assert compared(Distillation(), cast("LanguageModel", Deep())) == layers


@pytest.mark.parametrize("metric", ["fisher", "plain"])
def test_what_is_compared_after_two_layers_is_the_sum_of_both(
    metric: Literal["fisher", "plain"],
) -> None:
    model = language_model(small("llama"))
    told, start, rows = told_of(model, windows(24)), started(model, some_rows(model)), []
    for layer in (None, 1, -1):
        wish = Distillation(layer=layer, metric=metric, writing="keep")
        losses = Losses(
            model, told, wish, start=start, seed=0, share=Share(), keep=Keep(None), listen=ignore
        )
        found = losses.losses(losses.fit, start.input_ND)
        assert (found.loss_N > 0).all()
        rows.append(np.column_stack([found.loss_N, found.slope_ND]))
    assert rows[0] == pytest.approx(rows[1] + rows[2], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("layer", [None, -1])
def test_gradient_checkpointing_gives_the_same_rows(layer: int | None) -> None:
    model = language_model(small("llama"))
    told, start = told_of(model, windows(24)), started(model, some_rows(model))
    rows = [
        distil_rows(
            model,
            told,
            start,
            Distillation(layer=layer, writing="keep", passes=4, gradient_checkpointing=how),
        ).input_ND
        for how in (False, True)
    ]
    assert np.abs(rows[0] - start.input_ND).max() > 0.1
    assert rows[1] == pytest.approx(rows[0], abs=1e-3)
    assert not any(layer.gradient_checkpointing for layer in model.network.base_model.layers)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_rows_are_distilled_in_bfloat16(monkeypatch: pytest.MonkeyPatch, *, tied: bool) -> None:
    """What 8 bits find is near to what 24 find, both jobs included."""
    few(monkeypatch)
    subject = small_subject()
    given = context(subject, choose(subject, "S2", background=3000, wanted=3), 0)
    told, rows = evidence(given), given.pieces_mean(given.input_VD)
    texts = tuple(p.text for p in given.phrases)
    output = None if tied else given.pieces_mean(given.output_VD)
    start = RowSet(texts, rows, output, (RowsMade("mean", "mean"),) * len(rows))
    network = copy.deepcopy(subject.model.network).to(torch.bfloat16)
    after = []
    for plain in (subject.model, language_model(network)):
        model = replace(plain, tied=True) if tied else plain
        found = distil_rows(model, told, start, Distillation(passes=6))
        after.append(refining.judged(subject.model, told.windows, told.phrases, found.input_ND))
        assert found.figures["distil_loss_after"] < found.figures["distil_loss_before"]
    before = refining.judged(subject.model, told.windows, told.phrases, rows)
    assert next(network.parameters()).dtype == torch.bfloat16
    if not tied:
        gained = [float((before - one).sum()) for one in after]
        assert gained[1] == pytest.approx(gained[0], rel=0.3)
