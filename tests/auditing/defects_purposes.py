"""Defects of names against purposes (R), and of steps against what other files say of them (T)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planting import Defect, Make, in_json, tokenizer, with_edit, with_files

import tiny
from tiny import DROP, QWEN_LIKE

_CUT = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
# A class that follows tokenizer.json in both versions of transformers.
_CLASS = {"tokenizer_class": "PreTrainedTokenizerFast", "add_prefix_space": False}
_SEEING = (*QWEN_LIKE, "<|image_pad|>", "<|vision_end|>")


def _plain(change: Callable[[Any], None], **keys: Any) -> Make:
    """A checkpoint that cuts text by ByteLevel alone, with a change of tokenizer.json."""

    def edit(value: Any) -> None:
        value["normalizer"], value["pre_tokenizer"] = None, dict(_CUT)
        change(value)

    files = {"tokenizer_config.json": {**_CLASS, **keys}}
    return with_edit(in_json("tokenizer.json", edit), files=files)


def _spaced(value: Any) -> None:
    value["pre_tokenizer"]["add_prefix_space"] = True


def _nested(value: Any) -> None:
    value["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [value["pre_tokenizer"]]}
    value["pre_tokenizer"]["pretokenizers"][0]["add_prefix_space"] = True


def _swapped(value: Any) -> None:
    value["normalizer"], value["pre_tokenizer"] = value["pre_tokenizer"], None


def _moved(value: Any) -> None:
    value["normalizer"] = {"type": "Sequence", "normalizers": [dict(_CUT)]}


def _spelled(value: Any) -> None:
    value["normalizer"] = {"type": "ByteLevel"}
    value["pre_tokenizer"] = {"type": "Whitespace"}


def _as_is(_: Any) -> None:
    pass


# Two letters behind a space: enough words to show that none crosses a border.
_WORDS = tuple(f" {one}{two}" for one in "abcdefgh" for two in "ijklmnopqrst")


def _wordy(change: Callable[[Any], None], *more: str) -> Make:
    """As `_plain`, with a vocabulary that was learned from words, and from `more`."""

    def make(folder: Path) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tiny, "WORDS", (*tiny.WORDS, *_WORDS, *more))
            return _plain(change)(folder)

    return make


def _uncut(value: Any) -> None:
    value["pre_tokenizer"]["use_regex"] = False


def _uncut_in_sequence(value: Any) -> None:
    _uncut(value)
    value["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [value["pre_tokenizer"]]}


def _split_first(value: Any) -> None:
    _uncut_in_sequence(value)
    split = {"type": "Split", "pattern": {"String": " "}, "behavior": "Isolated", "invert": False}
    value["pre_tokenizer"]["pretokenizers"].insert(0, split)


def _seeing(**keys: Any) -> Make:
    def edit(folder: Path) -> None:
        in_json("tokenizer_config.json", lambda value: value.update(keys))(folder)

    return with_edit(edit, added=_SEEING)


_OPENING = {"tokenizer_config.json": {"eos_token": "<|im_start|>"}}
DEFECTS = (
    Defect(
        "R107",
        bad=(
            tokenizer(eos_token="<|im_start|>"),
            with_files(_OPENING, kind="byte-fallback"),
            tokenizer(bos_token="<|im_end|>"),
        ),
        good=(
            tokenizer(eos_token="<|endoftext|>"),
            tokenizer(eos_token="</think>"),
            tokenizer(bos_token="<|im_start|>"),
            tokenizer(eos_token="<|im_start|>", chat_template=DROP),
        ),
        also=frozenset({"R102"}),
    ),
    Defect(
        "R108",
        bad=(
            _seeing(eos_token="<|image_pad|>", image_token="<|im_end|>"),
            _seeing(image_token="<|endoftext|>"),
            _seeing(extra_special_tokens={"vision_eos_token": "<|im_end|>"}),
        ),
        good=(
            _seeing(image_token="<|image_pad|>", vision_eos_token="<|vision_end|>"),
            _seeing(extra_special_tokens={"image_token": "<|image_pad|>"}),
            _seeing(end_of_answer_token="<|im_end|>"),
        ),
        also=frozenset({"R102"}),
    ),
    Defect(
        "T408",
        bad=(
            _plain(_spaced),
            _plain(_spaced, add_prefix_space=DROP),
            _plain(_as_is, add_prefix_space=True),
        ),
        good=(
            _plain(_as_is),
            _plain(_as_is, add_prefix_space=DROP),
            _plain(_spaced, add_prefix_space=True),
            _plain(_nested),
        ),
    ),
    Defect(
        "T409",
        bad=(_plain(_swapped), _plain(_moved)),
        good=(_plain(_as_is), _plain(_spelled)),
    ),
    Defect(
        "T410",
        bad=(_wordy(_uncut), _wordy(_uncut_in_sequence)),
        good=(
            _wordy(_as_is),
            _wordy(_split_first),
            _wordy(_uncut, "in the"),
            _plain(_uncut),
        ),
    ),
)
