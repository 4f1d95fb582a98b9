"""Text that rows are fitted and judged on, dealt out by document: fit, validation, test.

A document is in one part only, whatever the order of the file, since its own text decides. Plain
text is cut at blank lines; of chats and pairs the text of their messages is taken, a row a document.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokengraft.errors import MalformedFile, ReadFailed
from tokengraft.training.subject import Subject
from tokengraft.training.windows import Ids

FIT, VALIDATION, TEST = "fit", "validation", "test"
_ENDS = ((FIT, 0.5), (VALIDATION, 0.65), (TEST, 1.0))
FEWEST_CHARACTERS = 800  # of a document: some 200 pieces, so that windows have a past and a future
MOST_CHARACTERS = 16_000_000  # more says little more of some tokens, and is held in memory
ROWS = (".jsonl", ".json")
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
    """

    parts: Mapping[str, Sequence[Ids]]
    n_bytes: int
    n_positions: int
    is_whole: bool


def is_local(data: Path) -> bool:
    """Whether this is a file that can be read here (data may also be a name on the Hub)."""
    return data.is_file()


def read_corpus(subject: Subject, path: Path) -> Corpus:
    """Read a file and encode it with the base's tokenizer.

    Raises:
        ReadFailed: the system refuses, or it is no UTF-8.
        MalformedFile: a row is no JSON.
    """
    texts: list[str] = []
    size, is_whole = 0, True
    for text in documents(path):
        if size + len(text) > MOST_CHARACTERS and texts:
            is_whole = False
            break
        size += len(text)
        texts.append(text)
    parts: dict[str, list[Ids]] = {name: [] for name, _ in _ENDS}
    encoded = subject.tokenizer.encode_batch(texts, add_special_tokens=False)
    for text, encoding in zip(texts, encoded, strict=True):
        parts[part_of(text)].append(np.array(encoding.ids, np.int64))
    n_positions = sum(len(ids) for part in parts.values() for ids in part)
    return Corpus(parts, sum(len(text.encode()) for text in texts), n_positions, is_whole)


def part_of(document: str) -> str:
    """The part that a document belongs to, by its text alone."""
    digest = hashlib.sha256(document.encode()).digest()
    share = int.from_bytes(digest[:6], "big") / 2**48
    return next(name for name, end in _ENDS if share < end)


def documents(path: Path) -> Iterator[str]:
    """The documents of a file; short ones that follow each other are read as one.

    Raises:
        ReadFailed, MalformedFile: as `read_corpus`.
    """
    pieces = _rows(path) if path.suffix in ROWS else _blocks(path)
    kept: list[str] = []
    size = 0
    try:
        for piece in pieces:
            kept.append(piece)
            size += len(piece)
            if size >= FEWEST_CHARACTERS:
                yield "\n\n".join(kept)
                kept, size = [], 0
    except UnicodeDecodeError as error:
        raise ReadFailed(
            f"{path} is not UTF-8", detail=str(error.reason), subject=str(path)
        ) from error
    except OSError as error:
        raise ReadFailed(
            f"{path} cannot be read", detail=str(error.strerror), subject=str(path)
        ) from error
    if kept:
        yield "\n\n".join(kept)


def _blocks(path: Path) -> Iterator[str]:
    """What stands between blank lines; a block that goes on for long is cut at a line."""
    lines: list[str] = []
    size = 0
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.strip():
                lines.append(line)
                size += len(line)
            if lines and (not line.strip() or size >= 2 * FEWEST_CHARACTERS):
                yield "".join(lines).strip("\n")
                lines, size = [], 0
    if lines:
        yield "".join(lines).strip("\n")


def _rows(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        if path.suffix == ".json":
            found = _parsed(file.read(), path, 1)
            rows: Iterable[Any] = found if isinstance(found, list) else [found]
        else:
            lines = ((n, line) for n, line in enumerate(file, 1) if line.strip())
            rows = (_parsed(line, path, n) for n, line in lines)
        for row in rows:
            text = "\n".join(_texts(row))
            if text.strip():
                yield text


def _parsed(text: str, path: Path, line: int) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise MalformedFile(
            f"line {line} of {path} is no JSON", detail=str(error), subject=f"{path}:{line}"
        ) from error


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
