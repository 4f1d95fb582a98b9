"""Rows of training data, one after another: from lines, tables, texts, or the Hub.

Nothing is held in memory but the row at hand (a `.json` array aside, which JSON cannot give in
parts), so that a corpus may be larger than memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokengraft.errors import LimitExceeded, MissingExtra, ReadFailed, UnsupportedFormat

MAX_ARRAY_BYTES = 2 << 30  # of a `.json` file that is one array
ROWS_AT_ONCE = 256
_REPO = re.compile(r"(?:hf://datasets/)?([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:\[(\w+)\])?")


@dataclass(frozen=True, slots=True)
class Row:
    """A row and its place.

    Attributes:
        line: the line it begins in (texts, JSON Lines), or its number in a table; from 1.
        value: what it holds; None where it cannot be read, and then `problem` says why.
    """

    line: int
    value: Any
    problem: str = ""


def read_rows(named: str, folder: Path) -> Iterator[Row]:
    """Rows of what a recipe names as data.

    Args:
        named: a file, relative to `folder`: `.jsonl`, `.json` (an array, or lines), `.parquet`,
            `.txt` (documents between blank lines); or a data set of the Hub, as `org/name`,
            `org/name@revision` or `org/name[split]`, whose rows are streamed.
    Raises:
        ReadFailed: there is no such file, or the system or the Hub refuses.
        UnsupportedFormat: the file is of another kind.
        MissingExtra: the Hub, or a table, and `datasets` is not installed.
    """
    path = folder / named
    if path.is_file():
        return _of_file(path)
    if not path.exists() and (match := _REPO.fullmatch(named)):
        return _of_hub(match.group(1), match.group(2), match.group(3) or "train")
    raise ReadFailed(
        f"there is no data {named}",
        detail="a path is relative to the recipe; a data set of the Hub is named org/name",
        subject=str(path),
        hint="name a .jsonl, .json, .parquet or .txt file in [train] data",
    )


def _of_file(path: Path) -> Iterator[Row]:
    match path.suffix.lower():
        case ".jsonl" | ".ndjson":
            return _lines(path)
        case ".json":
            return _array(path) if _begins_with(path, "[") else _lines(path)
        case ".txt":
            return _documents(path)
        case ".parquet":
            return _table(path)
        case suffix:
            raise UnsupportedFormat(
                f"data of the kind {suffix or 'without an ending'} are not read",
                subject=str(path),
                hint="name a .jsonl, .json, .parquet or .txt file in [train] data",
            )


def _begins_with(path: Path, sign: str) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(4096).lstrip("\ufeff \t\r\n").startswith(sign)


def _lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield Row(number, json.loads(line.removeprefix(b"\xef\xbb\xbf")))
            except ValueError:
                yield Row(number, None, "the line is not JSON")


def _array(path: Path) -> Iterator[Row]:
    if path.stat().st_size > MAX_ARRAY_BYTES:
        raise LimitExceeded(
            f"{path.name} is one array of more than 2 GiB",
            detail="an array can only be read whole",
            subject=str(path),
            hint="write it as JSON Lines, one row a line: those are read one by one",
        )
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise UnsupportedFormat(
            f"{path.name} is not JSON", detail=str(error)[:200], subject=str(path)
        ) from error
    for number, row in enumerate(rows, 1):
        yield Row(number, row)


def _documents(path: Path) -> Iterator[Row]:
    first, lines = 0, list[str]()
    with path.open(encoding="utf-8", errors="replace", newline=None) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                first = first or number
                lines.append(line)
            elif lines:
                yield Row(first, {"text": "".join(lines).rstrip("\n")})
                first, lines = 0, []
    if lines:
        yield Row(first, {"text": "".join(lines).rstrip("\n")})


def _table(path: Path) -> Iterator[Row]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise _missing(error) from error
    # `streaming` reads row groups as they are asked for.
    rows = load_dataset("parquet", data_files=str(path), split="train", streaming=True)
    for number, row in enumerate(rows, 1):
        yield Row(number, _without_null(row))


def _without_null(value: Any) -> Any:
    """A value of a table, whose records have the keys of all others too, as null."""
    if isinstance(value, dict):
        return {key: _without_null(one) for key, one in value.items() if one is not None}
    return [_without_null(one) for one in value] if isinstance(value, list) else value


def _of_hub(repo: str, revision: str | None, split: str) -> Iterator[Row]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise _missing(error) from error
    try:
        # No script of a data set is run: `datasets` has none since version 4, and reads tables alone.
        rows = load_dataset(repo, revision=revision, split=split, streaming=True)
    except Exception as error:
        raise ReadFailed(
            f"the data set {repo} cannot be read",
            detail=f"{type(error).__name__}: {str(error)[:300]}",
            subject=repo,
            hint="a local file is named relative to the recipe; [train] data = 'org/name[split]' "
            "names another split",
        ) from error
    for number, row in enumerate(rows, 1):
        yield Row(number, _without_null(row))


def _missing(error: ImportError) -> MissingExtra:
    return MissingExtra(
        "reading tables and data sets of the Hub needs datasets",
        detail=str(error),
        hint="pip install 'tokengraft[train]'",
    )
