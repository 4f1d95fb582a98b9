"""Finds English that was left in Russian text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# What Russian writes as it is: words of the field, of JSON and of our goals, and names of programs.
TERMS: Final = frozenset(
    (
        *("id", "eos", "bos", "pad", "unk", "sep", "cls", "mask", "null", "true", "false"),
        *("default", "pickle", "yarn", "rope", "lora", "linear", "longrope", "jinja", "regex"),
        *("llama", "qwen", "transformers", "tokenizers", "tokengraft", "safetensors", "string"),
        *("inference", "generic", "roles", "tools", "thinking", "protocol", "context"),
    )
)
_QUOTED: Final = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|«[^»]*»|`[^`]*`")
_CODE: Final = re.compile(r"[_./\\#<>|{}=\[\]\d@%*^$+]|--")
_WORD: Final = re.compile(r"[A-Za-z]{2,}(?:['-][A-Za-z]+)*")
# Commands, and sections of a recipe.
_COMMAND: Final = re.compile(
    r"^ *(\$ )?tokengraft .*$|\btokengraft( [a-z]+)+|\[\w+\] \w+ = .*$|\b\w+ = [^\s),]+|\{%.*?%\}",
    re.MULTILINE,
)
_NAME: Final = re.compile("[a-z][A-Z]")  # BertProcessing


def words_left(text: str, known: frozenset[str] = frozenset()) -> list[str]:
    """English words in a Russian text: not quoted, in no command and no code, no term and no name."""
    left = []
    for chunk in _QUOTED.sub(" ", _COMMAND.sub("", text)).split():
        bare = chunk.strip(".,;:()!?—–…")
        if _CODE.search(bare) or bare in known or bare.lower() in TERMS:
            continue
        if _WORD.fullmatch(bare) and not bare.isupper() and not _NAME.search(bare):
            left.append(bare)
    return left


def words_of(folder: Path) -> frozenset[str]:
    """Words that the JSON files of a folder hold, which texts about it may quote as they are."""
    found: set[str] = set()
    for file in folder.rglob("*.json"):
        try:
            value = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, OSError):
            continue
        for text in _texts(value):
            found.update(text.split())
    return frozenset(found)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
