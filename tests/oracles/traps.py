"""Edits of one side of a tokenizer, made by hand on Qwen3-30B-A3B's files (see `small_qwen`).

What each library makes of them was measured on transformers 4.57.6 and 5.23.0 and tokenizers 0.22.2
and 0.23.3; `EXPECTED` holds it, so that a new release which reads files differently fails a test.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Docs = dict[str, Json]  # by file name

NEW, START, RENAMED, PAD = "<|new|>", "<|im_start|>", "<|renamed|>", "<|pad|>"
FLAGS = {
    "single_word": False,
    "lstrip": False,
    "rstrip": False,
    "normalized": False,
    "special": True,
}
JSON_FILES = ("tokenizer.json", "tokenizer_config.json")
TOKENS = [NEW, START, RENAMED, PAD, "<|im_end|>", "<think>"]
TEXTS = [f"a{NEW}b", f"{START}user", "one two three", "word " * 20]


def docs_of(source: Path) -> Docs:
    return {name: json.loads((source / name).read_bytes()) for name in JSON_FILES}


def write(folder: Path, source: Path, docs: Docs) -> Path:
    """The source's files, and these documents over them."""
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if path.name not in docs:
            shutil.copyfile(path, folder / path.name)
    for name, value in docs.items():
        text = json.dumps(value, ensure_ascii=False)  # quick: without indentation, in C
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def into_tokenizer(docs: Docs, token_id: int = 2669, content: str = NEW, **flags: bool) -> None:
    entry = {"id": token_id, "content": content, **FLAGS, **flags}
    docs["tokenizer.json"]["added_tokens"].append(entry)


def into_config(docs: Docs, token_id: int = 2669, content: str = NEW, **flags: bool) -> None:
    entry = {"content": content, **FLAGS, **flags}
    docs["tokenizer_config.json"]["added_tokens_decoder"][str(token_id)] = entry


def with_a_gap(docs: Docs) -> None:
    into_tokenizer(docs, 2936)
    into_config(docs, 2936)


def rename_in_config(docs: Docs) -> None:
    config = docs["tokenizer_config.json"]
    config["added_tokens_decoder"]["2644"]["content"] = RENAMED
    listed = config["additional_special_tokens"]
    listed[listed.index(START)] = RENAMED


def rename_in_tokenizer(docs: Docs) -> None:
    (entry,) = [e for e in docs["tokenizer.json"]["added_tokens"] if e["content"] == START]
    entry["content"] = RENAMED


def rename_in_both(docs: Docs) -> None:
    rename_in_config(docs)
    rename_in_tokenizer(docs)


def also_into_the_vocabulary(docs: Docs) -> None:
    docs["tokenizer.json"]["model"]["vocab"][NEW] = 2669
    into_tokenizer(docs)
    into_config(docs)


def with_a_duplicate_id(docs: Docs) -> None:
    into_tokenizer(docs, 2665)


def other_splitting(docs: Docs) -> None:
    """Words no longer take the space before them."""
    split = docs["tokenizer.json"]["pre_tokenizer"]["pretokenizers"][0]
    old = split["pattern"]["Regex"]
    split["pattern"]["Regex"] = old.replace(r"[^\r\n\p{L}\p{N}]?\p{L}+", r"\p{L}+")
    assert old != split["pattern"]["Regex"]


def other_splitting_in_a_generic_class(docs: Docs) -> None:
    other_splitting(docs)
    docs["tokenizer_config.json"]["tokenizer_class"] = "PreTrainedTokenizerFast"


def without_decoder(docs: Docs) -> None:
    into_tokenizer(docs)
    del docs["tokenizer_config.json"]["added_tokens_decoder"]


def with_another_flag(docs: Docs) -> None:
    into_tokenizer(docs, special=False)
    into_config(docs, special=True)


def pad_in_config(docs: Docs) -> None:
    docs["tokenizer_config.json"]["pad_token"] = PAD


def stale_map(docs: Docs) -> None:
    docs["special_tokens_map.json"] = {"eos_token": "<|im_end|>", "pad_token": "<|vision_pad|>"}


def stale_map_without_decoder(docs: Docs) -> None:
    stale_map(docs)
    without_decoder(docs)


def post_processor(docs: Docs) -> None:
    """Every text begins with the token that opens turns, by name and by id."""
    first = [{"SpecialToken": {"id": START, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = [*first, {"Sequence": {"id": "B", "type_id": 1}}]
    special = {START: {"id": START, "ids": [2644], "tokens": [START]}}
    docs["tokenizer.json"]["post_processor"] = {
        "type": "TemplateProcessing",
        "single": first,
        "pair": pair,
        "special_tokens": special,
    }


def post_processor_of_a_renamed_token(docs: Docs) -> None:
    post_processor(docs)
    rename_in_both(docs)


def truncation_and_padding(docs: Docs) -> None:
    docs["tokenizer.json"]["truncation"] = {
        "direction": "Right",
        "max_length": 8,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    docs["tokenizer.json"]["padding"] = {
        "strategy": {"Fixed": 8},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 2643,
        "pad_type_id": 0,
        "pad_token": "<|endoftext|>",
    }


Ids = dict[str, int | None]
EXPECTED: dict[str, tuple[Callable[[Docs], None], Ids, Ids, Ids]] = {
    # what it is: the edit, then ids in transformers 4, transformers 5 and tokenizers
    "only in tokenizer.json": (into_tokenizer, {NEW: 2669}, {NEW: None}, {NEW: 2669}),
    "only in added_tokens_decoder": (into_config, {NEW: 2669}, {NEW: 2669}, {NEW: None}),
    "an id behind a gap": (with_a_gap, {NEW: 2669}, {NEW: 2669}, {NEW: 2669}),
    "renamed in the config alone": (
        rename_in_config,
        {START: 2644, RENAMED: 2669},
        {START: None, RENAMED: 2644},
        {START: 2644, RENAMED: None},
    ),
    "renamed in tokenizer.json alone": (
        rename_in_tokenizer,
        {START: 2669, RENAMED: 2644},
        {START: 2644, RENAMED: None},
        {START: None, RENAMED: 2644},
    ),
    "renamed in both": (
        rename_in_both,
        {START: None, RENAMED: 2644},
        {START: None, RENAMED: 2644},
        {START: None, RENAMED: 2644},
    ),
    "in the vocabulary too": (
        also_into_the_vocabulary,
        {START: 2645, "<think>": 2668},
        {START: 2645, "<think>": 2668},
        {START: 2645, "<think>": 2668},
    ),
    "a duplicate id": (with_a_duplicate_id, {NEW: 2669}, {NEW: None}, {NEW: 2669}),
    "no added_tokens_decoder": (without_decoder, {NEW: 2669}, {NEW: 2669}, {NEW: 2669}),
    "a pad that only the config names": (
        pad_in_config,
        {PAD: 2669},
        {PAD: 2669},
        {PAD: None},
    ),
    "other splitting": (other_splitting, {NEW: None}, {NEW: None}, {NEW: None}),
    "other splitting in a generic class": (
        other_splitting_in_a_generic_class,
        {NEW: None},
        {NEW: None},
        {NEW: None},
    ),
    "a flag that differs": (with_another_flag, {NEW: 2669}, {NEW: 2669}, {NEW: 2669}),
    "a stale map": (stale_map, {PAD: None}, {PAD: None}, {PAD: None}),
    "a stale map without decoder": (
        stale_map_without_decoder,
        {NEW: 2669},
        {NEW: 2669},
        {NEW: 2669},
    ),
    "a post-processor of a renamed token": (
        post_processor_of_a_renamed_token,
        {START: None, RENAMED: 2644},
        {START: None, RENAMED: 2644},
        {START: None, RENAMED: 2644},
    ),
    "truncation and padding": (truncation_and_padding, {NEW: None}, {NEW: None}, {NEW: None}),
}
