"""Texts of the source code that read as words and are not said to anybody, by room.

Each group has its reason. A text that is no longer in the code must leave this list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

UNSAID: Final[Mapping[str, frozenset[str]]] = {
    # names of commands, which next_commands joins
    "auditing": frozenset({"recipe new"}),
    "cli": frozenset(
        {
            *("recipe new", "recipe check", "recipe schema"),
            "dict[str, Any]",  # a type
            "{{done}} of {{total}}",  # among the views' words
            "a bug of ours, please report it with the traceback above",  # the same
        }
    ),
}
