"""Where a row that does both jobs begins, and how far it is moved."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from benchmarks.rows.cases import context
from benchmarks.rows.ours import evidence
from benchmarks.rows.strata import choose

from row_subjects import few, small_subject
from tokengraft.recipes import Distillation
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training import distil_training, distilling
from tokengraft.training.fitting import COMPROMISE
from tokengraft.training.input_rows import beyond_last
from tokengraft.training.output_fits import prepare_writing
from tokengraft.training.output_rows import divergence

torch.set_num_threads(1)


def test_one_row_with_two_jobs_begins_where_it_is_written_as_is_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few(monkeypatch)
    subject = small_subject()
    given = context(subject, choose(subject, "S2", background=3000, wanted=3), 0)
    told = evidence(given, has_known=False)
    writing = prepare_writing(subject.model, told, given.output_VD, np.random.default_rng(0))
    read_ND = beyond_last(given.input_VD, given.phrases)
    made = tuple(RowsMade("start", how) for how in ("start", COMPROMISE, "start"))
    start = RowSet(tuple(p.text for p in given.phrases), read_ND, None, made)
    losses: Any = SimpleNamespace(
        has_both=True, writing=writing, model=subject.model, evidence=told
    )
    begun_ND = distilling._begun(losses, start)
    assert np.array_equal(begun_ND[1], read_ND[1])  # fitted to both jobs before
    lost = [
        sum(divergence(subject.model.written, writing.fit[n], rows[n]) for n in (0, 2))
        for rows in (begun_ND, given.mean_of_all(given.input_VD), read_ND)
    ]
    assert lost[0] < min(lost[1:]) / 2
    losses.has_both = False
    assert np.array_equal(distilling._begun(losses, start), read_ND)


@pytest.mark.parametrize(
    ("writing", "tied", "is_told"),
    [("solve", True, False), ("solve", False, True), ("keep", True, True)],
)
def test_a_stage_begins_beyond_the_last_piece_unless_the_row_is_written_too(
    writing: Any, *, tied: bool, is_told: bool
) -> None:
    rng = np.random.default_rng(0)
    old_VD, given_ND = rng.normal(size=(9, 4)), rng.normal(size=(2, 4))
    phrases = (
        distil_training.Phrase("ab", (3, 5)),
        distil_training.Phrase("<|c|>", (1, 2), is_described=True),
    )
    start = RowSet(("ab", "<|c|>"), given_ND, None, (RowsMade("start", "start"),) * 2)
    told: Any = SimpleNamespace(phrases=phrases)
    task = distil_training.Task(Path(), told, start, Distillation(writing=writing), 0)
    model: Any = SimpleNamespace(tied=tied, input_VD=lambda: old_VD)
    found = distil_training._begun(model, task)
    assert (found is not None) == is_told
    if found is not None:
        assert found[0] == pytest.approx(old_VD[5] + (old_VD[5] - old_VD[3]) / 4)
        assert np.array_equal(found[1], given_ND[1])


@pytest.mark.parametrize(
    ("has_both", "rate", "used"), [(False, 0.5, 0.5), (True, 0.5, 0.1), (True, 0.05, 0.05)]
)
def test_a_row_with_both_jobs_moves_little(*, has_both: bool, rate: float, used: float) -> None:
    run: Any = object.__new__(distilling._Run)
    rows = np.random.default_rng(0).normal(size=(9, 4))
    run.model = SimpleNamespace(input_VD=lambda: rows)
    run.evidence = SimpleNamespace(trained=np.arange(9))
    run.wish, run.begin_ND = Distillation(rate=rate), rows[:2]
    run.losses = SimpleNamespace(has_both=has_both)
    assert run._descent().rate == pytest.approx(used)
