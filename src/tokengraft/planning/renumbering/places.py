"""Every place of the JSON files that holds an id, or names a token by its text.

Configs of ten years keep ids under many keys. The keys that are known to hold ids are renumbered; a
number that may be an id under a key that nobody here knows is a reason to refuse, never a guess.
Source: transformers 4.57.6 and 5.23.0, configuration_*.py and generation/configuration_utils.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.formats.folders import is_graft_record
from tokengraft.formats.json_text import escape_key

TOKENIZER, CONFIG = "tokenizer.json", "config.json"
# Lists in which a token is registered, not used: a removed token leaves them.
LISTS = (
    ("tokenizer_config.json", "/additional_special_tokens"),
    ("tokenizer_config.json", "/extra_special_tokens"),
    ("special_tokens_map.json", "/additional_special_tokens"),
    ("special_tokens_map.json", "/extra_special_tokens"),
)
# Tables of tokens, which have writers of their own.
TABLES = frozenset(
    {
        ("added_tokens.json", ""),
        (TOKENIZER, "/added_tokens"),
        (TOKENIZER, "/model/vocab"),
        (TOKENIZER, "/model/merges"),
        ("tokenizer_config.json", "/added_tokens_decoder"),
    }
)
_IDS = re.compile(
    r"(.*_)?token_(ids?|index|idx|indices)|(begin_)?suppress_tokens|bad_words_ids|force_words_ids"
    r"|lang_to_id|task_to_id"
)
_PAIRS = {"forced_decoder_ids": 1, "sequence_bias": 0}  # which of a pair is the id, or ids
_COUNTS = re.compile(r"(max|min|num|n)_.*|.*(_per_|_length|_size|_count|_limit|_budget).*")
_PERHAPS = re.compile(r".*(token|vocab|_ids?$|_to_id).*")
_SUBCONFIG = re.compile(r".*_config|encoder|decoder|generator|question_encoder")


@dataclass(frozen=True, slots=True)
class IdPlace:
    """One number that is an id."""

    file: str
    pointer: str
    token_id: int


@dataclass(frozen=True, slots=True)
class Places:
    """What the files say of ids.

    Attributes:
        ids: every place that holds one.
        doubtful: places that hold numbers which may be ids, with why nobody can tell.
    """

    ids: tuple[IdPlace, ...]
    doubtful: tuple[tuple[IdPlace, str], ...]


def id_places(checkpoint: Checkpoint) -> Places:
    """Find the ids in all JSON files but the tables of tokens."""
    ids: list[IdPlace] = []
    doubtful: list[tuple[IdPlace, str]] = []
    for file in _files(checkpoint):
        value = checkpoint.value(file)
        if file == TOKENIZER:
            ids += _in_tokenizer(value)
            continue
        for place, why in _in_config(file, value, "", checkpoint.text_config):
            if why:
                doubtful.append((place, why))
            else:
                ids.append(place)
    return Places(tuple(ids), tuple(doubtful))


def _files(checkpoint: Checkpoint) -> Iterator[str]:
    for file in sorted(checkpoint.json):
        skipped = file.endswith(".index.json") or file == "added_tokens.json"
        if not skipped and not is_graft_record(file):
            yield file


def _in_tokenizer(value: JsonValue) -> Iterator[IdPlace]:
    """Padding, the unknown piece of a Unigram model, and what post-processors put around a text."""
    tokenizer = value if isinstance(value, dict) else {}
    for pointer in ("/padding/pad_id", "/model/unk_id"):
        part, key = pointer.split("/")[1:]
        inner = tokenizer.get(part)
        found = inner.get(key) if isinstance(inner, dict) else None
        yield from _leaves(TOKENIZER, pointer, found)
    yield from _in_processor(tokenizer.get("post_processor"), "/post_processor")


def _in_processor(value: JsonValue, pointer: str) -> Iterator[IdPlace]:
    if isinstance(value, list):
        for at, entry in enumerate(value):
            yield from _in_processor(entry, f"{pointer}/{at}")
        return
    for key, entry in (value if isinstance(value, dict) else {}).items():
        place = f"{pointer}/{escape_key(key)}"
        if key in ("sep", "cls") and isinstance(entry, list):
            yield from _leaves(TOKENIZER, place, entry)  # a text and an id
        elif key == "ids" and isinstance(entry, list):
            yield from _leaves(TOKENIZER, place, entry)
        else:
            yield from _in_processor(entry, place)


def _in_config(
    file: str, value: JsonValue, pointer: str, text_config: str, *, foreign: bool = False
) -> Iterator[tuple[IdPlace, str]]:
    """The ids below a place; `foreign` where it belongs to another part of the model."""
    if (file, pointer) in TABLES:
        return
    if isinstance(value, list):
        for at, entry in enumerate(value):
            if isinstance(entry, dict | list):
                below = f"{pointer}/{at}"
                yield from _in_config(file, entry, below, text_config, foreign=foreign)
        return
    for key, entry in (value if isinstance(value, dict) else {}).items():
        place = f"{pointer}/{escape_key(key)}"
        if _IDS.fullmatch(key) or key in _PAIRS:
            found = _leaves(file, place, _of_pairs(key, entry))
            why = "it belongs to a part of the model with a vocabulary of its own" * foreign
            yield from ((leaf, why) for leaf in found)
        elif isinstance(entry, dict | list) and not _is_numbers(entry):
            other = file == CONFIG and bool(_SUBCONFIG.fullmatch(key))
            other = other and not f"{text_config}/".startswith(f"{place}/")
            yield from _in_config(file, entry, place, text_config, foreign=foreign or other)
        elif _PERHAPS.fullmatch(key) and not _COUNTS.fullmatch(key):
            why = "nothing says whether a number under this key is an id"
            yield from ((leaf, why) for leaf in _leaves(file, place, entry))


def _is_numbers(value: JsonValue) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_id, value))


def _of_pairs(key: str, value: JsonValue) -> JsonValue:
    """Of pairs, the part that is an id; the other parts become null, so that places stay."""
    if key not in _PAIRS or not isinstance(value, list):
        return value
    which = _PAIRS[key]
    return [
        [part if at == which else None for at, part in enumerate(entry)]
        if isinstance(entry, list)
        else entry
        for entry in value
    ]


def _leaves(file: str, pointer: str, value: JsonValue) -> Iterator[IdPlace]:
    if isinstance(value, int) and _is_id(value):
        yield IdPlace(file, pointer, value)
    elif isinstance(value, list | dict):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, entry in items:
            yield from _leaves(file, f"{pointer}/{escape_key(str(key))}", entry)


def _is_id(value: JsonValue) -> bool:
    """Whether a number can be an id; -1 stands for none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def text_uses(checkpoint: Checkpoint) -> Mapping[str, str]:
    """Every string of the JSON files outside tables and lists of tokens, with the first place of it.

    Keys count as strings: post-processors keep token texts there.
    """
    found: dict[str, str] = {}
    templates = {
        (template.file, template.pointer)
        for template in (checkpoint.tokenizer.templates if checkpoint.tokenizer else ())
    }
    for file in _files(checkpoint):
        for text, pointer in _strings(file, checkpoint.value(file), "", templates):
            found.setdefault(text, f"{file}#{pointer}")
    return found


def _strings(
    file: str, value: JsonValue, pointer: str, templates: set[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    place = (file, pointer)
    if place in TABLES or place in templates:
        return
    if place in LISTS and isinstance(value, list):
        return
    if isinstance(value, str):
        yield value, pointer
    elif isinstance(value, list):
        for at, entry in enumerate(value):
            yield from _strings(file, entry, f"{pointer}/{at}", templates)
    elif isinstance(value, dict):
        for key, entry in value.items():
            below = f"{pointer}/{escape_key(key)}"
            yield key, below
            yield from _strings(file, entry, below, templates)
