"""The folder `<OUT>.training/`: what each stage left, and whether it is still what was asked for."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tokengraft.applying import write_document
from tokengraft.documents import Document
from tokengraft.errors import ReadFailed, RefusedError, TargetExists, WriteFailed
from tokengraft.formats.folders import MAX_SMALL_BYTES
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.training_records import CURVES, DATA, HELD_OUT, TOKENS
from tokengraft.formats.whole_files import digest_of, read_whole
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.trainings import MadeRow, StageName, StageRecord, TokenVerdicts

if TYPE_CHECKING:
    from tokengraft.flow.making import Planned
    from tokengraft.training.stages import StageResult

MARK = "TRAINING"
ABOUT = (
    "Records of `tokengraft train`: rows of finished stages, curves, verdicts.\n"
    "A second call goes on from them. The folder may be removed when no training is under way.\n"
)
FOR_READERS = (DATA, HELD_OUT)  # what reports and behaviour checks look for
RECORD, ROWS, ADAPTER, WORK = "stage.json", "rows.safetensors", "adapter", "work"


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """A finished stage, read back from its folder."""

    record: StageRecord
    rows: RowSet
    adapter: Path | None


@dataclass(frozen=True, slots=True)
class Place:
    """The folder of one training.

    Attributes:
        folder: it; every stage has a folder of its own in it.
    """

    folder: Path

    @property
    def stage(self) -> Path:
        """Where the plan is applied for those who load it; private, and gone at the end."""
        return self.folder / "staged"

    @contextmanager
    def open_parent(self) -> Iterator[int]:
        """The open folder in which it lies.

        Raises:
            WriteFailed: there is none.
        """
        parent = self.folder.parent.resolve()
        if not parent.is_dir():
            raise WriteFailed(
                f"the folder that is to hold {self.folder.name} does not exist",
                subject=str(parent),
                hint=f"mkdir -p {parent}",
            )
        opened = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield opened
        finally:
            os.close(opened)

    def require_ours(self, out: Path) -> None:
        """Make the folder, or make sure that it is one of ours.

        Raises:
            TargetExists: something else lies there.
        """
        mark = self.folder / MARK
        if self.folder.is_symlink() or (
            self.folder.exists()
            and not mark.is_file()
            and (not self.folder.is_dir() or any(self.folder.iterdir()))
        ):
            raise TargetExists(
                f"{self.folder} exists and holds no training of ours",
                detail=f"what is learned for {out.name} is kept there while it is trained",
                subject=str(self.folder),
                hint="name another OUT, or move this away yourself",
            )
        self.folder.mkdir(exist_ok=True)
        if not mark.is_file():
            write_document(mark, ABOUT.encode())

    def begin(self, stage: StageName, key: str) -> Path:
        """The folder in which a stage works; what an earlier one with the same key left is there.

        An earlier stage of another key is removed, and so is its result.
        """
        folder = self.folder / stage
        work = folder / WORK
        begun = folder / "key"
        if folder.exists() and (not begun.is_file() or begun.read_text("utf-8") != key):
            shutil.rmtree(folder)
        work.mkdir(parents=True, exist_ok=True)
        write_document(begun, key.encode())
        return work

    def clear_stage(self) -> None:
        """Remove the stage, and what killed runs left of it."""
        for path in (self.stage, *self.folder.glob(f".{self.stage.name}.stage-*")):
            shutil.rmtree(path, ignore_errors=True)

    def verdicts(self) -> TokenVerdicts | None:
        """What was said of the tokens when the last stage had ended; None if nothing readable."""
        return _document(self.folder / TOKENS, TokenVerdicts)

    def gather(self, stages: Sequence[StageName]) -> None:
        """Bring together what stages left for readers: curves in their order, audits of data."""
        works = [self.folder / stage / WORK for stage in stages]
        curves = b"".join(
            path.read_bytes() for work in works for path in sorted(work.rglob(CURVES))
        )
        if curves:
            write_document(self.folder / CURVES, curves)
        for name in FOR_READERS:
            for work in works:
                if (work / name).is_file():
                    shutil.copyfile(work / name, self.folder / name)

    def write(self, name: str, document: Document) -> None:
        """Write a document into the folder."""
        write_document(self.folder / name, document.to_json().encode())


def key_of(start: Planned, stage: StageName, settings: Mapping[str, Any], before: str) -> str:
    """A digest of all that decides what a stage yields.

    That is: the base's fingerprint, what the plan changes (so all of the recipe but `[train]`, and the
    files that it names), the stage's own settings and data, and the stages before it.
    """
    plan = start.plan.model_copy(update={"recipe": "", "predicted": (), "notes": ()})
    meanings = [[a.text, a.meaning, a.sequence] for a in start.recipe.add]
    whole = {"plan": plan.as_dict(), "meanings": meanings, "stage": stage, "before": before}
    text = json.dumps({**whole, "settings": dict(settings)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def data_of(folder: Path, data: str | None) -> str:
    """What a recipe's data are, for the key: the digest of a file, else the name."""
    if data is None:
        return ""
    path = folder / data
    return digest_of(path) if path.is_file() else data


def recorded(place: Place, stage: StageName) -> Finished | None:
    """What a finished stage left; None where there is none, or nothing that can be read."""
    folder = place.folder / stage
    record = _document(folder / RECORD, StageRecord)
    return None if record is None else _read(folder, record)


D = TypeVar("D", bound=Document)


def _document(path: Path, kind: type[D]) -> D | None:
    try:
        data = read_whole(path, limit=MAX_SMALL_BYTES, follow=False)
        return kind.from_dict(parse_json(data, file=path.name).value)
    except (ReadFailed, RefusedError, ValueError):
        return None


def _read(folder: Path, record: StageRecord) -> Finished:
    from tokengraft.training.row_files import load_rows

    made = [RowsMade(**one.model_dump(exclude={"text"})) for one in record.made]
    rows = load_rows(folder / ROWS, made, record.figures)
    return Finished(record, rows, folder / ADAPTER if record.adapter else None)


def save_finished(
    place: Place, stage: StageName, key: str, result: StageResult, seconds: float
) -> Finished:
    """Keep what a stage yields; the record comes last, so that it speaks of what is there.

    What is read back is what goes on, so that a resumed training has the rows of one in one go.
    """
    from tokengraft.training.row_files import save_rows

    folder = place.folder / stage
    save_rows(result.rows, folder / ROWS)
    if result.adapter is not None:
        shutil.rmtree(folder / ADAPTER, ignore_errors=True)
        shutil.copytree(result.adapter, folder / ADAPTER)
    record = StageRecord(
        stage=stage,
        key=key,
        adapter=result.adapter is not None,
        seconds=seconds,
        notes=result.notes,
        made=tuple(
            MadeRow(text=text, **asdict(made))
            for text, made in zip(result.rows.texts, result.rows.made, strict=True)
        ),
        figures=dict(result.rows.figures),
    )
    write_document(folder / RECORD, record.to_json().encode())
    return _read(folder, record)
