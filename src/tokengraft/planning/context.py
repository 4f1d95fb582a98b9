"""The context length: every field that speaks of it, set together.

What the fields must say is worked out in `positions`; docs/explanation/context.md has the table.
"""

from __future__ import annotations

from dataclasses import replace

from tokengraft.planning.draft import Draft
from tokengraft.positions import stretch, told
from tokengraft.recipes import Context


def set_context(draft: Draft, context: Context) -> Draft:
    """Set positions, the config's length and the lengths of other files to one another."""
    found = stretch(draft.checkpoint, context)
    if found.problems:
        return replace(draft, problems=(*draft.problems, *found.problems))
    for (file, pointer), value in found.settings.items():
        draft = draft.with_setting(file, pointer, value)
    for sentence in told(draft.checkpoint, found):
        draft = draft.with_note(sentence)
    return draft
