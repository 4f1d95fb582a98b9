"""Say what a stretch does: lengths, numbers, what was there before, and what nobody has proved."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.checkpoint import Checkpoint
from tokengraft.positions.engines import engine_lines
from tokengraft.positions.methods import own_lists
from tokengraft.positions.reading import RopeConfig, kind_of
from tokengraft.positions.scaling import (
    Dynamic,
    Rotary,
    Unscaled,
    attention_factor,
    frequencies,
    plain,
)
from tokengraft.positions.stretching import GENERATION, Stretch, reach_of

_SAME = 1e-9  # relative: frequencies are computed in double precision


def told(checkpoint: Checkpoint, found: Stretch) -> Iterator[str]:
    """Every sentence that a plan holds of its context, the first one first."""
    config = found.config
    assert config is not None
    yield _head(config, found)
    if not found.settings:
        yield "the files say so already"
    yield from _before(config, found)
    if not found.taken_away:
        yield numbers(found)
        yield from _short_texts(found)
    yield from _around(checkpoint, config, found)
    yield from engine_lines(found)


def numbers(found: Stretch) -> str:
    """What becomes of the frequencies of the layers that see the whole text."""
    rotary = found.after.full
    if rotary is None:
        return f"what becomes of its positions is unknown: {found.after.why_not}"
    return counted_pairs(rotary, found.wish.length)


def counted_pairs(rotary: Rotary, length: int) -> str:
    """How many pairs of a head keep their frequency in a text of this length, and what the rest get."""
    before, after = plain(rotary), frequencies(rotary, length)
    by = [a / b for a, b in zip(before, after, strict=True)]
    most = max(by)
    same = sum(abs(one - 1) < _SAME for one in by)
    full = sum(abs(one / most - 1) < _SAME for one in by) if most > 1 + _SAME else 0
    return (
        f"of {len(by)} rotary frequencies {same} stay, {full} are divided by {most:.6g} and "
        f"{len(by) - same - full} by less; the slowest goes from {before[-1]:.6g} to {after[-1]:.6g} "
        f"a position; cosines and sines are multiplied by {attention_factor(rotary.scaling):.6g}"
    )


def _head(config: RopeConfig, found: Stretch) -> str:
    length, (original, source) = found.wish.length, found.original
    old = reach_of(config)
    if found.taken_away:
        kind = kind_of(config.in_force())
        return (
            f"context {old} -> {length} tokens: the {kind} scaling is taken away, down to the trained "
            f"positions ({source})"
        )
    return (
        f"context {old} -> {length} tokens: {found.wish.method}, factor {found.factor:g} over "
        f"{original} trained positions ({source}). Quality at the new length is not proved by the "
        "configuration"
    )


def _before(config: RopeConfig, found: Stretch) -> Iterator[str]:
    """What was in force, and what of it is gone."""
    in_force = config.in_force()
    kind = kind_of(in_force)
    if kind == "default":
        return
    if not found.taken_away:
        yield f"{kind} scaling was in force; the new one starts from the trained length, not from that"
    attention = in_force.get("attention_factor", in_force.get("attn_factor"))
    if attention is not None:
        yield f"an attention factor of {attention} stood there; it belonged to the old factor and is gone"


def _short_texts(found: Stretch) -> Iterator[str]:
    rotary = found.after.full
    original = found.original[0]
    if rotary is not None and isinstance(rotary.scaling, Dynamic):
        before = found.before.full
        was_plain = before is not None and isinstance(before.scaling, Unscaled | Dynamic)
        how = "as before" if was_plain else "at the trained positions again"
        yield (
            f"texts of up to {original} tokens are read {how}; past that every length has "
            "frequencies of its own, and what is cached was read with those of a shorter text"
        )
    elif found.wish.method == "longrope":
        yield _lists(found)
    else:
        yield (
            "the scaling is static: it also changes texts that would have fitted before, usually for "
            "the worse: verify --deep --texts FILE measures by how much"
        )


def _lists(found: Stretch) -> str:
    config, wish, original = found.config, found.wish, found.original[0]
    assert config is not None
    if wish.short_factor is not None:
        return "the lists of factors are the recipe's"
    if own_lists(config, wish, original):
        return "the lists of factors are the model's own"
    return (
        "the long factors are those that YaRN divides by, and no search was made for better ones; the "
        "short ones are 1, so that shorter texts change by the attention factor alone"
    )


def _around(checkpoint: Checkpoint, config: RopeConfig, found: Stretch) -> Iterator[str]:
    """Settings of other files and layers that bear on long texts and are left alone."""
    length = found.wish.length
    window = config.level.get("sliding_window")
    switched = config.level.get("use_sliding_window") is not False
    if type(window) is int and 0 < window < length and switched:
        layers = config.level.get("layer_types")
        which = (
            "layers with a sliding window look" if isinstance(layers, list) else "attention looks"
        )
        yield f"{which} back {window} tokens only (sliding_window), whatever the context"
    pinned = checkpoint.value(GENERATION, "/max_length")
    kept = (GENERATION, "/max_length") not in found.settings
    if type(pinned) is int and pinned < length and kept:
        yield f"{GENERATION} keeps max_length {pinned}: generate() stops there unless it is told more"
