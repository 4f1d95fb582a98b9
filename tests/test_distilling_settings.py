"""Rows trained in fewer bits, and with states that are computed twice."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, Literal, cast

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
from tokengraft.training import refining, row_losses
from tokengraft.training.distilling import distil_rows
from tokengraft.training.language_model import LanguageModel, language_model
from tokengraft.training.lessons import Keep, Share
from tokengraft.training.partial_passes import FINAL, Aligned, compared
from tokengraft.training.row_losses import Losses
from tokengraft.training.windows import Windows

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


def test_shorter_windows_hold_their_phrase_and_begin_as_they_did() -> None:
    seen = windows(9)
    short = seen.shortened(3, 5, None)
    assert short.after == 5
    places, exists = seen.following()
    fewer, still = short.following()
    for n in range(len(seen)):
        at, of = int(seen.at_W[n]), int(seen.n_pieces_W[n])
        first = max(0, at - 3)
        assert short.at_W[n] == at - first
        kept = short.ids_WT[n, : short.length_W[n]]
        assert np.array_equal(kept, seen.ids_WT[n, first : first + len(kept)])
        assert still[n].sum() == min(5, exists[n].sum())
        assert np.array_equal(
            short.ids_WT[n, fewer[n, : still[n].sum()]],
            seen.ids_WT[n, places[n, : still[n].sum()]],
        )
        assert short.n_pieces_W[n] == of
    begun = Windows(
        seen.token_W, np.roll(seen.ids_WT, 1, axis=1), seen.length_W, seen.at_W + 1, *_rest(seen)
    )
    begun.ids_WT[:, 0] = 1
    assert (begun.shortened(3, None, 1).ids_WT[:, 0] == 1).all()
    assert (begun.shortened(3, None, 1).at_W <= 4).all()
    whole = seen.shortened(None, None, None)  # without what nobody compares
    assert np.array_equal(whole.following()[1], exists)


def _rest(seen: Windows) -> tuple[np.ndarray, int]:
    return seen.n_pieces_W, seen.after


@pytest.mark.parametrize(("passes", "measured"), [(1, 30), (3, 90), (10, 180)])
def test_a_short_training_reads_less_of_windows_and_measures_its_metric_on_fewer(
    monkeypatch: pytest.MonkeyPatch, passes: int, measured: int
) -> None:
    model = language_model(small("llama"))
    told, start = told_of(model, windows(180)), started(model, some_rows(model))
    sizes: list[int] = []
    sensitivity = row_losses.sensitivity

    def spied(model: LanguageModel, group: Aligned, *more: Any) -> Any:
        sizes.append(len(group.exists_WS))
        return sensitivity(model, group, *more)

    monkeypatch.setattr(row_losses, "sensitivity", spied)
    wish = Distillation(writing="keep", passes=passes, before=4, after=2)
    losses = Losses(
        model, told, wish, start=start, seed=0, share=Share(), keep=Keep(None), listen=ignore
    )
    assert sizes == [measured]
    assert losses.evidence.windows.at_W.max() == 4
    assert max(lesson.group.exists_WS.sum(axis=1).max() for lesson in losses.fit) == 2
    assert max(lesson.group.exists_WS.sum(axis=1).max() for lesson in losses.held_out) == 2
