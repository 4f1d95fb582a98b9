"""Defects of names, stop lists (R) and of the vocabulary axis (E), beyond the first ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from planting import (
    END_OF_TEXT,
    IM_END,
    IM_START,
    TOOL_CALL,
    Defect,
    built,
    config,
    generation,
    tokenizer,
    with_edit,
    with_files,
)

import raw_tensors
from tiny import DROP


def _head_in_f32(folder: Path) -> None:
    tensors = raw_tensors.tensor_bytes(folder)
    _, shape, _ = tensors["lm_head.weight"]
    tensors["lm_head.weight"] = ("F32", shape, np.zeros(shape, np.float32).tobytes())
    raw_tensors.write_safetensors(folder / "model.safetensors", tensors)


def _head_in_f16(folder: Path) -> None:
    tensors = raw_tensors.tensor_bytes(folder)
    _, shape, data = tensors["model.embed_tokens.weight"]
    tensors["model.embed_tokens.weight"] = ("F16", shape, data)
    raw_tensors.write_safetensors(folder / "model.safetensors", tensors)


def _packed(name: str, dtype: str, width: int) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tensors = raw_tensors.tensor_bytes(folder)
        rows = tensors["model.embed_tokens.weight"][1][0]
        tensors.pop(name)
        tensors[name] = (dtype, (rows, width), bytes(rows * width))
        raw_tensors.write_safetensors(folder / "model.safetensors", tensors)

    return edit


_MAP = {"eos_token": "<|im_end|>"}
DEFECTS = (
    Defect(
        "R104",
        bad=(generation(bos_token_id=IM_END), config(bos_token_id=IM_START)),
        good=(generation(bos_token_id=DROP), config(eos_token_id=END_OF_TEXT)),
    ),
    Defect(
        "R105",
        bad=(tokenizer(eos_token=DROP), tokenizer(unk_token=DROP)),
        good=(
            tokenizer(bos_token=DROP),
            with_files(
                {"tokenizer_config.json": {"eos_token": DROP}, "special_tokens_map.json": _MAP}
            ),
        ),
        also=frozenset({"R305"}),
    ),
    Defect(
        "R106",
        bad=(
            with_files({"tokenizer_config.json": {"unk_token": "hello"}}),
            with_files({"tokenizer_config.json": {"unk_token": "er"}}, kind="byte-fallback"),
            with_files({"tokenizer_config.json": {"unk_token": None}}, kind="byte-fallback"),
        ),
        good=(tokenizer(unk_token="<|endoftext|>"), built(kind="byte-fallback")),
    ),
    Defect(
        "R204",
        bad=(generation(eos_token_id=[IM_END, END_OF_TEXT, 300]), config(pad_token_id=310)),
        good=(generation(eos_token_id=[IM_END, END_OF_TEXT]), config(pad_token_id=END_OF_TEXT)),
        also=frozenset({"R102"}),
    ),
    Defect(
        "R205",
        bad=(
            with_files(
                {
                    "tokenizer_config.json": {"pad_token": "<|im_start|>"},
                    "generation_config.json": {"pad_token_id": IM_START},
                }
            ),
            with_files(
                {
                    "tokenizer_config.json": {"pad_token": "<tool_call>"},
                    "generation_config.json": {"pad_token_id": TOOL_CALL},
                }
            ),
        ),
        good=(built(), tokenizer(pad_token="<|im_end|>")),
        also=frozenset({"R302", "T307"}),
    ),
    Defect(
        "R302",
        bad=(generation(eos_token_id=IM_END), generation(eos_token_id=[IM_END])),
        good=(built(), built(base=True), built(added=("<|im_end|>",))),
    ),
    Defect(
        "R303",
        bad=(generation(eos_token_id=DROP), generation(eos_token_id=[])),
        good=(built(), with_files({"generation_config.json": None})),
    ),
    Defect(
        "R304",
        bad=(
            generation(eos_token_id=[IM_END, END_OF_TEXT, 286]),
            generation(eos_token_id=[IM_END, END_OF_TEXT, IM_START]),
        ),
        good=(built(), generation(eos_token_id=[IM_END, END_OF_TEXT])),
    ),
    Defect(
        "R305",
        bad=(
            tokenizer(eos_token=None),
            tokenizer(eos_token=DROP, tokenizer_class="PreTrainedTokenizerFast"),
        ),
        good=(built(), built(base=True), built(template=False)),
        also=frozenset({"R105"}),
    ),
    Defect(
        "E105",
        bad=(built(n_rows=1600), with_files({"config.json": {"vocab_size": 3008}}, shards=0)),
        good=(built(n_rows=1024), built()),
    ),
    Defect(
        "E106",
        bad=(built(n_rows=4097), with_files({"config.json": {"vocab_size": 5001}}, shards=0)),
        good=(built(n_rows=294), built(n_rows=4160)),
        also=frozenset({"E105"}),
    ),
    Defect(
        "E107",
        bad=(
            with_edit(_packed("lm_head.weight", "U8", 4)),
            with_edit(_packed("lm_head.weight", "I8", 8)),
        ),
        good=(built(), built(tied=True)),
        also=frozenset({"E108", "E103"}),
    ),
    Defect(
        "E108",
        bad=(with_edit(_head_in_f32), with_edit(_head_in_f16)),
        good=(built(), built(tied=True)),
    ),
    Defect(
        "E109",
        bad=(
            config(text_config={"vocab_size": 320, "hidden_size": 8, "tie_word_embeddings": True}),
            with_files(
                {
                    "config.json": {
                        "text_config": {
                            "vocab_size": 320,
                            "hidden_size": 8,
                            "tie_word_embeddings": False,
                        }
                    }
                },
                tied=True,
            ),
        ),
        good=(
            built(),
            config(text_config={"vocab_size": 320, "hidden_size": 8, "tie_word_embeddings": False}),
        ),
    ),
)
