"""Jobs of supervised training on the small chat model, with data made from a few words."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tokengraft import flow
from tokengraft.events import Listen, ignore
from tokengraft.formats.loading import load
from tokengraft.formats.rows import sample_rows
from tokengraft.row_sets import RowSet, RowsMade, Values
from tokengraft.training.stages import Job

CHAT = Path(__file__).resolve().parents[1] / "models" / "tiny-qwen3-moe-chat"
CITIES = ("Paris", "Rome", "Berlin", "Madrid", "London", "Tokyo", "Cairo", "Oslo")
RECIPE = """
version = 1
[tools]
open = "<tool_start>"
close = "</tool_end>"
[pad]
token = "<|pad|>"
[train]
stages = ["sft"]
data = "data.jsonl"
[train.sft]
validation = 0
"""
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


def conversations(n: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    """Half ask for a tool, and half are answered without one."""
    drawn = random.Random(seed)
    for number in range(n):
        city = drawn.choice(CITIES)
        if number % 2:
            asked = drawn.choice(["Where is {}?", "Do you like {}?", "Tell me about {}."])
            answer = {"role": "assistant", "content": f"{city} is a city."}
        else:
            asked = drawn.choice(["Weather in {}?", "How is the weather in {}?"])
            function = {"name": "get_weather", "arguments": {"city": city}}
            answer = {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"type": "function", "function": function}],
            }
        yield {
            "messages": [{"role": "user", "content": asked.format(city)}, answer],
            "tools": [WEATHER],
        }


def write_rows(path: Path, rows: Iterator[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def job(
    folder: Path,
    *,
    base: Path = CHAT,
    recipe: str = RECIPE,
    overrides: tuple[str, ...] = (),
    work: str = "work",
    seed: int = 0,
    listen: Listen = ignore,
) -> Job:
    """Plan and stage a recipe; data.jsonl lies in the folder, or is made there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data.jsonl").exists():
        write_rows(folder / "data.jsonl", conversations(8))
    named = folder / "recipe.toml"
    named.write_text(recipe, encoding="utf-8")
    planned = flow.make_plan(str(base), named, overrides=overrides)
    staged = folder / "staged"
    if not staged.exists():
        flow.apply(named, base=str(base), out=staged, overrides=overrides)
    return Job(
        base=base,
        staged=staged,
        plan=planned.plan,
        recipe=planned.recipe,
        recipe_folder=folder,
        rows=rows_of(staged, planned.plan),
        work=folder / work,
        seed=seed,
        listen=listen,
    )


def rows_of(staged: Path, plan: Any) -> RowSet:
    """The new tokens' rows as the staged folder has them."""
    checkpoint = load(staged)
    assert checkpoint.tensors is not None
    tokens = [token for token in plan.tokens if token.action in ("add", "claim")]
    matrices: list[Values] = []
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        ref = checkpoint.tensors.tensors.get(name)
        if ref is not None:
            rows = sample_rows(checkpoint.files[ref.file].real, ref, [t.id for t in tokens])
            matrices.append(np.asarray(rows, np.float64))
    made = tuple(RowsMade("mean", "mean") for _ in tokens)
    output = matrices[1] if len(matrices) > 1 else None
    return RowSet(tuple(token.key for token in tokens), matrices[0], output, made)
