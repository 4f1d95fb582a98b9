"""Text that rows are fitted and judged on, dealt out by document: fit, validation, test.

A document is in one part only, whatever the order of the file, since its own text decides. Rows are
those of `reading`: plain text is cut at blank lines, and at others where it goes on for long; of chats
and pairs the text of their messages is taken, a row a document.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from tokengraft.errors import MalformedFile
from tokengraft.recipes import PLAIN_TEXT, Train
from tokengraft.training.reading import Row, local, read_rows
from tokengraft.training.subject import Subject
from tokengraft.training.windows import Ids

FIT, VALIDATION, TEST = "fit", "validation", "test"
_ENDS = ((FIT, 0.5), (VALIDATION, 0.65), (TEST, 1.0))
FEWEST_CHARACTERS = 800  # of a document: some 200 pieces, so that windows have a past and a future
MOST_CHARACTERS = 16_000_000  # more says little more of some tokens, and is held in memory
# Where rows of data sets keep text: messages, ShareGPT, prompt-completion, Alpaca, plain.
_TEXTS = (
    *("content", "value", "thoughts", "reasoning_content"),
    *("prompt", "completion", "chosen", "instruction", "input", "output", "text"),
)
_LISTS = ("messages", "conversations", *_TEXTS)


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Encoded documents by part.

    Attributes:
        n_bytes, n_positions: of all parts together.
        is_whole: whether the file was read to its end.
        notes: what was left out of it, one sentence each.
    """

    parts: Mapping[str, Sequence[Ids]]
    n_bytes: int
    n_positions: int
    is_whole: bool
    notes: tuple[str, ...] = ()


def corpus_of(subject: Subject, train: Train | None, folder: Path) -> Corpus | None:
    """The text that a recipe's `[train] data` names, where it is a file of this machine.

    Args:
        folder: where the recipe's paths start.
    Raises:
        TokengraftError: as `read_corpus`.
    """
    if train is None or train.data is None or local(train.data, folder) is None:
        return None
    return read_corpus(subject, train.data, folder)


def read_corpus(subject: Subject, named: str, folder: Path) -> Corpus:
    """Read a file and encode it with the base's tokenizer.

    Raises:
        MalformedFile: no row of it can be read.
        TokengraftError: as `read_rows`.
    """
    texts: list[str] = []
    unread: list[Row] = []
    size, is_whole = 0, True
    for text in documents(named, folder, unread):
        if size + len(text) > MOST_CHARACTERS and texts:
            is_whole = False
            break
        size += len(text)
        texts.append(text)
    if unread and not texts:
        raise MalformedFile(
            f"no row of {named} can be read",
            detail=f"line {unread[0].line}: {unread[0].problem}",
            subject=str(folder / named),
            hint="name a .jsonl, .json, .parquet or .txt file in [train] data",
        )
    parts: dict[str, list[Ids]] = {name: [] for name, _ in _ENDS}
    encoded = subject.tokenizer.encode_batch(texts, add_special_tokens=False)
    for text, encoding in zip(texts, encoded, strict=True):
        parts[part_of(text)].append(np.array(encoding.ids, np.int64))
    n_positions = sum(len(ids) for part in parts.values() for ids in part)
    n_bytes = sum(len(text.encode()) for text in texts)
    notes = []
    if not is_whole:
        notes.append(f"only the beginning of {named} was read: {n_bytes:,} bytes")
    if unread:
        notes.append(
            f"rows of {named} that cannot be read: {len(unread):,}; line {unread[0].line}: {unread[0].problem}"
        )
    return Corpus(parts, n_bytes, n_positions, is_whole, tuple(notes))


def part_of(document: str) -> str:
    """The part that a document belongs to, by its text alone."""
    digest = hashlib.sha256(document.encode()).digest()
    share = int.from_bytes(digest[:6], "big") / 2**48
    return next(name for name, end in _ENDS if share < end)


def documents(named: str, folder: Path, unread: list[Row]) -> Iterator[str]:
    """The documents of a file; short ones that follow each other are read as one.

    Args:
        unread: takes the rows that cannot be read.
    Raises:
        TokengraftError: as `read_rows`.
    """
    is_plain = PurePath(named).suffix.lower() in PLAIN_TEXT
    kept: list[str] = []
    size = 0
    for row in read_rows(named, folder):
        if row.problem:
            unread.append(row)
            continue
        text = "\n".join(_texts(row.value))
        for piece in _cut(text) if is_plain else [text] if text.strip() else []:
            kept.append(piece)
            size += len(piece)
            if size >= FEWEST_CHARACTERS:
                yield "\n\n".join(kept)
                kept, size = [], 0
    if kept:
        yield "\n\n".join(kept)


def _cut(text: str) -> Iterator[str]:
    """A text in parts that end with a line, where it goes on for long."""
    lines: list[str] = []
    size = 0
    for line in StringIO(text):
        lines.append(line)
        size += len(line)
        if size >= 2 * FEWEST_CHARACTERS:
            yield "".join(lines).strip("\n")
            lines, size = [], 0
    if "".join(lines).strip():
        yield "".join(lines).strip("\n")


def _texts(row: Any) -> Iterator[str]:
    """Every text that a row shows, in its order."""
    if isinstance(row, str):
        yield row
    elif isinstance(row, list):
        for one in row:
            yield from _texts(one)
    elif isinstance(row, dict):
        for key in _LISTS:
            if key in row:
                yield from _texts(row[key])
