"""What a distilled row must show before anything is claimed of it: meaning, and only its own."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from benchmarks.rows.cases import context
from benchmarks.rows.ours import evidence
from benchmarks.rows.strata import choose
from benchmarks.rows.subject import TEST, load_subject

from tokengraft.recipes import Distillation
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training.distilling import distil_rows
from tokengraft.training.refining import judged


def test_rows_of_descriptions_mean_their_own_description_and_no_other(data: Path) -> None:
    torch.set_num_threads(1)
    text = next((data / "text").rglob("tiny_stories_944k.txt"))
    subject = load_subject(data / "models" / "stories260K", [text], most_documents=600)
    stratum = choose(subject, "S3", background=3000, wanted=8)
    given = context(subject, stratum, 0)
    told = evidence(given)
    made = (RowsMade("mean", "mean"),) * len(told.phrases)
    texts = tuple(phrase.text for phrase in told.phrases)
    start = RowSet(texts, given.pieces_mean(given.input_VD), None, made)
    rows = distil_rows(subject.model, told, start, Distillation(writing="keep", passes=6)).input_ND

    def loss(rows_ND: np.ndarray) -> float:
        return float(judged(subject.model, stratum.windows[TEST], told.phrases, rows_ND).sum())

    uninformed = loss(given.mean_of_all(given.input_VD))
    assert 1 - loss(rows) / uninformed > 0.4
    for shift in (1, 2, 3):  # every token gets the row of another one's description
        assert 1 - loss(np.roll(rows, shift, axis=0)) / uninformed < 0.15
