"""A `response_template` that is there already, where a template writes other tokens from now on.

transformers 5 reads a model's words back by it. Its anchors are literal texts (one, or a list of
which any matches) and patterns; each that holds what is replaced accepts the new text beside the
old, since the model may not have let the old one go.
Source: transformers 5.23, `utils/chat_parsing/response_templates.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tokengraft.checkpoint import JsonValue
from tokengraft.planning.draft import Draft
from tokengraft.planning.mentions import Renamer, loosely

CONFIG, KEY = "tokenizer_config.json", "/response_template"
LITERALS = ("start_anchor", "open", "close")
PATTERNS = ("start_anchor_pattern", "open_pattern", "close_pattern")


def read_both(draft: Draft, swaps: Mapping[str, str]) -> Draft:
    """Let responses be read with new texts beside the old ones; old to new."""
    before = draft.value(CONFIG, KEY)
    if (CONFIG, KEY) not in draft.settings and draft.renamed:
        before = Renamer.of(draft).value(before)
    if not swaps or not isinstance(before, dict):
        return draft
    after = _with_fields(_both(before, swaps), swaps)
    return draft if after == before else draft.with_setting(CONFIG, KEY, after)


def _with_fields(whole: dict[str, JsonValue], swaps: Mapping[str, str]) -> dict[str, JsonValue]:
    fields = whole.get("fields")
    if not isinstance(fields, dict):
        return whole
    read = {
        name: _both(field, swaps) if isinstance(field, dict) else field
        for name, field in fields.items()
    }
    return {**whole, "fields": read}


def _both(part: Mapping[str, JsonValue], swaps: Mapping[str, str]) -> dict[str, JsonValue]:
    found = dict(part)
    for key in LITERALS:
        if key in found:
            found[key] = _either(found[key], swaps)
    for key in PATTERNS:
        said = found.get(key)
        if isinstance(said, str):
            found[key] = _in_pattern(said, swaps)
    return found


def _either(said: JsonValue, swaps: Mapping[str, str]) -> JsonValue:
    texts = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    found: dict[str, None] = {}
    for old in (text for text in texts if isinstance(text, str)):
        new = old
        for text, other in swaps.items():
            new = new.replace(text, other)
        found |= {new: None, old: None}
    return list(found) if len(found) > len(texts) else said


def _in_pattern(said: str, swaps: Mapping[str, str]) -> str:
    for old, new in swaps.items():
        escaped = re.escape(new).replace("\\", "\\\\")  # the one for `re.sub`, which reads it again
        said = re.sub(f"({loosely(old)})", rf"(?:{escaped}|\1)", said)
    return said
