"""`train --estimate`: arithmetic on headers, without a model and without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import tiny
from tokengraft import flow
from tokengraft.errors import UsageError
from tokengraft.flow.estimating import Shapes, distil_need, sft_need, shapes_of
from tokengraft.formats.loading import load
from tokengraft.recipes import Distillation

BASE = Path(__file__).resolve().parents[1] / "models" / "tiny-qwen3-moe-base"
# Qwen3-30B-A3B: 48 layers of 128 experts, 8 of them used; its card says 30.5 B and 3.3 B.
ATTENTION = ((4096, 2048), (512, 2048), (512, 2048), (2048, 4096), (128, 2048))
QWEN3_30B = Shapes(
    n_rows=151_936,
    width=2048,
    n_layers=48,
    inner=6144,
    matrices=ATTENTION * 48,
    other=2 * 151_936 * 2048,
    experts=48 * 128 * 3 * 2048 * 768,
    active_share=8 / 128,
    tied=False,
)


def recipe(folder: Path, more: str = "") -> Path:
    path = folder / "recipe.toml"
    path.write_text(f'version = 1\n[[add]]\ntext = "<|a|>"\n{more}', encoding="utf-8")
    return path


def test_parameters_of_a_mixture_are_counted_as_its_card_counts_them() -> None:
    assert QWEN3_30B.parameters == pytest.approx(30.5e9, rel=0.01)
    assert QWEN3_30B.active == pytest.approx(3.35e9, rel=0.02)


def test_each_method_holds_what_it_must_at_least() -> None:
    rows, lora = (sft_need(QWEN3_30B, 8, name) for name in ("rows", "lora"))
    assert rows.memory_bytes > 2 * QWEN3_30B.parameters
    factors = 16 * sum(a + b for a, b in QWEN3_30B.matrices)
    added = lora.parts["rows and optimizer"] - rows.parts["rows and optimizer"]
    assert 16 * factors == added
    assert rows.seconds is None, "nobody said how much text"


def test_four_bits_help_where_weights_are_linear_layers() -> None:
    dense = replace(QWEN3_30B, experts=0, matrices=((4096, 4096),) * 1000)
    lora, qlora = (sft_need(dense, 8, name).parts["weights"] for name in ("lora", "qlora"))
    assert qlora < lora / 3
    of_experts = sft_need(QWEN3_30B, 8, "qlora").parts["weights"]
    assert of_experts > 2 * QWEN3_30B.experts, "the loader leaves experts as they are"


def test_shapes_are_those_of_headers_and_config() -> None:
    checkpoint = load(BASE)
    found = shapes_of(checkpoint)
    assert checkpoint.tensors is not None
    assert sum(ref.n_elements for ref in checkpoint.tensors.tensors.values()) == found.parameters
    assert (4096, 96, 4, 0.25, False) == (
        found.n_rows,
        found.width,
        found.n_layers,
        found.active_share,
        found.tied,
    )


def test_what_the_recipe_asks_for_is_marked(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("word " * 1000, encoding="utf-8")
    told = flow.estimate(
        str(BASE),
        recipe(
            tmp_path,
            '[train]\nstages = ["fit", "sft"]\ndata = "text.txt"\n[train.sft]\nmethod = "lora"\n',
        ),
    )
    assert ["fit", "sft: lora"] == [need.method for need in told.needs if need.asked]
    assert 1250 == told.corpus_tokens
    assert 1 == told.new_tokens
    assert all(need.seconds for need in told.needs)


def test_a_folder_without_weights_cannot_be_estimated(tmp_path: Path) -> None:
    tiny.build(tmp_path / "base", shards=0)
    with pytest.raises(UsageError, match="no headers of weights"):
        flow.estimate(str(tmp_path / "base"), recipe(tmp_path))


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from tokengraft import flow; from pathlib import Path\n"
        f"flow.estimate({str(BASE)!r}, Path({str(recipe(tmp_path))!r}))\n"
        "import json; print(json.dumps([m for m in ('torch', 'transformers') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [] == json.loads(done.stdout)


def test_settings_of_distillation_are_in_its_need() -> None:
    shapes = Shapes(
        n_rows=1000,
        width=64,
        n_layers=8,
        inner=256,
        matrices=((64, 64),) * 32,
        other=0,
        experts=0,
        active_share=1.0,
        tied=False,
    )
    plain = distil_need(shapes, 4)
    half = distil_need(shapes, 4, Distillation(dtype="bfloat16"))
    assert 2 * half.parts["weights"] == plain.parts["weights"]
    few = distil_need(shapes, 4, Distillation(gradient_checkpointing=True))
    assert few.parts["activations"] < plain.parts["activations"]
    assert plain.seconds is not None
    early = distil_need(shapes, 4, Distillation(layer=6))
    assert early.seconds is not None
    for deep in (Distillation(layer=-1), Distillation(objective="predictions"), None):
        need = distil_need(shapes, 4, deep)
        assert need.seconds is not None
        assert need.seconds > early.seconds
        assert need.parts["activations"] > early.parts["activations"]
    assert plain.parts["states"] == 1.5 * early.parts["states"]
