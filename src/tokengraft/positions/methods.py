"""The numbers of each method, as a config states them."""

from __future__ import annotations

import math
from typing import get_args

from tokengraft.checkpoint import JsonValue
from tokengraft.documents import Problem
from tokengraft.positions.reading import RopeConfig, kind_of, read
from tokengraft.positions.scaling import Yarn, yarn_ramp
from tokengraft.recipes import Context, ContextMethod

METHODS: tuple[str, ...] = get_args(ContextMethod)
# The two bounds that every published llama3 scaling uses.
_LLAMA3: dict[str, JsonValue] = {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
# What a model may have been given its own values for, and keeps under another factor.
_KEPT = {
    "yarn": ("beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"),
    "llama3": ("low_freq_factor", "high_freq_factor"),
}


def method_keys(config: RopeConfig, wish: Context, original: int) -> dict[str, JsonValue] | Problem:
    """`rope_type` and the method's numbers, or what is missing for them."""
    factor = wish.length / original
    if wish.method in ("linear", "dynamic") and int(original * factor) < wish.length:
        # vLLM multiplies and cuts: the least factor that gives the whole length.
        factor = math.nextafter(factor, math.inf)
    found: dict[str, JsonValue] = {"rope_type": wish.method, "factor": factor}
    if wish.method == "llama3":
        found |= _LLAMA3
    if wish.method not in ("linear", "dynamic"):
        found["original_max_position_embeddings"] = original
    in_force = config.in_force()
    if kind_of(in_force) == wish.method:
        kept = _KEPT.get(wish.method, ())
        found |= {key: in_force[key] for key in kept if in_force.get(key) is not None}
    if wish.method != "longrope":
        return found
    lists = _lists(config, wish, original)
    if isinstance(lists, Problem):
        return lists
    short, long = lists
    return {**found, "short_factor": list(short), "long_factor": list(long)}


def own_lists(config: RopeConfig, wish: Context, original: int) -> bool:
    """Whether the model's own lists of factors serve: they were made for this length or a longer one."""
    made_for = config.level.get("max_position_embeddings")
    return (
        kind_of(config.in_force()) == "longrope"
        and isinstance(made_for, int)
        and original < wish.length <= made_for
    )


def _lists(
    config: RopeConfig, wish: Context, original: int
) -> tuple[tuple[float, ...], tuple[float, ...]] | Problem:
    """Short and long factors: the recipe's, else the model's own, else those that YaRN divides by.

    LongRoPE searches for such lists; YaRN's are among the points its search begins with (arXiv
    2402.13753, section 3.3). Up to the original length they leave every frequency as it was.
    """
    reading = read(config)
    rotary = reading.full
    if wish.short_factor is not None and wish.long_factor is not None:
        wrong = rotary is not None and {len(wish.short_factor), len(wish.long_factor)} != {
            rotary.n_pairs
        }
        if rotary is not None and wrong:
            return Problem(
                where="context.long_factor",
                what=f"the lists have {len(wish.short_factor)} and {len(wish.long_factor)} numbers, "
                f"and a head of this model turns {rotary.n_pairs} pairs",
            )
        return wish.short_factor, wish.long_factor
    in_force = config.in_force()
    if own_lists(config, wish, original):
        return tuple(in_force["short_factor"]), tuple(in_force["long_factor"])  # type: ignore[arg-type]
    if kind_of(in_force) == "longrope":
        return Problem(
            where="context.long_factor",
            what=f"the model's own lists of factors were made for {config.length} tokens",
            suggestion="give short_factor and long_factor for the wanted length",
        )
    if rotary is None:
        return Problem(
            where="context.method", what=f"no factors can be computed: {reading.why_not}"
        )
    factor = wish.length / original
    ramp = yarn_ramp(rotary, Yarn(factor, original))
    return (1.0,) * rotary.n_pairs, tuple(1 / (part / factor + 1 - part) for part in ramp)
