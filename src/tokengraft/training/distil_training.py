"""Distillation from a folder that says what is trained to rows: by one process or by several.

The first process writes the folder; every process of a launch reads it and trains together. The first
one alone keeps a state there, writes curves and has the result.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.errors import EnvironmentProblem
from tokengraft.events import Listen, ignore
from tokengraft.recipes import Distillation
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training import ranks
from tokengraft.training.distilling import distil_rows
from tokengraft.training.input_rows import beyond_last
from tokengraft.training.language_model import LanguageModel
from tokengraft.training.lessons import share_of
from tokengraft.training.subject import Subject, open_subject
from tokengraft.training.windows import Evidence, Phrase, Windows

Values = NDArray[np.float64]

TASK, ARRAYS = "task.json", "task.npz"


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What is distilled.

    Attributes:
        evidence: without known words, which fits alone look at.
        start: the rows to begin with, of the same tokens.
    """

    base: Path
    evidence: Evidence
    start: RowSet
    wish: Distillation
    seed: int

    def save(self, work: Path) -> None:
        """Write it into a folder."""
        told, start = self.evidence, self.start
        assert not told.known[0]
        work.mkdir(parents=True, exist_ok=True)
        arrays = {
            **_arrays_of("windows", told.windows),
            **_arrays_of("validation", told.validation),
            **{name: getattr(told, name) for name in _PLAIN},
            "input_ND": start.input_ND,
        }
        if start.output_ND is not None:
            arrays["output_ND"] = start.output_ND
        with (work / ARRAYS).open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        words: dict[str, Any] = {
            "base": str(self.base),
            "seed": self.seed,
            "wish": self.wish.model_dump(mode="json"),
            "bos": told.bos,
            "after": [told.windows.after, told.validation.after],
            "phrases": [asdict(phrase) for phrase in told.phrases],
            "made": [asdict(made) for made in start.made],
        }
        (work / TASK).write_text(json.dumps(words) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, work: Path) -> Task:
        """Read it back."""
        words = json.loads((work / TASK).read_text(encoding="utf-8"))
        with np.load(work / ARRAYS, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        windows, validation = (
            _windows_of(name, arrays, after)
            for name, after in zip(("windows", "validation"), words["after"], strict=True)
        )
        phrases = tuple(
            Phrase(**{**phrase, "pieces": tuple(phrase["pieces"])}) for phrase in words["phrases"]
        )
        made = tuple(RowsMade(**{**one, "notes": tuple(one["notes"])}) for one in words["made"])
        evidence = Evidence(
            phrases=phrases,
            windows=windows,
            validation=validation,
            **{name: arrays[name] for name in _PLAIN},
            known=((), windows.of(np.zeros(len(windows), np.bool_))),
            bos=words["bos"],
        )
        texts = tuple(phrase.text for phrase in phrases)
        return cls(
            base=Path(words["base"]),
            evidence=evidence,
            start=RowSet(texts, arrays["input_ND"], arrays.get("output_ND"), made),
            wish=Distillation.model_validate_json(json.dumps(words["wish"])),
            seed=words["seed"],
        )


_PLAIN = ("neutral_ST", "keep_ST", "frequency_N", "trained")
_OF_WINDOWS = ("token_W", "ids_WT", "length_W", "at_W", "n_pieces_W")


def _arrays_of(name: str, windows: Windows) -> dict[str, Any]:
    return {f"{name}.{field}": getattr(windows, field) for field in _OF_WINDOWS}


def _windows_of(name: str, arrays: dict[str, Any], after: int) -> Windows:
    return Windows(**{field: arrays[f"{name}.{field}"] for field in _OF_WINDOWS}, after=after)


def subject_for(base: Path, wish: Distillation, *, two_rows: bool) -> Subject:
    """The base as these settings want it; `two_rows` as in `open_subject`.

    Raises:
        EnvironmentProblem: the device is not there.
    """
    import torch

    if wish.device == "cuda" and not torch.cuda.is_available():
        raise EnvironmentProblem(
            "device = 'cuda' is not there",
            detail="torch finds no GPU on this machine",
            subject="train.distil.device",
            hint="leave device out: rows are distilled on the CPU",
        )
    own = wish.device == "cuda" and ranks.count() > 1
    device = str(ranks.state().device) if own else wish.device
    return open_subject(base, wish.dtype, device, two_rows=two_rows)


def train(work: Path, listen: Listen = ignore) -> RowSet:
    """Distil what a folder describes, going on from its last state; all processes end with the rows."""
    task = Task.load(work)
    model = subject_for(task.base, task.wish, two_rows=not task.start.is_tied).model
    return distil_rows(
        model,
        task.evidence,
        task.start,
        task.wish,
        work=work,
        seed=task.seed,
        share=share_of(ranks.state()) if ranks.count() > 1 else None,
        begin_ND=_begun(model, task),
        listen=listen,
    )


def _begun(model: LanguageModel, task: Task) -> Values | None:
    """Where training begins: beyond the last piece; a description's last piece says little of it.

    Nothing is said of one row that is trained to be written as well.
    """
    if model.tied and task.wish.writing == "solve":
        return None
    start_ND, phrases = task.start.input_ND, task.evidence.phrases
    is_described = np.array([phrase.is_described for phrase in phrases])
    return np.where(is_described[:, None], start_ND, beyond_last(model.input_VD(), phrases))
