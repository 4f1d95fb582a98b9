"""How byte-level tokenizers spell text: each of the 256 bytes is a letter that can be printed.

Bytes that can be printed stand for themselves, the other 68 follow from U+0100 on.
Source: GPT-2's `bytes_to_unicode`, which tokenizers' ByteLevel repeats.
"""

from __future__ import annotations

_PLAIN = (*range(33, 127), *range(161, 173), *range(174, 256))
_OTHERS = tuple(byte for byte in range(256) if byte not in _PLAIN)
_LETTER_OF = {byte: chr(byte) for byte in _PLAIN} | {
    byte: chr(256 + at) for at, byte in enumerate(_OTHERS)
}
_BYTE_OF = {letter: byte for byte, letter in _LETTER_OF.items()}

# UTF-8: bytes that can begin a letter of two to four bytes, from which on it has a third and a
# fourth, and the two highest bits of those that continue it.
_FIRST, _LAST = 0xC2, 0xF4
_LONGER = (0xE0, 0xF0)
_CONTINUES = 0b10

# What other vocabularies write for a space, as SentencePiece does.
SPACE = "▁"
# The letters in the order of the bytes that they spell.
BYTE_LETTERS = tuple(_LETTER_OF[byte] for byte in range(256))


def spelled(text: str) -> str:
    """Spell a text in the letters of its bytes, as pieces of a byte-level vocabulary are."""
    return "".join(BYTE_LETTERS[byte] for byte in text.encode())


def bytes_of(piece: str) -> bytes | None:
    """The bytes that a piece spells, None if one of its letters spells no byte."""
    try:
        return bytes(_BYTE_OF[letter] for letter in piece)
    except KeyError:
        return None


def readable(piece: str, byte_level: bool) -> str:  # noqa: FBT001 - one of two spellings
    """The text that a piece of a vocabulary stands for; U+FFFD where it is a part of a letter."""
    if not byte_level:
        return piece.replace(SPACE, " ")
    data = bytes_of(piece)
    return piece if data is None else data.decode("utf-8", "replace")


def is_whole(data: bytes) -> bool:
    """Whether bytes are whole letters in UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def begins_a_letter(data: bytes) -> bool:
    """Whether bytes are the beginning of one letter in UTF-8, and nothing else."""
    if not data or not _FIRST <= data[0] <= _LAST:
        return False
    size = 2 + sum(data[0] >= first for first in _LONGER)
    return len(data) < size and all(byte >> 6 == _CONTINUES for byte in data[1:])
