"""Text files cut into documents, and documents dealt out to parts: fit, validation, test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

FEWEST_CHARACTERS = 800  # of a document: some 200 pieces, so that windows have a past and a future


def documents(paths: Iterable[Path]) -> list[str]:
    """Cut texts at line breaks into documents of at least `FEWEST_CHARACTERS`, in order.

    A blank line ends a document sooner where that is long enough; stories stay whole where their
    lines are short.
    """
    found = []
    for path in paths:
        lines: list[str] = []
        size = 0
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            lines.append(line)
            size += len(line)
            if size >= FEWEST_CHARACTERS:
                found.append("".join(lines).strip("\n"))
                lines, size = [], 0
        if "".join(lines).strip():
            found.append("".join(lines).strip("\n"))
    return found


def share_of(document: str) -> float:
    """A number in [0, 1) that depends on the document's text alone."""
    digest = hashlib.sha256(document.encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def held_out(document: str, part: float) -> bool:
    """Whether a document belongs to the `part` that a trained subject has not seen.

    Another hash than that which deals documents out to parts, so that the two are independent.
    """
    return share_of(f"held out\n{document}") < part
