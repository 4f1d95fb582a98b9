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
    from tokengraft.planning.trained import Trained
    from tokengraft.training.stages import StageResult

MARK = "TRAINING"
JUDGED = "judged"  # the key of the stage after which tokens were judged
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

    def verdicts(self, key: str) -> TokenVerdicts | None:
        """What was said of the tokens after the stage with this key; None if nothing readable."""
        judged = self.folder / JUDGED
        if not judged.is_file() or judged.read_text("utf-8") != key:
            return None
        return _document(self.folder / TOKENS, TokenVerdicts)

    def judge(self, key: str, tokens: TokenVerdicts) -> None:
        """Keep verdicts; which stage they speak of comes last."""
        (self.folder / JUDGED).unlink(missing_ok=True)
        self.write(TOKENS, tokens)
        write_document(self.folder / JUDGED, key.encode())

    def gather(self, stages: Sequence[StageName]) -> None:
        """Bring together what stages left for readers: curves in their order, audits of data."""
        works = [self.folder / stage / WORK for stage in stages]
        for name in (CURVES, *FOR_READERS):  # of an earlier training, with other stages
            (self.folder / name).unlink(missing_ok=True)
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


def recorded(place: Place, stage: StageName) -> StageRecord | None:
    """What a finished stage says of itself; None where there is none, or none that can be read."""
    return _document(place.folder / stage / RECORD, StageRecord)


def finished(place: Place, record: StageRecord) -> Finished | None:
    """What a finished stage left; None where its rows cannot be read."""
    from safetensors import SafetensorError

    try:
        return _read(place.folder / record.stage, record)
    except (OSError, SafetensorError, KeyError, ValueError, AssertionError):
        return None


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


def yielded(done: Sequence[Finished]) -> Trained:
    """What stages yielded together, for planning: the last rows, and which stages changed them."""
    from tokengraft.formats.adapters import read_adapter
    from tokengraft.planning.trained import Trained

    adapters = [one.adapter for one in done if one.adapter is not None]
    rows = done[-1].rows
    why: dict[str, list[str]] = {}
    before: RowSet | None = None
    for one in done:
        for n, (text, made) in enumerate(zip(one.rows.texts, one.rows.made, strict=True)):
            if made.read != "start" and (before is None or _moved(before, one.rows, n)):
                why.setdefault(text, []).append(_how(one.record.stage, made))
        before = one.rows
    chosen = [n for n, text in enumerate(rows.texts) if text in why]
    kept = RowSet(
        tuple(rows.texts[n] for n in chosen),
        rows.input_ND[chosen],
        None if rows.output_ND is None else rows.output_ND[chosen],
        tuple(rows.made[n] for n in chosen),
    )
    adapter = read_adapter(adapters[-1]) if adapters else None
    return Trained(kept, {text: "; ".join(ways) for text, ways in why.items()}, adapter)


def _moved(before: RowSet, after: RowSet, token: int) -> bool:
    """Whether a stage changed the rows of a token."""
    pairs = ((before.input_ND, after.input_ND), (before.output_ND, after.output_ND))
    return any(
        old is not None and new is not None and bool((old[token] != new[token]).any())
        for old, new in pairs
    )


def _how(stage: str, made: RowsMade) -> str:
    if made.read == made.write:
        return stage if made.read == stage else f"{stage}: {made.read}"
    return f"{stage}: read {made.read}, written {made.write}"
