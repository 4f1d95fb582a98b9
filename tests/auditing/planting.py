"""How a good checkpoint gets a defect: by other settings, or by an edit of one file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tiny

Make = Callable[[Path], Path]
START = len(tiny.Tiny().vocab())  # the first id behind the vocabulary: 287
END_OF_TEXT, IM_START, IM_END, TOOL_CALL = START, START + 1, START + 2, START + 3


@dataclass(frozen=True, slots=True)
class Defect:
    """A rule, folders that break it, folders that nearly do, and other rules a defect may break."""

    rule: str
    bad: tuple[Make, ...]
    good: tuple[Make, ...]
    also: frozenset[str] = frozenset()


def built(**fields: Any) -> Make:
    return lambda folder: tiny.build(folder, **fields)


def with_files(files: Mapping[str, Mapping[str, Any] | None], **fields: Any) -> Make:
    return built(files=files, **fields)


def with_edit(edit: Callable[[Path], None], **fields: Any) -> Make:
    def make(folder: Path) -> Path:
        tiny.build(folder, **fields)
        edit(folder)
        return folder

    return make


def in_json(file: str, change: Callable[[Any], None]) -> Callable[[Path], None]:
    """Change a parsed JSON file in place."""

    def edit(folder: Path) -> None:
        value = json.loads((folder / file).read_text(encoding="utf-8"))
        change(value)
        (folder / file).write_text(json.dumps(value), encoding="utf-8")

    return edit


def writing(file: str, text: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        (folder / file).write_text(text, encoding="utf-8")

    return edit


def config(**keys: Any) -> Make:
    return with_files({"config.json": keys})


def generation(**keys: Any) -> Make:
    return with_files({"generation_config.json": keys})


def tokenizer(**keys: Any) -> Make:
    return with_files({"tokenizer_config.json": keys})
