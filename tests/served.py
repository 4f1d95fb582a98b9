"""A result whose model says its new markers without a training: they have the rows of the old ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tokengraft import flow
from tokengraft.row_sets import RowSet, RowsMade
from tokengraft.training.row_files import save_rows

CHAT = Path(__file__).resolve().parents[1] / "models" / "tiny-qwen3-moe-chat"
OLD, NEW = ("<tool_call>", "</tool_call>"), ("<tool_start>", "</tool_end>")
QUESTION = "What is the weather in Paris?"
RECIPE = """version = 1
[tools]
open = "<tool_start>"
close = "</tool_end>"
[rows]
values = "rows.safetensors"
"""


def old_rows() -> RowSet:
    """The rows of the old markers for the new ones; those that write a tenth longer, to win."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(CHAT)
    model = AutoModelForCausalLM.from_pretrained(CHAT, dtype=torch.float32)
    ids = tokenizer.convert_tokens_to_ids(list(OLD))
    read = model.get_input_embeddings().weight[ids].detach().double().numpy()
    write = model.get_output_embeddings().weight[ids].detach().double().numpy()
    return RowSet(NEW, read, np.asarray(write * 1.1), (RowsMade("copied", "longer"),) * 2)


def build(place: Path) -> Path:
    """Make the result in a folder, and return where it lies."""
    save_rows(old_rows(), place / "rows.safetensors")
    recipe = place / "recipe.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    flow.apply(recipe, base=str(CHAT), out=place / "out")
    return place / "out"
