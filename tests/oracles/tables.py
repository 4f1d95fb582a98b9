"""The id table that a checkpoint's own files and the order of a recipe must give, by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path


def expected_table(base: Path, new: Sequence[str]) -> dict[str, int]:
    """Every id of the base and, behind them, of new tokens; no id may be missing."""
    tokenizer = json.loads((base / "tokenizer.json").read_bytes())
    config = json.loads((base / "tokenizer_config.json").read_bytes())
    table: dict[str, int] = dict(tokenizer["model"]["vocab"])
    decoder = config["added_tokens_decoder"]
    table |= {entry["content"]: int(token_id) for token_id, entry in decoder.items()}
    n_tokens = len(table)
    assert sorted(table.values()) == list(range(n_tokens))
    return table | {text: n_tokens + at for at, text in enumerate(new)}
