"""Bake a LoRA adapter in: low-rank updates of the tensors that its modules are kept in.

What PEFT calls an adapter is many things; only a plain sum W + scale · B·A can be added to weights
without running the model, and everything else is refused with its name. The factors go into the
sidecar in the bits that the adapter has, experts apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import sqrt

from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.documents import Problem
from tokengraft.formats.adapters import Adapter
from tokengraft.low_rank import AddLowRank
from tokengraft.planning.adapter_rows import CHOSEN, PREFIX, WHOLE, missing, row_tensors
from tokengraft.planning.factors import Cutter, Factor, Pair
from tokengraft.planning.placing import MATRIX, Piece, Places, Update
from tokengraft.tensors import ROW_DTYPES, TensorRef

WHERE = "[lora]"
# `lora_A.weight`, and `lora_A.default.weight` as a state dict of a running model has it.
_FACTOR = re.compile(r"(.+)\.lora_([AB])(?:\.[A-Za-z0-9_-]+)?\.weight")
_PLAIN_NAME = re.compile(r"\^?[\w.-]+")
# Settings that do not change what the sum is, whatever they say.
HARMLESS = frozenset(
    [
        "auto_mapping",
        "base_model_name_or_path",
        "corda_config",
        "ensure_weight_tying",
        "eva_config",
        "exclude_modules",
        "fan_in_fan_out",
        "inference_mode",
        "init_lora_weights",
        "layers_pattern",
        "layers_to_transform",
        "megatron_config",
        "loftq_config",
        "lora_alpha",
        "lora_dropout",
        "lora_ga_config",
        "megatron_core",
        "peft_type",
        "peft_version",
        "qalora_group_size",
        "r",
        "rank_pattern",
        "alpha_pattern",
        "revision",
        "runtime_config",
        "target_modules",
        "target_parameters",
        "task_type",
        "use_rslora",
    ]
)
# Settings that make more of it than a sum, with what that is.
MORE = {
    "use_dora": "DoRA scales whole columns by their norm",
    "lora_bias": "it has biases",
    "layer_replication": "it uses layers several times",
    "alora_invocation_tokens": "it is active behind certain tokens only",
}
MOST_SAID = 20  # problems of modules that are told
# Beginnings that take a part of the base away, which the adapter then gives back.
CHANGED_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga", "mica")


@dataclass(frozen=True, slots=True)
class LowRankPlan:
    """Updates by tensor, with their factors.

    Attributes:
        refused: whether the adapter as a whole is of no use, so that its rows are not looked at.
    """

    edits: tuple[AddLowRank, ...] = ()
    factors: Mapping[str, Factor] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    refused: bool = False


NO_UPDATES = LowRankPlan()


def no_adapter(folder: str) -> Adapter | str:
    """Stands where nobody can read adapters."""
    return f"{folder} cannot be read here"


def with_trained(
    checkpoint: Checkpoint, first: LowRankPlan, adapter: Adapter | None
) -> LowRankPlan:
    """The updates of `[lora]` and, behind them, those that training made."""
    if adapter is None:
        return first
    more = plan_low_rank(checkpoint, adapter, first=len(first.edits))
    return LowRankPlan(
        (*first.edits, *more.edits),
        {**first.factors, **more.factors},
        (*first.notes, *more.notes[:1]),  # what it was trained on, is this base in a private folder
        (*first.problems, *(Problem(where="train", what=p.what) for p in more.problems)),
    )


def plan_low_rank(checkpoint: Checkpoint, adapter: Adapter, *, first: int = 0) -> LowRankPlan:
    """State what an adapter adds to which tensor; all that is wrong with it is told at once.

    Args:
        first: how many updates come before its own, which are numbered from there.
    """
    said = list(complaints(adapter))
    if checkpoint.tensors is None:
        said.append("the folder has no weights to add it to")
    if said or checkpoint.tensors is None:
        wrong = tuple(Problem(where=WHERE, what=what) for what in said)
        return LowRankPlan(problems=wrong, refused=True)
    edits: list[AddLowRank] = []
    factors: dict[str, Factor] = {}
    tensors = checkpoint.tensors.tensors
    cutter, places = Cutter(adapter, tensors), Places(tensors)
    modules = sorted(_sides(adapter).items())
    for at, (module, sides) in enumerate(modules):
        if len(said) == MOST_SAID:
            said.append(f"{len(modules) - at} modules more were not looked at")
            break
        pair = _pair(adapter.config, module, sides)
        if isinstance(pair, str):
            said.append(pair)
            continue
        found = places.of(pair.update)
        misplaced = found if isinstance(found, str) else _refusal(checkpoint, found)
        if isinstance(found, str) or misplaced:
            said.append(f"{pair.update.module}: {misplaced}")
            continue
        scale = _scale(adapter.config, pair.update, found)
        if isinstance(scale, str):
            said.append(scale)
            continue
        shared: dict[int, str] = {}  # the gate and up projection of an expert have one A
        for piece in found:
            a, b = (f"lora.{side}.{first + len(edits)}" for side in "ab")
            of_a, factors[b] = cutter.cut(pair, piece, scale)
            a = shared.setdefault(piece.expert, a)
            factors.setdefault(a, of_a)
            edits.append(
                AddLowRank(
                    tensor=piece.tensor,
                    a=a,
                    b=b,
                    scale=scale,
                    slice=piece.rows,
                    transpose=piece.transpose,
                )
            )
    if said:
        return LowRankPlan(problems=tuple(Problem(where=WHERE, what=what) for what in said))
    return LowRankPlan(tuple(edits), factors, tuple(_notes(checkpoint, adapter, edits)))


def _notes(checkpoint: Checkpoint, adapter: Adapter, edits: list[AddLowRank]) -> Iterator[str]:
    n_tensors = len({edit.tensor for edit in edits})
    if edits:
        yield (
            f"{adapter.name} is added to {n_tensors} tensors, which then are not the base's; `undo` "
            "needs the base for them"
        )
    named = adapter.config.get("base_model_name_or_path")
    if isinstance(named, str) and named and named.rstrip("/") != str(checkpoint.root):
        yield f"the adapter was trained on {named}; only shapes tell whether it belongs to this base"


# ── what it is ───────────────────────────────────────────────────────────────────────────────────


def complaints(adapter: Adapter) -> Iterator[str]:
    """What is wrong with an adapter, whatever the base."""
    yield from _settings(adapter.config)
    rows = row_tensors(adapter)
    yield from _names(adapter, rows)
    yield from missing(adapter, rows)


def _settings(config: Mapping[str, JsonValue]) -> Iterator[str]:
    if config.get("peft_type") != "LORA":
        yield f"peft_type is {config.get('peft_type')}: only LORA adds a low-rank sum to weights"
        return
    for key, value in config.items():
        if (
            key in HARMLESS
            or key in (CHOSEN, WHOLE)
            or value in (None, False, "none")
            or value in ({}, [])
        ):
            continue
        if key == "bias":
            yield f"bias is {value}: it changes biases too"
        elif key in MORE:
            yield f"{key} is set: {MORE[key]}"
        else:
            yield f"{key} is set, which this version does not know"
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.startswith(CHANGED_BASE):
        yield (
            f"init_lora_weights is {start}: it belongs to a base from which a part was taken away; "
            "save it with path_initial_model_for_weight_conversion, which makes it plain"
        )


def _names(adapter: Adapter, rows: Mapping[str, str]) -> Iterator[str]:
    other = sorted(n for n in adapter.tensors if n not in rows and not _FACTOR.fullmatch(n))
    if other:
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        yield f"{other[0]}{more}: no factor of a matrix, so it cannot be added"
    alien = sorted(
        adapter.tensors.keys() - other - {n for n in adapter.tensors if n.startswith(PREFIX)}
    )
    if alien:
        yield f"{alien[0]}: the name does not begin with {PREFIX}"
    if not adapter.tensors:
        yield "it holds no tensors"


def _sides(adapter: Adapter) -> dict[str, dict[str, list[TensorRef]]]:
    """The tensors of each module, by whether they are A or B."""
    found: dict[str, dict[str, list[TensorRef]]] = {}
    for name, ref in adapter.tensors.items():
        if match := _FACTOR.fullmatch(name):
            sides = found.setdefault(match.group(1), {"A": [], "B": []})
            sides[match.group(2)].append(ref)
    return found


def _pair(
    config: Mapping[str, JsonValue], module: str, sides: Mapping[str, list[TensorRef]]
) -> Pair | str:
    for side, refs in sides.items():
        if len(refs) > 1:
            return f"{module} has two factors {side}"
    if not (sides["A"] and sides["B"]):
        return f"{module} has no factor {'B' if sides['A'] else 'A'}"
    a, b = sides["A"][0], sides["B"][0]
    if len(a.shape) != MATRIX or len(b.shape) != MATRIX or a.shape[0] != b.shape[1]:
        return f"{module}: A is {list(a.shape)} and B {list(b.shape)}, which have no product"
    if not a.shape[0]:
        return f"{module} has rank 0"
    for ref in (a, b):
        if ref.dtype not in ROW_DTYPES:
            return f"{ref.name} is {ref.dtype}, which cannot be computed with"
    plain = module.removeprefix(PREFIX).replace(".base_layer", "")
    turned = config.get("fan_in_fan_out") is True
    return Pair(Update(plain, a.shape[1], b.shape[0], a.shape[0], turned), a, b)


def _refusal(checkpoint: Checkpoint, pieces: list[Piece]) -> str:
    assert checkpoint.tensors is not None
    rows = {tensor.name for tensor in checkpoint.layout.tensors} if checkpoint.layout else set()
    for piece in pieces:
        ref = checkpoint.tensors.tensors[piece.tensor]
        if piece.tensor in rows:
            return (
                f"{piece.tensor} has a row for each token, and rows of old tokens are never changed"
            )
        if ref.dtype not in ROW_DTYPES:
            return f"{piece.tensor} is {ref.dtype}: add it to the unquantised base, then quantise"
    return ""


# ── what is added ────────────────────────────────────────────────────────────────────────────────


def _scale(config: Mapping[str, JsonValue], update: Update, pieces: list[Piece]) -> float | str:
    """Alpha / r, or alpha / √r for rank-stabilised adapters (Kalajdzievski 2023, 2312.03732)."""
    names = [update.module]
    if pieces[0].n_experts > 1:
        is_down = len(pieces) == pieces[0].n_experts and "gate_up" not in pieces[0].tensor
        names.append(f"{update.module}.{'down_proj' if is_down else 'gate_up_proj'}")
    alpha = config.get("lora_alpha", 8)
    patterns = config.get("alpha_pattern")
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        if not _PLAIN_NAME.fullmatch(pattern):
            return (
                f"alpha_pattern has the regular expression {pattern}, and only names are read here"
            )
        own = pattern.removeprefix("^")
        if any(n == own or (n.endswith(f".{own}") and own == pattern) for n in names):
            alpha = value
            break
    if not isinstance(alpha, int | float) or isinstance(alpha, bool):
        return f"lora_alpha of {update.module} is no number"
    rank = update.ranks // pieces[0].n_experts
    return alpha / sqrt(rank) if config.get("use_rslora") is True else alpha / rank
