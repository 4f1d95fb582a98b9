"""The one tokenizer that a child has loaded; every answer is given with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LOADED: list[Tokenizer] = []


def keep(tokenizer: Tokenizer) -> None:
    """Remember a tokenizer instead of the one before."""
    _LOADED[:] = [tokenizer]


def loaded() -> Tokenizer:
    """The tokenizer that every answer is given with."""
    assert _LOADED, "load a tokenizer first"
    return _LOADED[0]


def ids_of(texts: list[str]) -> list[list[int]]:
    """Encode each text alone, without the special tokens of a post-processor."""
    tokenizer = loaded()
    # The fast one (tokenizers 0.21) leaves out the offsets, which are not asked for here.
    batch = getattr(tokenizer, "encode_batch_fast", tokenizer.encode_batch)
    return [encoding.ids for encoding in batch(texts, add_special_tokens=False)]
