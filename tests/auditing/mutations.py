"""Mutations of checkpoints that know nothing of rules: drop, duplicate, swap or shift a JSON value.

A place is found by walking down from the top of a file, a random child at each step, so that large
tables do not drown the rest. The same seed makes the same mutant.
"""

from __future__ import annotations

import copy
import json
import random
import shutil
from pathlib import Path
from typing import Any

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
KINDS = ("drop", "duplicate", "swap", "shift")


def mutate(base: Path, target: Path, seed: int) -> str:
    """Copy a folder and change one value of one file; what was done is said in one line."""
    random_ = random.Random(seed)
    files = [name for name in FILES if (base / name).exists()]
    while True:
        name = random_.choice(files)
        document = json.loads((base / name).read_text(encoding="utf-8"))
        changed = copy.deepcopy(document)
        said = _change(changed, random_)
        if said and changed != document:
            break
    shutil.copytree(base, target, ignore=shutil.ignore_patterns("*.safetensors", "SOURCE.txt"))
    for path in base.glob("*.safetensors"):
        (target / path.name).symlink_to(path.resolve())
    (target / name).write_text(json.dumps(changed, ensure_ascii=False), encoding="utf-8")
    return f"{name}#{said}"


def _change(value: Any, random_: random.Random) -> str:
    pointer, parent = "", value
    while True:
        keys = list(parent) if isinstance(parent, dict) else list(range(len(parent)))
        if not keys:
            return ""
        key = random_.choice(keys)
        pointer += f"/{key}"
        inner = parent[key]
        if not isinstance(inner, dict | list) or not inner or random_.random() < 0.15:
            return f"{pointer} {_apply(parent, key, keys, random_)}"
        parent = inner


def _apply(parent: Any, key: Any, keys: list[Any], random_: random.Random) -> str:
    kind, other = random_.choice(KINDS), random_.choice(keys)
    if kind == "drop":
        del parent[key]
    elif kind == "duplicate" and isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key]))
    elif kind == "duplicate":
        parent[other] = copy.deepcopy(parent[key])
        kind += f" to {other}"
    elif kind == "swap":
        parent[key], parent[other] = parent[other], parent[key]
        kind += f" with {other}"
    else:
        parent[key] = _shifted(parent[key], random_)
    return kind


def _shifted(value: Any, random_: random.Random) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + random_.choice((-1, 1))
    if isinstance(value, str | list) and value:
        return value[1:] + value[:1]
    return value
