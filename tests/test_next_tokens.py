"""The loss of next tokens beside distillation: against plain losses with gradients, and trained with."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from row_subjects import Stopped, stopped_after
from test_distilling import PHRASES, some_rows, started, told_of, windows
from test_fitting import small
from tokengraft.errors import UnsupportedFormat
from tokengraft.events import ignore
from tokengraft.recipes import Distillation
from tokengraft.training import distilling
from tokengraft.training.distilling import distil_rows
from tokengraft.training.keeping_on import STATE
from tokengraft.training.language_model import LanguageModel, language_model
from tokengraft.training.lessons import Keep, Lesson, Share, lessons
from tokengraft.training.next_tokens import NextTokens
from tokengraft.training.partial_passes import FINAL
from tokengraft.training.row_losses import Losses
from tokengraft.training.windows import Phrase, Windows

torch.set_num_threads(1)


def model_of(*, tied: bool) -> LanguageModel:
    """A model of random weights, with one matrix or two."""
    model = language_model(small("llama"))
    if tied:
        model.head.weight = model.embedding.weight
        model = replace(model, tied=True)
    return model


def plain_losses(
    model: LanguageModel, seen: Windows, read: Any, written: Any, phrases: tuple[Phrase, ...]
) -> Any:
    """Mean cross-entropy of each token's windows, by logits of old and new rows side by side."""
    ids, lengths = seen.merged(model.n_rows), seen.length_W - seen.n_pieces_W + 1
    losses = [torch.zeros(()) for _ in phrases]
    counts = np.bincount(seen.token_W, minlength=len(phrases))
    for row, length, at, token in zip(ids, lengths, seen.at_W, seen.token_W, strict=True):
        given = torch.from_numpy(row[:length])[None]
        (hidden,) = model.hidden(given, read)
        logits = torch.cat([model.logits(hidden), hidden @ written.T], dim=-1)[0, :-1]
        each = torch.nn.functional.cross_entropy(logits, given[0, 1:], reduction="none")
        end = int(at) + seen.after  # places that are compared end there
        counted = torch.arange(len(each)) < end
        if not model.tied:
            counted &= torch.arange(len(each)) >= int(at)
        elif phrases[token].is_described:
            counted[int(at) - 1] = False
        losses[token] = losses[token] + each[counted].mean() / int(counts[token])
    return torch.stack(losses)


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_it_is_the_plain_loss_with_its_gradient(*, tied: bool) -> None:
    model = model_of(tied=tied)
    phrases = (*PHRASES[:2], replace(PHRASES[2], is_described=True))
    seen, rows_ND = windows(12), some_rows(model)
    output_ND = None if tied else some_rows(model) * 0.5
    (lesson,) = lessons(
        model,
        seen,
        phrases,
        (1,),
        last=FINAL,
        size=99,
        share=Share(),
        keep=Keep(None),
        has_before=tied,
    )
    rows = torch.from_numpy(rows_ND.astype(np.float32)).requires_grad_()
    solved = None if output_ND is None else torch.from_numpy(output_ND.astype(np.float32))
    text = NextTokens(model, phrases, solved)
    total, loss_N = text(lesson, lesson.states(model, rows, (1,), FINAL)[2], rows)
    (slope,) = torch.autograd.grad(total, rows)
    again = torch.from_numpy(rows_ND.astype(np.float32)).requires_grad_()
    expected = plain_losses(model, seen, again, again if solved is None else solved, phrases)
    (plain,) = torch.autograd.grad(expected.sum(), again)
    assert loss_N == pytest.approx(expected.detach().numpy(), rel=1e-4)
    assert float(total.detach()) == pytest.approx(float(expected.detach().sum()), rel=1e-4)
    assert torch.allclose(slope, plain, atol=1e-4)


def losses_of(model: LanguageModel, wish: Distillation) -> Losses:
    told, start = told_of(model, windows(12)), started(model, some_rows(model))
    return Losses(
        model, told, wish, start=start, seed=0, share=Share(), keep=Keep(None), listen=ignore
    )


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_auto_makes_both_losses_count_alike_and_a_number_weighs(*, tied: bool) -> None:
    model, rows = model_of(tied=tied), some_rows(model_of(tied=tied))
    wish = Distillation(writing="keep", batch=99)
    alone = losses_of(model, wish)
    told = alone.losses(alone.fit, rows)
    assert (told.text_N == 0).all()
    found = {}
    for weight in ("auto", 1.0, 3.0):
        both = losses_of(model, wish.model_copy(update={"cross_entropy": weight}))
        found[weight] = both.losses(both.fit, rows)
    text_N = found[1.0].text_N
    assert (text_N > 0).all()
    assert found[1.0].loss_N == pytest.approx(told.loss_N + text_N, rel=1e-4)
    text_ND = found[1.0].slope_ND - told.slope_ND
    alpha = told.loss_N.sum() / text_N.sum()
    for weight, share in (("auto", alpha), (3.0, 3.0)):
        assert found[weight].loss_N == pytest.approx(told.loss_N + share * text_N, rel=1e-4)
        expected = told.slope_ND + share * text_ND
        assert found[weight].slope_ND == pytest.approx(expected, abs=1e-4)
    assert found["auto"].loss_N.sum() == pytest.approx(2 * told.loss_N.sum(), rel=1e-4)


@pytest.mark.parametrize("weight", ["auto", 0.5])
def test_rows_are_trained_with_it_and_a_stopped_training_ends_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: Any
) -> None:
    monkeypatch.setattr(distilling, "SAVE_SECONDS", 0.0)

    model = model_of(tied=True)
    told, start = told_of(model, windows(24)), started(model, some_rows(model))
    wish = Distillation(writing="keep", passes=6, batch=8, layer=1, cross_entropy=weight)
    whole = distil_rows(model, told, start, wish, work=tmp_path / "whole")
    with pytest.raises(Stopped):
        distil_rows(model, told, start, wish, work=tmp_path / "stopped", listen=stopped_after(3))
    assert (tmp_path / "stopped" / STATE).is_file()
    again = distil_rows(model, told, start, wish, work=tmp_path / "stopped")
    assert np.array_equal(whole.input_ND, again.input_ND)
    curve, same = (
        [json.loads(line)["cross_entropy"] for line in path.read_text().splitlines()]
        for path in (tmp_path / "whole" / "curves.jsonl", tmp_path / "stopped" / "curves.jsonl")
    )
    assert same == curve
    assert curve[-1] < curve[0]
    without = distil_rows(model, told, start, wish.model_copy(update={"cross_entropy": 0.0}))
    assert not np.allclose(without.input_ND, whole.input_ND)


def test_two_shares_of_a_lesson_are_the_whole() -> None:
    """As two processes have it: sums of both are what one finds, alpha included."""
    model, rows = model_of(tied=True), some_rows(model_of(tied=True))
    wish = Distillation(writing="keep", batch=99, cross_entropy="auto")
    whole = losses_of(model, wish)
    expected = whole.losses(whole.fit, rows)
    parts = [lessons_of(model, rank) for rank in (0, 1)]
    tensor = torch.from_numpy(rows.astype(np.float32))
    with torch.no_grad():
        text_N = sum(
            whole.text(part, part.states(model, tensor, (1,), FINAL)[2], tensor)[1]
            for part in parts
            if whole.text is not None
        )
    assert text_N == pytest.approx(expected.text_N, rel=1e-4)


def lessons_of(model: LanguageModel, rank: int) -> Lesson:
    (lesson,) = lessons(
        model,
        windows(12),
        PHRASES,
        (1,),
        last=FINAL,
        size=99,
        share=Share(rank, 2),
        keep=Keep(None),
        has_before=True,
    )
    return lesson


def test_a_model_with_capped_logits_is_refused_before_anything_is_trained() -> None:
    model = language_model(small("gemma2"))
    with pytest.raises(UnsupportedFormat, match="soft-capped"):
        losses_of(model, Distillation(writing="keep", cross_entropy=1.0))
