"""JSON on stdout: exactly one document, UTF-8, with nothing hostile left raw in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokengraft.reporting import escape

if TYPE_CHECKING:  # errors are written here too, and must not wait for pydantic
    from tokengraft.documents import Document


def document(value: Document, extra: Mapping[str, object] | None = None) -> str:
    """A document as text; `extra` keys come last (the answer to a command may know more)."""
    # A recipe's own file needs no schema key; an answer always has one.
    return text({"schema": f"tokengraft/{value.kind}", **value.as_dict(), **(extra or {})})


def text(value: object) -> str:
    """Any JSON value as text with a final newline."""
    return escape.json_text(json.dumps(value, ensure_ascii=False, indent=2)) + "\n"


def error(fields: Mapping[str, str]) -> str:
    """A `tokengraft/error` document."""
    return text({"schema": "tokengraft/error", "version": 1, **fields})
