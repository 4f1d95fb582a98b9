"""Defects of the rules T and R: tokens, ids and names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from planting import (
    END_OF_TEXT,
    IM_END,
    IM_START,
    TOOL_CALL,
    Defect,
    built,
    config,
    generation,
    in_json,
    tokenizer,
    with_edit,
    with_files,
)

import tiny
from tiny import DROP, QWEN_LIKE, Added


def _decoder(table: Mapping[int, Added], **flags: bool) -> dict[str, Any]:
    return {str(at): {**asdict(token), **flags} for at, token in table.items()}


_TABLE = tiny.Tiny().table()
_SWAPPED = {**_TABLE, IM_START: _TABLE[IM_END], IM_END: _TABLE[IM_START]}


def _added(value: Any) -> None:
    value["added_tokens"][-1]["id"] += 100


DEFECTS = (
    Defect(
        "T101",
        bad=(
            built(out_of_step=True),
            tokenizer(added_tokens_decoder=_decoder(dict(list(_TABLE.items())[:-1]))),
        ),
        good=(built(legacy=True), tokenizer(added_tokens_decoder=DROP)),
    ),
    Defect(
        "T102",
        bad=(
            tokenizer(added_tokens_decoder=_decoder(_SWAPPED)),
            tokenizer(
                added_tokens_decoder=_decoder({**_TABLE, TOOL_CALL: Added("<|other|>")}),
            ),
        ),
        good=(built(), built(kind="byte-fallback")),
        also=frozenset({"T101"}),
    ),
    Defect(
        "T103",
        bad=(
            tokenizer(added_tokens_decoder=_decoder(_TABLE, lstrip=True)),
            tokenizer(added_tokens_decoder=_decoder(_TABLE, special=True)),
        ),
        good=(built(added=(*QWEN_LIKE, Added("<mask>", lstrip=True))),),
        also=frozenset({"T306"}),
    ),
    Defect(
        "T104",
        bad=(
            with_edit(in_json("tokenizer.json", _added)),
            with_edit(in_json("tokenizer.json", _added), kind="byte-fallback"),
        ),
        good=(built(added=("<|im_end|>", "<|endoftext|>", "<|im_start|>")),),
        also=frozenset({"T102"}),
    ),
    Defect(
        "T105",
        bad=(
            tokenizer(extra_special_tokens=["<|im_start|>"]),
            tokenizer(extra_special_tokens=[]),
        ),
        good=(tokenizer(extra_special_tokens={}), tokenizer(extra_special_tokens=DROP)),
    ),
    Defect(
        "R101",
        bad=(
            with_files({"special_tokens_map.json": {"pad_token": "<|im_start|>"}}, legacy=True),
            with_files({"special_tokens_map.json": {"eos_token": {"content": "<|im_start|>"}}}),
            with_files(
                {
                    "special_tokens_map.json": {"pad_token": "<|im_start|>"},
                    "tokenizer_config.json": {"added_tokens_decoder": DROP},
                }
            ),
        ),
        good=(
            with_files({"special_tokens_map.json": {"eos_token": {"content": "<|im_end|>"}}}),
            with_files({"special_tokens_map.json": {"unk_token": "<|endoftext|>"}}),
        ),
    ),
    Defect(
        "R102",
        bad=(
            generation(pad_token_id=IM_START),
            with_files({"generation_config.json": None, "config.json": {"eos_token_id": IM_START}}),
        ),
        good=(
            config(eos_token_id=END_OF_TEXT),  # generation_config.json decides
            config(pad_token_id=END_OF_TEXT),
            config(pad_token_id=None),
        ),
        also=frozenset({"R301"}),
    ),
    Defect(
        "R103",
        bad=(
            tokenizer(pad_token="<|pad|>"),
            tokenizer(additional_special_tokens=["<|im_start|>", "<|new|>"]),
        ),
        good=(tokenizer(unk_token="hello"), tokenizer(unk_token={"content": "<|endoftext|>"})),
    ),
    Defect(
        "R201",
        bad=(tokenizer(eos_token="<|endoftext|>"), tokenizer(pad_token="<|im_end|>")),
        good=(built(), tokenizer(pad_token=None)),
        also=frozenset({"R102"}),
    ),
    Defect(
        "R202",
        bad=(tokenizer(pad_token=None), built(kind="byte-fallback", added=("<|im_end|>",))),
        good=(
            built(),
            tokenizer(pad_token=DROP),  # Qwen2Tokenizer has one of its own
        ),
        also=frozenset({"J101"}),
    ),
    Defect(
        "R203",
        bad=(config(pad_token_id=320), generation(bos_token_id=-1)),
        good=(config(pad_token_id=None), config(sep_token_id=319)),
    ),
    Defect(
        "R301",
        bad=(
            generation(eos_token_id=END_OF_TEXT),
            with_files(
                {"config.json": {"eos_token_id": END_OF_TEXT}, "generation_config.json": None}
            ),
        ),
        good=(
            generation(eos_token_id=[END_OF_TEXT, IM_END]),
            built(base=True, template=False),
            with_files({"generation_config.json": None, "config.json": {"eos_token_id": None}}),
        ),
        also=frozenset({"R102"}),
    ),
)
