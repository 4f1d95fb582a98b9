"""Markers, roles, tools, thinking, padding and stop list in one recipe; tests/slow has every template."""

from __future__ import annotations

from pathlib import Path

import pytest

from combining import IN_PARTS, combine, outcome
from test_chat_oracle import ROLES, THINKING
from test_turn_layouts import recipe_of
from tiny import build
from tokengraft.errors import RecipeError
from tokengraft.sandbox.templates import TemplateChild


def test_sections_together_write_what_they_write_alone(data: Path, tmp_path: Path) -> None:
    with TemplateChild() as child:
        found = combine(data, "Qwen-Qwen3-0.6B", "all", tmp_path / "base", child)
    assert found == dict.fromkeys(("rename", "add", "one token"), 12)


def test_a_beginning_that_is_written_in_parts_is_no_single_token_beside_taught_turns(
    tmp_path: Path,
) -> None:
    """The turn would begin otherwise than the template's new part expects, and lose its thoughts."""
    in_parts = (
        "{{- '<|im_start|>' + message.role }}{{- '\\n' + message.content + '<|im_end|>\\n' }}"
    )
    whole = "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    prompt = "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
    beginning = recipe_of({"<|im_start|>assistant\n": "<|answer|>"})
    for number, turn in enumerate((in_parts, whole)):
        template = "{%- for message in messages %}" + turn + "{%- endfor %}" + prompt
        files = {"tokenizer_config.json": {"chat_template": template}}
        folder = build(tmp_path / str(number), files=files)
        for sections in (ROLES, THINKING):
            if turn == whole:
                assert outcome(folder, beginning + sections).plan.tokens
                continue
            with pytest.raises(RecipeError) as caught:
                outcome(folder, beginning + sections)
            assert IN_PARTS in caught.value.detail
            assert "'<|answer|>' cannot be written" in caught.value.detail
