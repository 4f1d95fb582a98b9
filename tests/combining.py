"""Sections that all change a chat template, asked for together, on published templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conversations import conversations, rendered
from test_chat_oracle import PLANNER, RESULTS, ROLES, THINKING, THOUGHTS, TOOLS
from test_planning import fake_encode
from test_turn_layouts import BEGINNINGS, recipe_of
from test_turn_templates import (
    MARKERS,
    RECIPE,
    WANTS,
    library,
    names_of,
    template_of,
    with_template,
)
from tokengraft.errors import RecipeError
from tokengraft.flow.library import AskedTemplates
from tokengraft.formats.loading import load
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.planning import Outcome, Ports, plan
from tokengraft.sandbox.templates import TemplateChild

SECTIONS = {
    "input": ROLES,
    "output": "[roles]\n" + PLANNER,
    "tools": TOOLS,
    "results": TOOLS + RESULTS,
    "thinking": THINKING,
    "all": ROLES + PLANNER + TOOLS + RESULTS + THINKING,
}
IN_PARTS = "know the model's turns by how they begin"  # what is refused: a beginning in parts
NEW = ("<|turn|>", "<|turn_end|>")
REST = '[pad]\ntoken = "<|own_pad|>"\n[stop]\ntokens = "auto"\n'


def outcome(folder: Path, recipe: str) -> Outcome:
    wish, text = parse_recipe(f"version = 1\n{recipe}")
    with AskedTemplates() as render:
        ports = Ports(encode=fake_encode, digest=lambda name: f"digest of {name}", render=render)  # type: ignore[arg-type]
        return plan(load(folder), wish, text=text, tool="tokengraft test", ports=ports)


def talks(name: str, sections: str) -> list[dict[str, Any]]:
    """Conversations as published templates know them, some with what the sections are about."""
    found = conversations(6, **WANTS.get(name, {}))
    for number, talk in enumerate(conversations(6, **WANTS.get(name, {}))):
        messages = [dict(message) for message in talk["messages"]]
        users = [m for m in messages if m["role"] == "user"]
        answers = [m for m in messages if m["role"] == "assistant" and "tool_calls" not in m]
        if "my_agi_mode =" in sections and users:
            users[0]["role"] = "my_agi_mode"
        if "planner =" in sections and number % 2 and answers:
            answers[-1]["role"] = "planner"
        if "modules" in sections and number % 3 and answers:
            answers[-1]["thoughts"] = THOUGHTS
        found.append({**talk, "messages": messages})
    return found


def combine(data: Path, name: str, what: str, home: Path, child: TemplateChild) -> dict[str, int]:
    """Compare recipes of several sections with the sections alone; what was compared, counted.

    Returns an empty mapping where the sections alone are refused, and 0 where a token for the whole
    beginning of a turn is refused beside them.
    """
    sections, old = SECTIONS[what], MARKERS[name]
    folder = with_template(data, name, home)
    try:
        alone = outcome(folder, sections).after
    except RecipeError:
        return {}
    counted: dict[str, int] = {}
    form, roles = BEGINNINGS[name][0]
    beginnings = {form.format(role): f"<|turn_{role.lower()}|>" for role in roles}
    swaps = dict(zip(old, NEW, strict=True))
    for mode, extra in (("rename", ""), ("add", REST), ("one token", REST)):
        protocol = recipe_of(beginnings) if mode == "one token" else RECIPE.format(mode=mode)
        try:
            both = outcome(folder, protocol + sections + extra).after
        except RecipeError as error:
            if mode != "one token" or IN_PARTS not in error.detail:
                raise
            counted[mode] = 0
            continue
        told, said = template_of(alone), template_of(both)
        assert both.tokenizer is not None
        for talk in talks(name, sections):
            before = rendered(child, told, names_of(alone), talk)
            after = rendered(child, said, names_of(both), talk)
            if mode == "one token":  # some beginnings are written in pieces, and stay
                restored = after[0]
                for sequence, token in beginnings.items():
                    restored = restored.replace(token, sequence)
                assert (restored, after[1]) == before
            else:
                wanted = before[0]
                for one, other in swaps.items():
                    wanted = wanted.replace(one, other)
                assert after == (wanted, before[1])
            counted[mode] = counted.get(mode, 0) + 1
        stops = both.value("generation_config.json", "/eos_token_id")
        added = both.tokenizer.added
        texts = [added[i].content for i in stops if i in added]  # type: ignore[union-attr,index]
        assert (NEW[1] if mode != "one token" else old[1]) in texts
        assert (old[1] in texts) == (mode != "rename")
        assert "<|own_pad|>" not in texts
        assert library(both).token_to_id("<|own_pad|>") == (
            both.value("config.json", "/pad_token_id") if extra else None
        )
    return counted
