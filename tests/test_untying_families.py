"""Where family data say what a second matrix is called, transformers finds it there and writes by it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from oracles.asking import ask
from tokengraft.families import families

# One or more model types for each family that names a second matrix; the others of `model_types` share
# its names (54 s of a busy core for all of them, which were tried once; these take a third).
TYPES = (
    *("bloom", "cohere", "cohere2", "ernie4_5", "smollm3", "falcon", "gemma", "gemma2"),
    *("gemma3_text", "gemma3", "paligemma", "llava", "glm4", "gpt2", "gpt_bigcode", "gpt_neox"),
    *("gpt_neox_japanese", "gpt_oss", "gptj", "granite", "llama", "mamba", "mistral", "mpt"),
    *("olmo2", "openai-gpt", "opt", "phi3", "qwen2", "qwen3", "qwen3_moe", "qwen3_next"),
    "starcoder2",
)
BY_TYPE = {t: family for family in families().values() for t in family.model_types}
SEEING = ("gemma3", "paligemma", "llava")
PAIRS = tuple(
    (model_type, reads, writes)
    for model_type in TYPES
    for reads, writes in BY_TYPE[model_type].second_matrix
    if ("language_model." in reads) == (model_type in SEEING)
)
WANTED = {
    "stored_once": True,
    "same": True,
    "writes_by_it": True,
    "reads_by_the_other": True,
    "missing": [],
    "unexpected": [],
    "kept": True,
}


def test_every_name_of_every_family_is_tried() -> None:
    tried = {(BY_TYPE[t].name, reads, writes) for t, reads, writes in PAIRS}
    named = {(f.name, *pair) for f in families().values() for pair in f.second_matrix}
    assert named == tried


def test_a_second_matrix_is_named_beside_an_input_matrix_of_the_family() -> None:
    from tokengraft.families.naming import named_part

    for family in families().values():
        for reads, writes in family.second_matrix:
            assert ("input", "output") == (named_part(family, reads), named_part(family, writes))


def _answers(python: Path, home: Path) -> dict[tuple[str, str], dict[str, Any]]:
    jobs = [
        {"model_type": t, "reads": reads, "writes": writes, "home": str(home / f"{n}")}
        for n, (t, reads, writes) in enumerate(PAIRS)
    ]
    found = ask(python, "ask_apart.py", jobs, home=home / "asked")
    return {(t, reads): answer for (t, reads, _), answer in zip(PAIRS, found, strict=True)}


@pytest.mark.oracle5
def test_transformers_5_loads_two_matrices_and_saves_two(tf5: Path, tmp_path: Path) -> None:
    found = _answers(tf5, tmp_path)
    assert dict.fromkeys(found, WANTED) == found


@pytest.mark.oracle4
def test_transformers_4_loads_two_matrices_and_saves_two(tf4: Path, tmp_path: Path) -> None:
    has_torch = subprocess.run([tf4, "-c", "import torch"], capture_output=True, check=False)
    if has_torch.returncode:
        pytest.skip("the Python with transformers 4 has no torch")
    found = _answers(tf4, tmp_path)
    assert dict.fromkeys(found, WANTED) == found
