"""Rotary positions as numbers: how far each pair of a head turns from one position to the next.

Computed here from the formulas, in double precision and without any library, so that what others
compute can be compared with it. `base` is the base frequency, `dim` the elements of a head that turn.

Sources: RoFormer (arXiv 2104.09864); linear: arXiv 2306.15595; dynamic: "NTK-aware" scaling as
transformers has it; YaRN: arXiv 2309.00071; llama3: Llama 3.1's reference code; LongRoPE: arXiv
2402.13753. Conventions (which numbers are rounded, what a missing one stands for) are those of
transformers 4.57 and 5.23, modeling_rope_utils.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import assert_never

UNIT = 2.0**-24  # half a step of float32 at 1


@dataclass(frozen=True, slots=True)
class Unscaled:
    """Positions as they were trained."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Every position is divided by the factor."""

    factor: float


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Past the original length the base grows with the text; up to it nothing changes."""

    factor: float
    original: int


@dataclass(frozen=True, slots=True)
class Yarn:
    """Fast pairs stay, slow ones are divided by the factor, those between in part."""

    factor: float
    original: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention: float | None = None
    mscale: float | None = None
    mscale_all_dim: float | None = None
    truncate: bool = True


@dataclass(frozen=True, slots=True)
class Llama3:
    """As YaRN, with bounds by wavelength and no change of attention."""

    factor: float
    original: int
    low: float = 1.0
    high: float = 4.0


@dataclass(frozen=True, slots=True)
class Longrope:
    """Each pair is divided by a number of its own: one list up to the original length, one past it."""

    factor: float
    original: int
    short: tuple[float, ...]
    long: tuple[float, ...]
    attention: float | None = None


Scaling = Unscaled | Linear | Dynamic | Yarn | Llama3 | Longrope


@dataclass(frozen=True, slots=True)
class Rotary:
    """How one kind of layer turns its heads."""

    base: float
    dim: int
    scaling: Scaling

    @property
    def n_pairs(self) -> int:
        return -(-self.dim // 2)


def plain(rotary: Rotary) -> tuple[float, ...]:
    """The frequencies without scaling, in radians a position, fastest first."""
    return _powers(rotary.base, rotary.dim)


def frequencies(rotary: Rotary, length: int) -> tuple[float, ...]:
    """The frequencies in force in a text of `length` tokens, in radians a position."""
    turns = plain(rotary)
    match rotary.scaling:
        case Unscaled():
            return turns
        case Linear(factor=factor):
            return tuple(turn / factor for turn in turns)
        case Dynamic() as scaling:
            return _powers(_grown(rotary, scaling, length), rotary.dim)
        case Yarn() as scaling:
            ramp = yarn_ramp(rotary, scaling)
            return _blended(turns, scaling.factor, ramp)
        case Llama3() as scaling:
            return _blended(turns, scaling.factor, _llama3_ramp(turns, scaling))
        case Longrope(short=short, long=long, original=original):
            lists = long if length > original else short
            return tuple(turn / by for turn, by in zip(turns, lists, strict=True))
        case _:
            assert_never(rotary.scaling)


def attention_factor(scaling: Scaling) -> float:
    """What cosines and sines are multiplied by, so that attention logits grow by its square."""
    match scaling:
        case Yarn(attention=None, factor=factor, mscale=one, mscale_all_dim=other):
            if one and other:
                return _mscale(factor, one) / _mscale(factor, other)
            return _mscale(factor, 1.0)
        case Longrope(attention=None, factor=factor, original=original):
            return math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
        case Yarn(attention=known) | Longrope(attention=known):
            assert known is not None
            return known
        case _:
            return 1.0


def rounding(rotary: Rotary, length: int) -> tuple[float, ...]:
    """How far a computation in float32 may be from `frequencies`, at most, in the same unit.

    A power's exponent is rounded, and so are base, power, quotient and blend: each costs half a step
    of its own result, and those of the exponent are multiplied by the base's logarithm.
    """
    scaling, log_base = rotary.scaling, math.log(rotary.base)
    if isinstance(scaling, Dynamic):
        log_base = math.log(_grown(rotary, scaling, length))
    turns, found = plain(rotary), frequencies(rotary, length)
    bounds = []
    for pair, (turn, result) in enumerate(zip(turns, found, strict=True)):
        exponent = 2 * pair / rotary.dim
        relative = exponent * (log_base + 4) + 5
        bounds.append(UNIT * (relative * result + _blend_error(scaling, turn, relative)))
    return tuple(bounds)


def yarn_ramp(rotary: Rotary, scaling: Yarn) -> tuple[float, ...]:
    """For each pair, how much of it is divided by the factor: 0 for the fast, 1 for the slow ones."""

    def pair_of(turns: float) -> float:
        """The pair that makes so many turns over the original length."""
        span = math.log(scaling.original / (turns * 2 * math.pi))
        return rotary.dim * span / (2 * math.log(rotary.base))

    low, high = pair_of(scaling.beta_fast), pair_of(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotary.dim - 1)
    if low == high:
        high += 0.001  # as transformers has it; one pair then is the border
    return tuple(_clipped((pair - low) / (high - low)) for pair in range(rotary.n_pairs))


def _llama3_ramp(turns: tuple[float, ...], scaling: Llama3) -> tuple[float, ...]:
    """How much of each pair is divided: all where a wave is longer than the original length / low."""
    ramp = []
    for turn in turns:
        waves = scaling.original * turn / (2 * math.pi)
        kept = (waves - scaling.low) / (scaling.high - scaling.low)
        ramp.append(1 - _clipped(kept))
    return tuple(ramp)


def _blended(turns: tuple[float, ...], factor: float, ramp: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(t / factor * r + t * (1 - r) for t, r in zip(turns, ramp, strict=True))


def _blend_error(scaling: Scaling, turn: float, relative: float) -> float:
    """What an error of the ramp itself costs, in half steps of float32 at 1."""
    match scaling:
        case Yarn(factor=factor):
            return 4 * turn * abs(1 - 1 / factor)
        case Llama3(factor=factor, original=original, low=low, high=high):
            waves = original * turn / (2 * math.pi)
            if not low <= waves <= high:
                return 0.0
            return turn * abs(1 - 1 / factor) * (waves * (relative + 4) / (high - low) + 4)
        case _:
            return 0.0


def _powers(base: float, dim: int) -> tuple[float, ...]:
    return tuple(1 / base ** (pair / dim) for pair in range(0, dim, 2))


def _grown(rotary: Rotary, scaling: Dynamic, length: int) -> float:
    longest = max(length, scaling.original)
    by = scaling.factor * longest / scaling.original - (scaling.factor - 1)
    return float(rotary.base * by ** (rotary.dim / (rotary.dim - 2)))


def _mscale(factor: float, weight: float) -> float:
    return 0.1 * weight * math.log(factor) + 1 if factor > 1 else 1.0


def _clipped(value: float) -> float:
    return min(max(value, 0.0), 1.0)
