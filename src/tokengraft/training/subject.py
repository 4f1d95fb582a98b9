"""The base as training meets it: the model, its tokenizer, and what its pieces are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.boundaries import opening_ids
from tokengraft.errors import UnsupportedFormat
from tokengraft.training.language_model import LanguageModel, load_model
from tokengraft.training.word_pieces import WordPieces, word_pieces


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model with its tokenizer.

    Attributes:
        tokenizer: a `tokenizers.Tokenizer`, without padding and truncation.
        ranks: the merges of its BPE with their places; empty for other kinds.
        bos: an id that stands before every text, None if the tokenizer puts none there.
        used_V: rows that statistics may look at: those of pieces that are no special tokens.
    """

    model: LanguageModel
    tokenizer: Any
    words: WordPieces
    ranks: Mapping[tuple[str, str], int]
    bos: int | None
    used_V: NDArray[np.bool_]


def open_subject(
    folder: Path, dtype: str = "float32", device: str = "cpu", *, two_rows: bool = False
) -> Subject:
    """Load a base; the last one is kept, since stages follow each other on the same.

    Args:
        two_rows: whether new tokens get a row in each of two matrices, though the base may be tied.
    Raises:
        MissingExtra: torch or transformers are not installed.
        UnsupportedFormat: the model or its tokenizer is of a kind that is not trained here.
    """
    asked = (folder, dtype, device)
    if asked not in _KEPT:
        forget_subject()
        _KEPT[asked] = _opened(*asked)
    found = _KEPT[asked]
    if not two_rows or not found.model.tied:
        return found
    # The old rows of both are the same, so one matrix serves for them.
    return replace(found, model=replace(found.model, tied=False))


def forget_subject() -> None:
    """Let go of the base that is kept: where one model fits, two may not."""
    _KEPT.clear()


_KEPT: dict[tuple[Path, str, str], Subject] = {}


def _opened(folder: Path, dtype: str, device: str) -> Subject:
    tokenizer = open_tokenizer(folder)
    model = load_model(folder, dtype, device)
    words = word_pieces(tokenizer, model.n_rows)
    told = json.loads(tokenizer.to_str())
    bos = next(iter(opening_ids(told["post_processor"])), None)
    used = np.array([bool(raw) for raw in words.bytes_V])
    return Subject(model, tokenizer, words, _ranks(told["model"]), bos, used)


def open_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, as the tokenizers library reads it.

    Raises:
        UnsupportedFormat: there is no tokenizer.json.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise UnsupportedFormat(
            "the base has no tokenizer.json, which training reads",
            subject=str(folder),
            hint="save its tokenizer with transformers once: AutoTokenizer, use_fast=True",
        )
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _ranks(model: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    told = model.get("merges") or []
    pairs = (tuple(pair.split(" ", 1)) if isinstance(pair, str) else tuple(pair) for pair in told)
    return {(left, right): n for n, (left, right) in enumerate(pairs)}
