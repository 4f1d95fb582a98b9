"""Data, read once: audited, cut, divided, and written as ids for the training to map into memory.

Neither torch nor the model is needed. Which rows are held out, `splitting` says: it follows from what
a row asks and the seed alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from tokengraft.checkpoint import Checkpoint
from tokengraft.data_audits import (
    LISTED,
    DataAudit,
    DroppedRow,
    LengthBin,
    RowCounts,
    TokenSeen,
)
from tokengraft.errors import MissingExtra, RefusedError
from tokengraft.events import Done, Listen, Progress, Started, ignore
from tokengraft.training.reading import Row, read_rows
from tokengraft.training.sft_encoding import Encoded, Encoder
from tokengraft.training.sft_forms import BadRow, Continued, Example, example_of
from tokengraft.training.splitting import is_held_out

AT_ONCE = 64  # rows that go to the tokenizer together
TRAIN, HELD_OUT = "train.arrow", "held_out.arrow"
HELD_OUT_ROWS = "held_out.jsonl"  # as messages: what a behaviour check can ask
STEP = "data"


class NothingToLearn(RefusedError):
    """The data hold no row that can be trained on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the data.

    Attributes:
        source: as the recipe names it, relative to `folder`.
        length: rows are cut behind so many tokens.
        held_out: the share of rows that is kept for validation.
        max_rows: no more rows are read; None without a limit.
        max_trained: reading ends when so many rows to train on are there; None without a limit.
    """

    source: str
    folder: Path
    length: int
    held_out: float = 0.0
    seed: int = 0
    max_rows: int | None = None
    max_trained: int | None = None


@dataclass(slots=True)
class _Counts:
    read: int = 0
    train: int = 0
    parts: int = 0
    held_out: int = 0
    truncated: int = 0
    no_stop: int = 0
    n_tokens: int = 0
    n_in_loss: int = 0
    complete: bool = True
    forms: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    dropped: list[DroppedRow] = field(default_factory=list)
    lengths: Counter[int] = field(default_factory=Counter)
    in_loss: Counter[int] = field(default_factory=Counter)
    given: Counter[int] = field(default_factory=Counter)
    rows: Counter[int] = field(default_factory=Counter)

    def drop(self, line: int, reason: str) -> None:
        self.reasons[reason] += 1
        if len(self.dropped) < LISTED:
            self.dropped.append(DroppedRow(line=line, reason=reason))


@dataclass(frozen=True, slots=True)
class _Read:
    """A row as an example with its ids, or as the reason why it is none."""

    line: int
    form: str
    example: Example | BadRow
    encoded: Encoded | None = None


def audit_data(
    checkpoint: Checkpoint,
    tokens: Mapping[str, int],
    asked: Asked,
    *,
    write_to: Path | None = None,
    listen: Listen = ignore,
) -> DataAudit:
    """Read the data, and say what they hold.

    Args:
        checkpoint: with the template and tokenizer that will be trained (the plan applied).
        tokens: the new tokens and their ids.
        write_to: a folder for the ids of all rows, and for held-out rows; None writes nothing.
    Raises:
        NothingToLearn: no row can be trained on.
        TokengraftError: as `read_rows` and `Encoder.encode`.
    """
    counts = _Counts()
    new_ids = frozenset(tokens.values())
    listen(Started(STEP, asked.source, asked.max_rows or 0, "rows"))
    with Encoder(checkpoint) as encoder, _Files(write_to) as files:
        for one in _encoded(encoder, asked, counts, listen):
            line, example, encoded = one.line, one.example, one.encoded
            if isinstance(example, BadRow):
                counts.drop(line, str(example))
                continue
            assert encoded is not None
            ids, said = encoded.ids[: asked.length], encoded.said[: asked.length]
            if not any(said):
                counts.drop(line, f"what the model says begins behind {asked.length} tokens")
                continue
            is_cut = len(encoded.ids) > asked.length
            if is_held_out(example.as_row(), share=asked.held_out, seed=asked.seed):
                counts.held_out += 1
                files.hold_out(ids, said, example)
                continue
            counts.train += 1
            counts.truncated += is_cut and not _is_text(example)
            counts.no_stop += (is_cut and not _is_text(example)) or not encoded.stops
            _count(counts, ids, said, new_ids)
            files.train(ids, said)
            if _is_text(
                example
            ):  # a document goes on; a conversation without its beginning does not
                for first in range(asked.length, len(encoded.ids), asked.length):
                    part = slice(first, first + asked.length)
                    _count(counts, encoded.ids[part], encoded.said[part], new_ids)
                    files.train(encoded.ids[part], encoded.said[part])
            if counts.train == asked.max_trained:
                counts.complete = False
                break
    listen(Done(STEP, asked.source))
    audit = _audit(asked, tokens, counts, encoder.pad_id)
    if not counts.train:
        most = counts.reasons.most_common(1)
        raise NothingToLearn(
            f"{asked.source} has no row that can be trained on",
            detail="; ".join(f"{d.line}: {d.reason}" for d in audit.dropped[:5])
            or "all rows are held out, or there is none",
            subject=asked.source,
            hint="see docs/how-to/fine-tune-new-tokens.md for the forms of data"
            if most
            else "give more rows, or validation = 0",
        )
    return audit


def _encoded(encoder: Encoder, asked: Asked, counts: _Counts, listen: Listen) -> Iterator[_Read]:
    """Rows in their order; `counts` has those alone that were handed on, and not what was read ahead."""
    waiting: list[_Read] = []
    for number, row in enumerate(read_rows(asked.source, asked.folder)):
        if number == asked.max_rows:
            yield from _together(encoder, waiting, counts)
            counts.complete = False
            return
        waiting.append(_told(row))
        if len(waiting) == AT_ONCE:
            yield from _together(encoder, waiting, counts)
            waiting = []
            listen(Progress(STEP, asked.source, number + 1, asked.max_rows or 0, "rows"))
    yield from _together(encoder, waiting, counts)


def _told(row: Row) -> _Read:
    if row.problem:
        return _Read(row.line, "", BadRow(row.problem))
    try:
        return _Read(row.line, *example_of(row.value))
    except BadRow as bad:
        return _Read(row.line, "", bad)


def _together(encoder: Encoder, waiting: list[_Read], counts: _Counts) -> Iterator[_Read]:
    good = [one.example for one in waiting if not isinstance(one.example, BadRow)]
    encoded = iter(encoder.encode(good))
    for one in waiting:
        counts.read += 1
        if isinstance(one.example, BadRow):
            yield one
            continue
        counts.forms[one.form] += 1
        found = next(encoded)
        if isinstance(found, BadRow):
            yield replace(one, example=found)
        else:
            yield replace(one, encoded=found)


def _is_text(example: Example) -> bool:
    return isinstance(example, Continued) and not example.prompt


def _count(
    counts: _Counts, ids: tuple[int, ...], said: tuple[bool, ...], new_ids: frozenset[int]
) -> None:
    counts.parts += 1
    counts.n_tokens += len(ids)
    counts.n_in_loss += sum(said)
    counts.lengths[1 << (len(ids) - 1).bit_length()] += 1
    here = set[int]()
    for token_id, is_said in zip(ids, said, strict=True):
        if token_id in new_ids:
            (counts.in_loss if is_said else counts.given)[token_id] += 1
            here.add(token_id)
    counts.rows.update(here)


def _audit(
    asked: Asked, tokens: Mapping[str, int], counts: _Counts, pad_id: int | None
) -> DataAudit:
    seen = tuple(
        TokenSeen(
            text=text,
            id=token_id,
            in_loss=counts.in_loss[token_id],
            given=counts.given[token_id],
            rows=counts.rows[token_id],
        )
        for text, token_id in sorted(tokens.items(), key=lambda item: item[1])
    )
    notes = []
    if counts.train and counts.no_stop == counts.train:
        notes.append("no row ends with a stop token in the loss: the model will not learn to stop")
    return DataAudit(
        source=asked.source,
        length=asked.length,
        rows=RowCounts(
            read=counts.read,
            train=counts.train,
            parts=counts.parts,
            held_out=counts.held_out,
            dropped=sum(counts.reasons.values()),
            truncated=counts.truncated,
            no_stop=counts.no_stop,
            complete=counts.complete,
        ),
        forms=dict(sorted(counts.forms.items())),
        reasons=dict(counts.reasons.most_common()),
        dropped=tuple(counts.dropped),
        tokens=seen,
        unseen=tuple(one.text for one in seen if not one.rows and one.id != pad_id),
        never_in_loss=tuple(one.text for one in seen if one.rows and not one.in_loss),
        lengths=tuple(LengthBin(up_to=k, rows=n) for k, n in sorted(counts.lengths.items())),
        n_tokens=counts.n_tokens,
        n_in_loss=counts.n_in_loss,
        notes=tuple(notes),
    )


class _Files:
    """Writes rows of ids in the stream format of Arrow, which `datasets` maps into memory."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._train = self._opened.enter_context(_Table(self._folder / TRAIN))
            self._held_out = self._opened.enter_context(_Table(self._folder / HELD_OUT))
            self._rows = self._opened.enter_context(
                (self._folder / HELD_OUT_ROWS).open("w", encoding="utf-8", newline="\n")
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def train(self, ids: tuple[int, ...], said: tuple[bool, ...]) -> None:
        if self._folder is not None:
            self._train.add(ids, said)

    def hold_out(self, ids: tuple[int, ...], said: tuple[bool, ...], example: Example) -> None:
        if self._folder is not None:
            self._held_out.add(ids, said)
            self._rows.write(json.dumps(example.as_row(), ensure_ascii=False) + "\n")


class _Table:
    """A table of `input_ids` and `labels`, where -100 is not in the loss."""

    def __init__(self, path: Path) -> None:
        try:
            self._arrow: Any = import_module("pyarrow")
        except ImportError as error:
            raise MissingExtra(
                "training needs datasets, which brings pyarrow",
                detail=str(error),
                hint="pip install 'tokengraft[train]'",
            ) from error
        numbers = self._arrow.list_(self._arrow.int32())
        self._schema = self._arrow.schema([("input_ids", numbers), ("labels", numbers)])
        self._path = path
        self._waiting: list[tuple[tuple[int, ...], list[int]]] = []

    def __enter__(self) -> Self:
        self._file = self._arrow.OSFile(str(self._path), "wb")
        self._writer = self._arrow.ipc.new_stream(self._file, self._schema)
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()
        self._file.close()

    def add(self, ids: tuple[int, ...], said: tuple[bool, ...]) -> None:
        labels = [i if is_said else -100 for i, is_said in zip(ids, said, strict=True)]
        self._waiting.append((ids, labels))
        if len(self._waiting) == 1024:  # noqa: PLR2004 - rows of a record batch
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            columns = [
                self._arrow.array([one[i] for one in self._waiting], self._schema[i].type)
                for i in (0, 1)
            ]
            self._writer.write_batch(self._arrow.record_batch(columns, schema=self._schema))
            self._waiting = []
