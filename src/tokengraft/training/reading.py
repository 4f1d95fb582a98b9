"""Rows of training data, one after another: from lines, tables, texts, or the Hub.

Nothing is held in memory but the row at hand (a `.json` array aside, which JSON cannot give in
parts), so that a corpus may be larger than memory. What cannot be read of a file is a row that says
why; a file of which nothing can be read is an error.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tokengraft.errors import (
    LimitExceeded,
    MalformedFile,
    MissingExtra,
    ReadFailed,
    UnsupportedFormat,
)
from tokengraft.recipes import PLAIN_TEXT

MAX_ARRAY_BYTES = 2 << 30  # of a `.json` file that is one array
MAX_LINE_BYTES = 64 << 20  # of one row
MAX_DOCUMENT = 4 << 20  # characters, behind which plain text without a blank line is cut
_BOM = b"\xef\xbb\xbf"
_REPO = re.compile(r"(?:hf://datasets/)?([\w.-]+/[\w.-]+)(?:@([\w.-]+))?(?:\[(\w+)\])?")
_KINDS = "name a .jsonl, .json, .parquet or .txt file in [train] data"


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


def local(named: str, folder: Path) -> Path | None:
    """The file that a recipe names as data; None for a data set of the Hub.

    Args:
        named: a file, relative to `folder`: `.jsonl`, `.json` (an array, lines, or one row),
            `.parquet`, `.txt` and others of `PLAIN_TEXT` (documents between blank lines); or a data set of the Hub, as
            `org/name`, `org/name@revision` or `org/name[split]`, whose rows are streamed.
    Raises:
        ReadFailed: there is no such file, or the system refuses.
    """
    path = folder / named
    try:
        if path.is_file():
            return path
        if not path.exists() and _REPO.fullmatch(named):
            return None
    except OSError as error:
        raise _refused(path, error) from error
    raise ReadFailed(
        f"there is no data {named}",
        detail="a path is relative to the recipe; a data set of the Hub is named org/name",
        subject=str(path),
        hint=_KINDS,
    )


def read_rows(named: str, folder: Path) -> Iterator[Row]:
    """Rows of what a recipe names as data; see `local`.

    Raises:
        ReadFailed: there is no such file, or the system or the Hub refuses.
        UnsupportedFormat: the file is of another kind.
        MalformedFile, LimitExceeded: it is an array or a table that cannot be read.
        MissingExtra: the Hub, or a table, and `datasets` is not installed.
    """
    path = local(named, folder)
    if path is None:
        match = _REPO.fullmatch(named)
        assert match is not None
        yield from _of_hub(match.group(1), match.group(2), match.group(3) or "train")
        return
    try:
        yield from _of_file(path)
    except OSError as error:
        raise _refused(path, error) from error


def check_readable(named: str, folder: Path) -> None:
    """Refuse data on this machine that no stage could read, as far as the first row shows it.

    Raises:
        TokengraftError: as `read_rows`.
    """
    if local(named, folder) is not None:
        next(read_rows(named, folder), None)


def _refused(path: Path, error: OSError) -> ReadFailed:
    return ReadFailed(
        f"the data {path.name} cannot be read",
        detail=error.strerror or type(error).__name__,
        subject=str(path),
        hint=f"ls -l {shlex.quote(str(path.parent))} shows whose it is; name another file in [train] data",
    )


def _of_file(path: Path) -> Iterator[Row]:
    match path.suffix.lower():
        case ".jsonl" | ".ndjson":
            return _lines(path)
        case ".json":
            return _lines(path) if _is_lines(path) else _array(path)
        case ".parquet":
            return _table(path)
        case suffix if suffix in PLAIN_TEXT:
            return _documents(path)
        case suffix:
            raise UnsupportedFormat(
                f"data of the kind {suffix} are not read",
                subject=str(path),
                hint=_KINDS,
            )


def _is_lines(path: Path) -> bool:
    """Whether the first line that is not blank is a row of its own."""
    with path.open("rb") as file:
        for _, line in _bounded(file):
            if text := line.removeprefix(_BOM).strip():
                return not text.startswith(b"[") and not _parsed(text)[1]
    return True


def _bounded(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, each up to a byte beyond the limit."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        yield number, line
        while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE_BYTES + 1)


def _parsed(text: bytes) -> tuple[Any, str]:
    """A value and why there is none."""
    try:
        return json.loads(text), ""
    except ValueError:
        return None, "the line is not JSON"
    except RecursionError:
        return None, "the line is JSON nested too deeply"


def _lines(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in _bounded(file):
            if len(line) > MAX_LINE_BYTES:
                yield Row(number, None, "the line is longer than 64 MiB")
            elif text := line.removeprefix(_BOM).strip():
                yield Row(number, *_parsed(text))


def _array(path: Path) -> Iterator[Row]:
    if path.stat().st_size > MAX_ARRAY_BYTES:
        raise LimitExceeded(
            f"{path.name} is one array of more than 2 GiB",
            detail="an array can only be read whole",
            subject=str(path),
            hint="write it as JSON Lines, one row a line: those are read one by one",
        )
    try:
        found = json.loads(path.read_bytes().removeprefix(_BOM))
    except (ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        raise MalformedFile(
            f"{path.name} is not JSON",
            detail="it is nested too deeply" if deep else str(error)[:200],
            subject=str(path),
            hint="write it as JSON Lines, one row a line: a line that cannot be read is left out",
        ) from error
    for number, row in enumerate(found if isinstance(found, list) else [found], 1):
        yield Row(number, row)


def _documents(path: Path) -> Iterator[Row]:
    first, number, lines, size = 0, 1, list[str](), 0
    # What is no UTF-8 comes through as surrogates, so that the documents around it can be read.
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline=None) as file:
        while line := file.readline(MAX_DOCUMENT):
            if line.strip():
                first = first or number
                lines.append(line)
                size += len(line)
            if lines and (not line.strip() or size >= MAX_DOCUMENT):
                yield _document(first, lines)
                first, lines, size = 0, [], 0
            number += line.endswith("\n")
    if lines:
        yield _document(first, lines)


def _document(line: int, lines: list[str]) -> Row:
    text = "".join(lines).rstrip("\n")
    try:
        text.encode()
    except UnicodeEncodeError:
        return Row(line, None, "the text is not UTF-8")
    return Row(line, {"text": text})


def _table(path: Path) -> Iterator[Row]:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise _missing(error) from error
    try:
        # `streaming` reads row groups as they are asked for.
        rows = load_dataset("parquet", data_files=str(path), split="train", streaming=True)
        for number, row in enumerate(rows, 1):
            yield Row(number, _without_null(row))
    except OSError:
        raise
    except Exception as error:  # of pyarrow or datasets, each with its own
        raise MalformedFile(
            f"{path.name} is no table that can be read",
            detail=_told(error),
            subject=str(path),
            hint="write it again as .parquet, or as JSON Lines, one row a line",
        ) from error


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
        for number, row in enumerate(rows, 1):
            yield Row(number, _without_null(row))
    except Exception as error:
        raise ReadFailed(
            f"the data set {repo} cannot be read",
            detail=_told(error),
            subject=repo,
            hint="a local file is named relative to the recipe; [train] data = 'org/name[split]' "
            "names another split",
        ) from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"


def _missing(error: ImportError) -> MissingExtra:
    return MissingExtra(
        "reading tables and data sets of the Hub needs datasets",
        detail=str(error),
        hint="pip install 'tokengraft[train]'",
    )
