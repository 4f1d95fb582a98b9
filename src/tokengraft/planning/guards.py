"""Cuts before the model that let a word be one id where it stands whole, and only there.

Two things are cut out of the text: a word that stands whole and would reach the model glued to its
neighbour (*isolated*); and the first pieces of a word that would reach the model alone although it
does not stand whole, since `ignore_merges` would make it one id (*broken*, at a place where the old
pieces part, so that they come out as before).
"""

from __future__ import annotations

from tokengraft.checkpoint import JsonValue
from tokengraft.planning.draft import Draft
from tokengraft.planning.guards_bytes import byte_level_cuts
from tokengraft.planning.guards_letters import letter_cuts
from tokengraft.planning.library import Library
from tokengraft.planning.patterns import Problems


def guards(draft: Draft, library: Library) -> tuple[JsonValue, Problems]:
    """The pre-tokenizer that the draft's words need, None if the present one does.

    Returns:
        The value of `pre_tokenizer`, and why some words cannot be had.
    """
    byte_level = draft.tokenizer.byte_level
    cuts, problems = (byte_level_cuts if byte_level else letter_cuts)(draft, library)
    splits = [_split(cut) for cut in cuts]
    if not splits:
        return None, problems
    there = _steps(draft.checkpoint.value("tokenizer.json", "/pre_tokenizer"))
    # Pieces of bytes are cut as text, before it is spelled; others once spaces have their letter.
    steps = [*splits, *there] if byte_level else [*there, *splits]
    if len(steps) == 1:
        return steps[0], problems
    return {"type": "Sequence", "pretokenizers": steps}, problems


def _steps(value: JsonValue) -> list[JsonValue]:
    if value is None:
        return []
    if isinstance(value, dict) and value.get("type") == "Sequence":
        steps = value.get("pretokenizers")
        return list(steps) if isinstance(steps, list) else []
    return [value]


def _split(pattern: str) -> JsonValue:
    return {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
