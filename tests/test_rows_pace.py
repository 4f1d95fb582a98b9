"""The pace of distilled rows: what it trains, and what it says."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("transformers", reason="needs tokengraft[train]")

from benchmarks.rows import ours_trained, pace, trained_peers
from benchmarks.rows.cases import Context, Rows

import tiny_chat
from row_subjects import BASE, PROSE, few
from tokengraft.recipes import Distillation

torch.set_num_threads(1)


def test_every_number_of_passes_is_told_beside_distillation_of_the_last_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few(monkeypatch)
    r = random.Random(99)
    text = "\n\n".join(tiny_chat.document(r) for _ in range(400))
    (tmp_path / "text.txt").write_text(f"{text}\n\n{PROSE.read_text()}", encoding="utf-8")
    theirs: list[float] = []

    def distillation(*, third: bool, with_text: bool) -> Any:
        assert not third
        assert not with_text

        def train(context: Context, rate: float) -> Rows:
            theirs.append(rate)
            return Rows(context.pieces_mean(context.input_VD), context.output_VD[:1])

        return train

    monkeypatch.setattr(trained_peers, "distillation", distillation)
    wishes: list[Distillation] = []
    distil_rows = ours_trained.distil_rows

    def spied(model: Any, told: Any, rows: Any, wish: Distillation, **more: Any) -> Any:
        wishes.append(wish)
        return distil_rows(model, told, rows, wish, **more)

    monkeypatch.setattr(ours_trained, "distil_rows", spied)
    words = ["--model", str(BASE), "--text", str(tmp_path / "text.txt"), "--tokens", "3"]
    words += ["--distillation", str(tmp_path), "--rates", "0.1,0.02", "--passes", "1,2"]
    words += ["--before", "9", "--after", "4", "--batch", "8", "--windows", "1"]
    monkeypatch.setattr(sys, "argv", ["pace", *words])
    pace.main()
    assert theirs == [0.1]
    assert [(w.passes, w.validate_each, w.before, w.after, w.batch) for w in wishes] == [
        (1, 1, 9, 4, 8),
        (2, 2, 9, 4, 8),
    ]
    said = capsys.readouterr().out
    goal = float(re.findall(r"td-last: (\S+) in", said)[0])
    found = re.findall(r"(\d) passes: (\S+) in \S+ s, \S+ of theirs, (not )?reached", said)
    assert [n for n, _, _ in found] == ["1", "2"]
    for _, one, missed in found:
        assert (float(one) < goal) == bool(missed) or float(one) == goal
