"""The folder `<OUT>.training/`: curves, verdicts, data and behaviour, read without much trust."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from tokengraft.behaviour import Behaviour
from tokengraft.data_audits import DataAudit
from tokengraft.documents import Document, complaint
from tokengraft.errors import TokengraftError
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.whole_files import read_whole
from tokengraft.records import CurvePoint, TrainingRecords
from tokengraft.trainings import STAGE_NAMES, StageRecord, TokenVerdicts

CURVES: Final = "curves.jsonl"
TOKENS: Final = "tokens.json"
DATA: Final = "data.json"
BEHAVIOUR: Final = "behaviour.json"
HELD_OUT: Final = "held_out.jsonl"  # what a training did not see of its data, as messages
NAMES: Final = (CURVES, TOKENS, DATA, BEHAVIOUR)
STAGES: Final = tuple(f"{stage}/stage.json" for stage in STAGE_NAMES)
MAX_RECORD_BYTES: Final = 64 << 20
MAX_POINTS: Final = 2_000_000

_T = TypeVar("_T")
_D = TypeVar("_D", bound=Document)


def beside(out: Path, ending: str) -> Path:
    """The place next to OUT, with its name and an ending; of a link, next to the link."""
    named = out.resolve() if out.name in ("", "..") else out
    return named.with_name(named.name + ending)


def training_folder(out: Path) -> Path:
    """Where the records of the training for an output folder lie."""
    return beside(out, ".training")


def is_training(folder: Path) -> bool:
    """Whether a folder holds any of the records."""
    return folder.is_dir() and any((folder / name).is_file() for name in (*NAMES, *STAGES))


def read_training(folder: Path) -> TrainingRecords | None:
    """Read what is there; a record that cannot be read is named with the reason.

    Returns:
        None where the folder holds none of the records.
    """
    if not is_training(folder):
        return None
    unreadable: list[tuple[str, str]] = []

    def attempt(name: str, read: Callable[[bytes], _T]) -> _T | None:
        path = folder / name
        if not path.is_file():
            return None
        try:
            return read(read_whole(path, limit=MAX_RECORD_BYTES))
        except ValidationError as error:
            unreadable.append((name, complaint(error)))
        except TokengraftError as error:
            unreadable.append((name, error.summary))
        except ValueError as error:
            unreadable.append((name, str(error)))
        return None

    def document(kind: type[_D], name: str) -> _D | None:
        return attempt(name, lambda data: kind.from_dict(parse_json(data, file=name).value))

    stages = [document(StageRecord, name) for name in STAGES]
    return TrainingRecords(
        folder=folder.name,
        stages=tuple(stage for stage in stages if stage is not None),
        curves=attempt(CURVES, lambda data: tuple(_points(data))) or (),
        verdicts=document(TokenVerdicts, TOKENS),
        data=document(DataAudit, DATA),
        behaviour=document(Behaviour, BEHAVIOUR),
        unreadable=tuple(unreadable),
    )


def _points(data: bytes) -> Iterator[CurvePoint]:
    """The lines of a curve; a last line that was cut off in the middle is left out."""
    lines = data.split(b"\n")
    cut = lines.pop()  # what stands behind the last line feed was never finished
    for number, line in enumerate(lines[:MAX_POINTS], 1):
        if not line.strip():
            continue
        try:
            yield CurvePoint.model_validate_json(line)
        except ValidationError as error:
            if error.errors()[0]["type"] == "json_invalid":
                raise ValueError(f"line {number} is no JSON") from error
            raise ValueError(f"line {number}: {complaint(error)}") from error
    if cut.strip():
        with suppress(ValidationError):
            yield CurvePoint.model_validate_json(cut)
