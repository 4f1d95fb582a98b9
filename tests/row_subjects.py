"""The committed small model with text for it, as the benchmark of rows loads it; once a process."""

from __future__ import annotations

import random
import tempfile
from functools import cache
from pathlib import Path

import torch
from benchmarks.rows import strata
from benchmarks.rows.subject import FIT, TEST, VALIDATION, Subject, load_subject

import tiny_chat
from tokengraft.events import Event, Listen, Progress

REPO = Path(__file__).resolve().parents[1]
PROSE = Path(__file__).with_name("prose.txt")
BASE = REPO / "models" / "tiny-qwen3-moe-base"
FEW = {FIT: 4, VALIDATION: 2, TEST: 6}  # windows a token
FEWEST = ({FIT: 4, VALIDATION: 1, TEST: 3},)


@cache
def small_subject() -> Subject:
    """The model, with text of its own kind and with prose of this project."""
    torch.set_num_threads(1)
    random_ = random.Random(99)
    text = "\n\n".join(tiny_chat.document(random_) for _ in range(700))
    # Words that are several pieces stand in other prose: pages of this project, kept as they once
    # were, so that what is measured on them does not change with the documents.
    text += "\n\n" + PROSE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.txt"
        path.write_text(text, encoding="utf-8")
        return load_subject(BASE, [path], most_documents=2000)


def few(monkeypatch: object) -> None:
    """Few windows, so that a measurement takes a second."""
    monkeypatch.setattr(strata, "PER_TOKEN", FEW)  # type: ignore[attr-defined]
    monkeypatch.setattr(strata, "FEWEST", FEWEST)  # type: ignore[attr-defined]
    monkeypatch.setattr(strata, "BACKGROUND", 3_000)  # type: ignore[attr-defined]


class Stopped(Exception):
    """A training was stopped from without."""


def stopped_after(passes: int) -> Listen:
    """A listener that stops a training in its so many-th pass."""

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.done == passes:
            raise Stopped

    return stop
