"""What a training left: rows as values, and the factors as a plain LoRA adapter without rows."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokengraft.errors import MalformedFile
from tokengraft.row_sets import RowSet

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_ROWS = "token_adapter.trainable_tokens_delta"


def trained_rows(folder: Path, before: RowSet, input_name: str, output_name: str) -> RowSet:
    """Read the new rows out of a PEFT folder.

    Args:
        before: the rows that training started from, whose order the ids of the adapter have.
        input_name, output_name: the modules of the two matrices, as the adapter names them.
    Raises:
        MalformedFile: the folder holds no such rows.
    """
    from safetensors.numpy import load_file

    tensors = load_file(folder / WEIGHTS)

    def rows_of(module: str) -> NDArray[np.float64] | None:
        found = [t for name, t in tensors.items() if name.endswith(f"{module}.{_ROWS}")]
        return np.asarray(found[0], np.float64) if len(found) == 1 else None

    input_ND, output_ND = rows_of(input_name), rows_of(output_name)
    if input_ND is None or (output_ND is None) is not before.is_tied:
        raise MalformedFile(
            "the training left no rows of both matrices",
            detail=", ".join(name for name in tensors if _ROWS in name) or "none at all",
            subject=str(folder / WEIGHTS),
        )
    made = tuple(replace(one, read="sft", write="sft") for one in before.made)
    return RowSet(before.texts, input_ND, output_ND, made, before.figures)


def name_base(folder: Path, base: str) -> None:
    """Say in a PEFT folder which model it is for: PEFT itself names the one that was loaded."""
    config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")


def split_adapter(folder: Path, target: Path, base: str) -> Path:
    """Write a plain LoRA adapter: the factors alone, for the model that has the rows already.

    Args:
        base: what the adapter shall say that it belongs to.
    """
    from safetensors.numpy import load_file, save_file

    config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config |= {"trainable_token_indices": None, "base_model_name_or_path": base}
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (target / CONFIG).write_text(text, encoding="utf-8")
    factors = {name: t for name, t in load_file(folder / WEIGHTS).items() if _ROWS not in name}
    save_file(factors, target / WEIGHTS, metadata={"format": "pt"})
    return target
