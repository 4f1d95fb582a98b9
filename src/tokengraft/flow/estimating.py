"""`train --estimate`: memory and time of every method, from headers and config alone.

Nothing is loaded and torch is not imported. Memory is arithmetic on shapes and is meant to be right
within a fifth; time is operations over a rate that was measured on one core, and is a guess.

Shapes: N new tokens, V rows, D width, B sequences, T positions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import UsageError
from tokengraft.events import Listen, ignore
from tokengraft.flow.making import load
from tokengraft.formats.recipe_file import read_recipe
from tokengraft.planning.wishes import wishes
from tokengraft.recipes import Distillation, Recipe
from tokengraft.tensors import DTYPE_BITS, TensorRef
from tokengraft.trainings import Need, TrainingEstimate

PROGRAM = 600 << 20  # Python with torch and transformers, before a model
BYTES_A_TOKEN = 4.0  # of text, where nobody has counted: English with a large vocabulary
# Multiplications and additions a second. A core: fit on stories260K took 25 s for 190,000 positions
# of 5e5 operations, where small products wait for memory; wide models get ten times that.
SMALL_RATE, WIDE_RATE, WIDE = 4e9, 4e10, 1024
FITTED_WINDOWS, WINDOW, REFINED, PASSES = 33, 52, 10, 33
NEUTRAL = 24_000
KEPT_STATES = 17
DISTIL_A_PASS = 2  # what a pass over the windows costs, with what is prepared and validated
FORWARD_BATCH = 4096  # positions of a forward pass
QUANTISED_BITS = 4.5  # NF4 with double quantisation of its scales


@dataclass(frozen=True, slots=True)
class Shapes:
    """A model by its shapes.

    Attributes:
        matrices: shapes of linear layers that LoRA adapts: neither rows of tokens nor experts.
        other: parameters beside `matrices` and experts.
        experts, active_share: parameters of experts, and the share of them that a token uses.
        tied: whether one matrix of rows does both jobs.
    """

    n_rows: int
    width: int
    n_layers: int
    inner: int
    matrices: tuple[tuple[int, int], ...]
    other: int
    experts: int
    active_share: float
    tied: bool

    @property
    def parameters(self) -> int:
        return self.other + self.experts + self.linear

    @property
    def linear(self) -> int:
        return sum(a * b for a, b in self.matrices)

    @property
    def active(self) -> int:
        return self.other + self.linear + round(self.experts * self.active_share)

    @property
    def jobs(self) -> int:
        """Matrices of rows."""
        return 1 if self.tied else 2


def estimate(
    source: str, recipe: Path, *, overrides: Sequence[str] = (), listen: Listen = ignore
) -> TrainingEstimate:
    """What training this recipe on this checkpoint needs, before anything is loaded.

    Raises:
        UsageError: the checkpoint has no headers of weights to go by.
    """
    wish, _ = read_recipe(recipe, overrides=overrides)
    checkpoint = load(source, listen, weights=False)
    shapes = shapes_of(checkpoint)
    if shapes.tied and wish.unties:
        stored = checkpoint.layout is not None and checkpoint.layout.part("output")
        second = 0 if stored else shapes.n_rows * shapes.width  # a stored one is counted already
        shapes = replace(shapes, tied=False, other=shapes.other + second)
    n_new = len(wishes(wish)) + sum(one.tokens for one in wish.extend)
    size = _data_bytes(wish, recipe.parent)
    tokens = None if size is None else round(size / BYTES_A_TOKEN)
    train = wish.train
    stages = () if train is None else train.stages
    sft = "" if train is None or train.sft is None or "sft" not in stages else train.sft.method
    needs = (
        fit_need(shapes, n_new, asked="fit" in stages),
        distil_need(
            shapes,
            n_new,
            None if train is None else train.distil,
            asked="distil" in stages,
        ),
        *(
            sft_need(shapes, n_new, method, corpus_tokens=tokens, asked=method == sft)
            for method in ("rows", "lora", "qlora")
        ),
    )
    return TrainingEstimate(
        source=source,
        parameters=shapes.parameters,
        active_parameters=shapes.active,
        new_tokens=n_new,
        corpus_tokens=tokens,
        needs=needs,
        notes=tuple(_notes(checkpoint, size, needs)),
    )


def shapes_of(checkpoint: Checkpoint) -> Shapes:
    """Read shapes from headers and config."""
    layout = checkpoint.layout
    if checkpoint.tensors is None or layout is None or not layout.tensors:
        raise UsageError(
            "there are no headers of weights to estimate from",
            subject=str(checkpoint.root),
            hint="give a folder with its weights, or a repository: org/name",
        )
    rows = {tensor.name for tensor in layout.tensors}
    linear: list[tuple[int, int]] = []
    other = experts = 0
    for ref in checkpoint.tensors.tensors.values():
        n = _elements(ref)
        if ".experts." in ref.name:
            experts += n
        elif ref.name not in rows and len(ref.shape) == 2 and min(ref.shape) > 16:  # noqa: PLR2004
            linear.append((ref.shape[0], n // ref.shape[0]))
        else:
            other += n
    width = next(tensor.width for tensor in layout.tensors if tensor.part == "input")
    n_experts = _first(checkpoint, "num_experts", "num_local_experts", "n_routed_experts")
    used = _first(checkpoint, "num_experts_per_tok", "num_experts_per_token", "moe_topk")
    return Shapes(
        n_rows=layout.n_rows,
        width=width,
        n_layers=_first(checkpoint, "num_hidden_layers", "n_layer", "n_layers") or 1,
        inner=_first(checkpoint, "intermediate_size", "n_inner") or 4 * width,
        matrices=tuple(linear),
        other=other,
        experts=experts,
        active_share=min(1.0, (used or 1) / n_experts) if n_experts else 1.0,
        tied=layout.tied,
    )


def _elements(ref: TensorRef) -> int:
    """Numbers of a tensor; packed ones of four bits count two a byte."""
    if ref.dtype in ("U8", "I8") and ref.name.endswith((".weight", "_packed", "qweight")):
        return 2 * ref.n_elements
    return ref.n_elements


def _first(checkpoint: Checkpoint, *keys: str) -> int:
    found = (checkpoint.config(f"/{key}") for key in keys)
    return next((value for value in found if isinstance(value, int)), 0)


def _data_bytes(recipe: Recipe, folder: Path) -> int | None:
    data = None if recipe.train is None else recipe.train.data
    path = folder / data if data else None
    return path.stat().st_size if path is not None and path.is_file() else None


# ── methods ──────────────────────────────────────────────────────────────────────────────────────


def fit_need(shapes: Shapes, n_new: int, *, asked: bool = False) -> Need:
    """Rows without a backward pass: the model in float32, states of windows and of neutral text."""
    d = shapes.width
    windows = n_new * FITTED_WINDOWS
    parts = {
        "weights": 4 * shapes.parameters,
        "old rows": (8 + 4) * shapes.jobs * shapes.n_rows * d,
        "states": 4 * d * (2 * windows * KEPT_STATES + NEUTRAL) + 4 * n_new * NEUTRAL,
        "a pass": 4 * FORWARD_BATCH * (12 * d + 2 * shapes.inner) + (256 << 20),
        "solving": 8 * 12 * d * d,
    }
    positions = n_new * WINDOW * (REFINED * PASSES + FITTED_WINDOWS) + 6 * d * WINDOW + 2 * NEUTRAL
    return _need("fit", parts, shapes, 2 * shapes.active * positions, asked=asked)


def distil_need(
    shapes: Shapes, n_new: int, wish: Distillation | None = None, *, asked: bool = False
) -> Need:
    """Rows by distillation, up to the layer that is compared: states cached, no gradient of old weights."""
    wish = wish or Distillation()
    d, size = shapes.width, 4 if wish.dtype == "float32" else 2
    windows = n_new * FITTED_WINDOWS
    depths = wish.depths(shapes.n_layers)
    depth = min(depths[-1], shapes.n_layers)
    kept = 2 if wish.gradient_checkpointing else 14  # numbers of a position and layer, by widths
    inner = 0 if wish.gradient_checkpointing else 3
    parts = {
        "weights": size * shapes.parameters,
        "states": size * d * windows * KEPT_STATES * (1 + len(depths)),
        "rows and optimizer": 4 * 4 * shapes.jobs * n_new * d,
        "activations": size * FORWARD_BATCH * depth * (kept * d + inner * shapes.inner)
        + (256 << 20),
    }
    positions = windows * WINDOW * DISTIL_A_PASS * wish.passes
    share = depth / shapes.n_layers
    return _need("distil", parts, shapes, 4 * shapes.active * share * positions, asked=asked)


def sft_need(  # noqa: PLR0913 - what a training is decided by
    shapes: Shapes,
    n_new: int,
    method: str,
    *,
    batch: int = 1,
    length: int = 2048,
    rank: int = 16,
    corpus_tokens: int | None = None,
    asked: bool = False,
) -> Need:
    """Supervised training with gradient checkpointing: `rows`, `lora` or `qlora`.

    Args:
        batch, length: sequences on the device at once, and their positions.
        rank: of LoRA, on every linear layer that is no expert.
        corpus_tokens: what one epoch reads; without it time is not guessed.
    """
    d, v = shapes.width, shapes.n_rows
    tokens = batch * length
    weights = 2 * shapes.parameters
    if method == "qlora":
        rest = shapes.experts + shapes.other
        weights = round(shapes.linear * QUANTISED_BITS / 8) + 2 * rest
    trained = shapes.jobs * n_new * d
    if method != "rows":
        trained += rank * sum(a + b for a, b in shapes.matrices)
    parts = {
        "weights": weights,
        "rows and optimizer": trained * (4 + 4 + 8),
        "copies of matrices": 2 * 2 * shapes.jobs * v * d,
        "activations": 2 * tokens * (shapes.n_layers * d + 16 * d + 4 * shapes.inner),
        "logits": 4 * 2 * tokens * v,
    }
    operations = None if corpus_tokens is None else 6 * shapes.active * corpus_tokens
    notes = []
    if method == "qlora":
        notes.append(
            "needs bitsandbytes and a GPU; experts stay in bf16: transfor"
            "mers 5 keeps them in tensors that bitsandbytes leaves alone"
        )
    name = f"sft: {method}"
    return _need(name, parts, shapes, operations, asked=asked, notes=tuple(notes))


def _need(
    method: str,
    parts: dict[str, int],
    shapes: Shapes,
    operations: float | None,
    *,
    asked: bool,
    notes: tuple[str, ...] = (),
) -> Need:
    parts = {"program": PROGRAM, **parts}
    seconds = None
    if operations is not None:
        rate = WIDE_RATE if shapes.width >= WIDE else SMALL_RATE
        seconds = round(10 + operations / (rate * max(1, min(16, os.cpu_count() or 1))), 1)
    return Need(
        method=method,
        parts=parts,
        memory_bytes=sum(parts.values()),
        # The private stage and OUT, where blocks cannot be shared with the base.
        disk_bytes=0 if method == "fit" else 2 * shapes.parameters,
        seconds=seconds,
        asked=asked,
        notes=notes,
    )


def _notes(checkpoint: Checkpoint, size: int | None, needs: Sequence[Need]) -> Iterator[str]:
    from tokengraft.verifying.memory import available_bytes

    if size is None:
        yield "no local file of data is there, so the time of supervised training is not guessed"
    free = available_bytes()
    for need in needs:
        if need.asked and 0 < free < need.memory_bytes:
            yield (
                f"{need.method} needs more memory than is free here: {need.memory_bytes:,} bytes, "
                f"free are {free:,}"
            )
    assert checkpoint.tensors is not None
    dtypes = {tensor.dtype for tensor in checkpoint.tensors.tensors.values()}
    if any(DTYPE_BITS[dtype] < 16 for dtype in dtypes):  # noqa: PLR2004
        yield "some weights are quantised; they count as what they are unpacked to"
    yield (
        "memory is arithmetic on shapes; time is a guess for this machine's processor, where a GPU "
        "is ten to a hundred times as fast"
    )
