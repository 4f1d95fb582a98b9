"""Markers, roles, tools, thinking, padding and stop list in one recipe, on every published template."""

from __future__ import annotations

from pathlib import Path

import pytest

from combining import SECTIONS, combine
from test_chat_templates import TABLE
from test_turn_layouts import BEGINNINGS
from test_turn_templates import MARKERS
from tokengraft.sandbox.templates import TemplateChild


@pytest.mark.slow
@pytest.mark.parametrize("name", MARKERS)
def test_sections_together_write_what_they_write_alone(
    name: str, data: Path, tmp_path: Path
) -> None:
    refused = TABLE[name]
    with TemplateChild() as child:
        for what in SECTIONS:
            found = combine(data, name, what, tmp_path / what, child)
            # All of them together give markers of results, so what is refused without is not.
            whole = tuple(part for part in SECTIONS if part not in ("tools", "all"))
            parts = whole if what == "all" else (what,)
            able = not isinstance(refused, str) and not set(refused) & set(parts)
            if not able:
                assert found == {}
                continue
            in_parts = "assistant" in BEGINNINGS[name][1]
            assert found.pop("one token") == 12 or in_parts
            assert found == {"rename": 12, "add": 12}
