"""Where an adapter's updates belong: from the module that PEFT names to tensors of the checkpoint.

Most modules are one tensor, `MODULE.weight`. Experts are not: transformers 5 holds all of a layer in
two tensors, `gate_up_proj` and `down_proj`, while most files keep every expert apart, gate and up
projection too. A is then [E·R, in] with the experts one after the other, and B [out, R·E] with the
experts innermost, as PEFT's `ParamWrapper` lays them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tokengraft.tensors import TensorRef

Tensors = Mapping[str, TensorRef]
Shape = tuple[int, int]

# How files call the three projections of an expert, in the order gate, up, down.
EXPERT_PARTS = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"))
# What transformers 5 renamed in the model and not in the files (Mixtral, and what follows it).
OTHER_NAMES = ((".mlp.", ".block_sparse_moe."),)
MATRIX, STACK = 2, 3  # axes
_LAYERS = re.compile(r"\.(?=layers\.)")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an update, and the tensor that it is added to.

    Attributes:
        rows: which rows of the tensor, taken for a matrix; None for all of them.
        transpose: whether the file keeps the matrix turned.
        expert: which of the `n_experts` that the factors hold.
        outputs: which rows of B, None for all of them.
    """

    tensor: str
    rows: Shape | None = None
    transpose: bool = False
    expert: int = 0
    n_experts: int = 1
    outputs: Shape | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """The two factors of one module: B·A is [n_out, n_in]; `ranks` counts all experts' ranks.

    Attributes:
        turned: what the adapter says of matrices that are [in, out] in memory (Conv1D).
    """

    module: str
    n_in: int
    n_out: int
    ranks: int
    turned: bool


class Places:
    """The tensors of a checkpoint, as updates look for them."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._by_layer: dict[str, list[TensorRef]] | None = None

    def of(self, update: Update) -> list[Piece] | str:
        """Find the tensors of an update; a text says why there are none."""
        found = _named(update, self._tensors)
        if found is not None:
            return found
        alike = self._ending(update.module)
        if len(alike) == 1:
            return _whole(update, alike[0])
        if alike:
            return f"{alike[0].name} and {alike[1].name} may both be meant"
        return "the checkpoint has no such tensor"

    def _ending(self, module: str) -> list[TensorRef]:
        """Tensors whose names end alike from the number of the layer on: wrappers differ before it."""
        if self._by_layer is None:
            self._by_layer = {}
            for name, ref in self._tensors.items():
                for match in _LAYERS.finditer(name):
                    self._by_layer.setdefault(name[match.start() :], []).append(ref)
        at = module.find("layers.")
        return self._by_layer.get(f".{module[at:]}.weight", []) if at >= 0 else []


def _named(update: Update, tensors: Tensors) -> list[Piece] | str | None:
    """By the module's own name, or the one that files have for it; None if there is nothing."""
    for module in _names(update.module):
        weight = tensors.get(f"{module}.weight")
        if weight is not None:
            return _whole(update, weight)
        found = list(_experts(module, tensors))
        if found:
            return _apart(update, found)
        stacks = [
            tensors[n] for p in ("gate_up_proj", "down_proj") if (n := f"{module}.{p}") in tensors
        ]
        if stacks:
            return _stacked(update, stacks)
    return None


def _names(module: str) -> Iterator[str]:
    yield module
    for new, old in OTHER_NAMES:
        if new in f"{module}.":
            yield f"{module}.".replace(new, old).removesuffix(".")


def _whole(update: Update, weight: TensorRef) -> list[Piece] | str:
    straight = weight.shape == (update.n_out, update.n_in)
    turned = weight.shape == (update.n_in, update.n_out)
    if not straight and not turned:
        return _misfit(update, weight)
    return [Piece(weight.name, transpose=turned and (not straight or update.turned))]


def _experts(module: str, tensors: Tensors) -> Iterator[tuple[TensorRef, TensorRef, TensorRef]]:
    """Gate, up and down projection of each expert, while there are any."""
    for parts in EXPERT_PARTS:
        number = 0
        while True:
            names = [f"{module}.{number}.{part}.weight" for part in parts]
            if not all(name in tensors for name in names):
                break
            gate, up, down = (tensors[name] for name in names)
            yield gate, up, down
            number += 1


def _apart(
    update: Update, experts: list[tuple[TensorRef, TensorRef, TensorRef]]
) -> list[Piece] | str:
    n_experts = len(experts)
    if update.ranks % n_experts:
        return f"{update.ranks} ranks are not the same for {n_experts} experts"
    pieces = []
    for number, (gate, up, down) in enumerate(experts):
        n_gate = gate.shape[0]
        if gate.shape == up.shape == (n_gate, update.n_in) and update.n_out == 2 * n_gate:
            for ref, outputs in ((gate, (0, n_gate)), (up, (n_gate, 2 * n_gate))):
                pieces.append(Piece(ref.name, expert=number, n_experts=n_experts, outputs=outputs))
        elif down.shape == (update.n_out, update.n_in):
            pieces.append(Piece(down.name, expert=number, n_experts=n_experts))
        else:
            return _misfit(update, down)
    return pieces


def _stacked(update: Update, stacks: list[TensorRef]) -> list[Piece] | str:
    """Experts that lie in one tensor of three axes, [E, out, in] or [E, in, out]."""
    pairs = {(update.n_out, update.n_in), (update.n_in, update.n_out)}
    fit = [ref for ref in stacks if len(ref.shape) == STACK and ref.shape[1:] in pairs]
    if len(fit) != 1:
        return (
            _misfit(update, stacks[0]) if not fit else f"{fit[0].name} and {fit[1].name} fit both"
        )
    n_experts, n_rows, n_columns = fit[0].shape
    if n_rows == n_columns:
        return f"{fit[0].name} is square, so it cannot be told which axis is which"
    if update.ranks % n_experts:
        return f"{update.ranks} ranks are not the same for {n_experts} experts"
    return [
        Piece(
            fit[0].name,
            rows=(number * n_rows, (number + 1) * n_rows),
            transpose=n_rows == update.n_in,
            expert=number,
            n_experts=n_experts,
        )
        for number in range(n_experts)
    ]


def _misfit(update: Update, ref: TensorRef) -> str:
    return f"{ref.name} is {list(ref.shape)}, the update is [{update.n_out}, {update.n_in}]"
