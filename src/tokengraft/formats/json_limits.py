"""What is refused in a JSON text before it is parsed, because parsing it would cost too much."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Final

from tokengraft.errors import LimitExceeded, MalformedFile

MAX_VALUES: Final = 8_000_000  # four times those of the largest published tokenizer
MAX_DIGITS: Final = 308  # of a whole number: what a float holds too
_DIGITS: Final = bytes.maketrans(b"123456789", b"0" * 9)


def refuse_flood(data: bytes, file: str, max_values: int) -> None:
    """Refuse a text with too many values: one of three bytes takes more than a hundred in memory.

    Raises:
        LimitExceeded: it has more commas and opening brackets than that.
    """
    if sum(map(data.count, (b",", b"[", b"{"))) > max_values:
        raise LimitExceeded(
            "the JSON file holds too many values", detail=f"at most {max_values}", subject=file
        )


def refuse_long_numbers(data: bytes, file: str) -> None:
    """Refuse whole numbers that no float holds; a string of so many digits is let pass.

    Raises:
        MalformedFile: there is one.
    """
    if b"0" * (MAX_DIGITS + 1) not in data.translate(_DIGITS):
        return

    def whole(digits: str) -> int:
        if len(digits.lstrip("-")) > MAX_DIGITS:
            raise MalformedFile(
                "not valid JSON", detail=f"the number {digits[:40]}... is too large", subject=file
            )
        return int(digits)

    with suppress(ValueError, RecursionError):  # it is parsed again, and refused for that then
        json.loads(data, parse_int=whole, parse_constant=lambda _: None)
