"""What pieces of a vocabulary are made of: their bytes, and where words begin and go on.

A phrase of pieces is replaced by a new token only where the whole word ends with it: " walk" inside
" walking" is another word. That is decided on ids, so that the text need not be looked at again.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.spelling import bytes_of

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>\Z")
_META = "\u2581"  # SentencePiece's visible space
_ASCII_WORD = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_'")
_FIRST_HIGH_BYTE = 0x80  # of characters outside ASCII, which count as letters


@dataclass(frozen=True, slots=True, eq=False)
class WordPieces:
    """The pieces of a vocabulary, seen as parts of words.

    Attributes:
        bytes_V: what each id stands for; empty for special tokens and unused ids.
        begins_V: whether it begins a word: a space and letters, or a space alone.
        goes_on_V: whether it goes on with the word before it: letters without a space.
    """

    bytes_V: tuple[bytes, ...]
    begins_V: NDArray[np.bool_]
    goes_on_V: NDArray[np.bool_]

    def text(self, ids: Any) -> str:
        """The text of ids; bytes that are no UTF-8 become replacement characters."""
        return b"".join(self.bytes_V[i] for i in ids).decode("utf-8", "replace")

    def size(self, ids: Any) -> int:
        """Bytes of the text."""
        return sum(len(self.bytes_V[i]) for i in ids)


def word_pieces(tokenizer: Any, n_rows: int) -> WordPieces:
    """Read the pieces of a `tokenizers.Tokenizer`.

    Args:
        n_rows: rows of the embedding matrix; ids without a piece are unused.
    """
    special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    is_byte_level = _decodes_bytes(json.loads(tokenizer.to_str())["decoder"])
    found = []
    for i in range(n_rows):
        piece = None if i in special else tokenizer.id_to_token(i)
        found.append(b"" if piece is None else _bytes(piece, is_byte_level=is_byte_level))
    begins = [raw[:1] == b" " and all(map(_is_letter, raw[1:])) for raw in found]
    goes_on = [bool(raw) and all(map(_is_letter, raw)) for raw in found]
    return WordPieces(tuple(found), np.array(begins), np.array(goes_on))


def _decodes_bytes(decoder: Any) -> bool:
    """Whether letters of pieces are bytes: its decoder says so, no single piece does."""
    if decoder is None:
        return False
    if decoder["type"] == "Sequence":
        return any(map(_decodes_bytes, decoder["decoders"]))
    return bool(decoder["type"] == "ByteLevel")


def _bytes(piece: str, *, is_byte_level: bool) -> bytes:
    raw = bytes_of(piece) if is_byte_level else None
    if raw is not None:
        return raw
    single = _BYTE_PIECE.match(piece)
    if single:
        return bytes([int(single[1], 16)])
    return piece.replace(_META, " ").encode()


def _is_letter(byte: int) -> bool:
    return byte in _ASCII_WORD or byte >= _FIRST_HIGH_BYTE
