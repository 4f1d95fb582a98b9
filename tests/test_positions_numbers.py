"""Positions as numbers, against values that were published or worked out another way."""

from __future__ import annotations

import itertools
import math

import pytest

from tokengraft.positions import (
    Rotary,
    attention_factor,
    counted_pairs,
    frequencies,
    plain,
    rounding,
)
from tokengraft.positions.scaling import (
    Dynamic,
    Linear,
    Llama3,
    Longrope,
    Scaling,
    Unscaled,
    Yarn,
)

QWEN3 = (1_000_000.0, 128)
LENGTH, REACH = 32_768, 131_072


def scaled(scaling: Scaling) -> Rotary:
    return Rotary(*QWEN3, scaling)


def test_without_scaling_each_pair_is_slower_by_the_same_ratio() -> None:
    turns = frequencies(scaled(Unscaled()), 7)
    assert turns == plain(scaled(Yarn(4.0, LENGTH)))
    assert len(turns) == 64
    assert turns[0] == 1.0
    assert turns[-1] == pytest.approx(1_000_000.0 ** -(126 / 128), rel=1e-15)
    ratios = {round(a / b, 12) for a, b in itertools.pairwise(turns)}
    assert len(ratios) == 1


def test_an_odd_share_of_a_head_has_its_last_pair_alone() -> None:
    assert len(frequencies(Rotary(10_000.0, 21, Unscaled()), 1)) == 11
    assert Rotary(10_000.0, 21, Unscaled()).n_pairs == 11


def test_linear_divides_all() -> None:
    turns = frequencies(scaled(Linear(4.0)), REACH)
    assert turns == tuple(turn / 4 for turn in plain(scaled(Linear(4.0))))
    assert attention_factor(Linear(4.0)) == 1.0


def test_yarn_of_qwen3_is_the_published_one() -> None:
    """Pair 30 and the factor were measured in transformers 4.57 and 5.23 (formats research, 5.3)."""
    yarn = Yarn(4.0, LENGTH)
    assert frequencies(scaled(yarn), 5)[30] == pytest.approx(1.064e-3, abs=5e-7)
    assert attention_factor(yarn) == pytest.approx(1.138629436111989, rel=1e-15)
    wrong = Yarn(4.0, REACH)  # the raised length taken for the trained one
    assert frequencies(scaled(wrong), 5)[30] == pytest.approx(1.540e-3, abs=5e-7)


def test_yarn_keeps_fast_pairs_and_divides_slow_ones() -> None:
    turns, found = plain(scaled(Unscaled())), frequencies(scaled(Yarn(4.0, LENGTH)), 5)
    waves = [LENGTH * turn / (2 * math.pi) for turn in turns]
    kept = [pair for pair in range(64) if found[pair] == turns[pair]]
    slowed = [pair for pair in range(64) if found[pair] == pytest.approx(turns[pair] / 4)]
    assert all(waves[pair] > 31 for pair in kept)
    assert all(waves[pair] < 1.3 for pair in slowed)
    assert (len(kept), len(slowed)) == (24, 24)
    said = counted_pairs(scaled(Yarn(4.0, LENGTH)), REACH)
    assert "of 64 rotary frequencies 24 stay, 24 are divided by 4 and 16 by less" in said
    assert "multiplied by 1.13863" in said


def test_yarn_without_rounded_bounds_blends_otherwise() -> None:
    """gpt-oss: truncate false over 4,096 positions, as its config has it."""
    rounded = frequencies(Rotary(150_000.0, 64, Yarn(32.0, 4096)), 1)
    exact = frequencies(Rotary(150_000.0, 64, Yarn(32.0, 4096, truncate=False)), 1)
    assert rounded[0] == exact[0] == 1.0
    assert rounded[-1] == exact[-1]
    differ = [pair for pair in range(32) if rounded[pair] != exact[pair]]
    assert differ == list(range(9, 18))  # between the bounds 8.09 and 17.4, rounded to 8 and 18


def test_yarn_where_both_bounds_fall_on_one_pair() -> None:
    found = frequencies(Rotary(10_000.0, 8, Yarn(2.0, 6, beta_fast=1.0, beta_slow=1.0)), 1)
    turns = plain(Rotary(10_000.0, 8, Unscaled()))
    assert found == (turns[0], *(turn / 2 for turn in turns[1:]))


def test_deepseek_weighs_its_attention_factor_away() -> None:
    assert attention_factor(Yarn(40.0, 4096, mscale=1.0, mscale_all_dim=1.0)) == 1.0
    assert attention_factor(Yarn(40.0, 4096, attention=1.5)) == 1.5
    assert attention_factor(Yarn(1.0, 4096)) == 1.0


def test_dynamic_leaves_texts_of_the_trained_length_alone() -> None:
    rotary = scaled(Dynamic(4.0, LENGTH))
    assert frequencies(rotary, LENGTH) == plain(rotary)
    assert frequencies(rotary, 1) == plain(rotary)
    grown = 1_000_000.0 * (4 * 4 - 3) ** (128 / 126)
    assert frequencies(rotary, REACH)[1] == pytest.approx(grown ** -(2 / 128), rel=1e-14)
    assert attention_factor(rotary.scaling) == 1.0


def test_llama3_as_published_with_llama_3_1() -> None:
    """Bounds by wavelength: 8192 / 4 and 8192 / 1 (Llama 3.1 reference code, `apply_scaling`)."""
    rotary = Rotary(500_000.0, 128, Llama3(8.0, 8192))
    turns, found = plain(rotary), frequencies(rotary, 1)
    for turn, now in zip(turns, found, strict=True):
        wave = 2 * math.pi / turn
        if wave < 8192 / 4:
            assert now == turn
        elif wave > 8192:
            assert now == turn / 8
        else:
            smooth = (8192 / wave - 1) / 3
            assert now == pytest.approx((1 - smooth) * turn / 8 + smooth * turn, rel=1e-14)
    assert attention_factor(rotary.scaling) == 1.0


def test_longrope_changes_lists_past_the_trained_length() -> None:
    long = tuple(1 + pair / 4 for pair in range(64))
    rotary = scaled(Longrope(4.0, LENGTH, (1.0,) * 64, long))
    assert frequencies(rotary, LENGTH) == plain(rotary)
    assert frequencies(rotary, LENGTH + 1)[8] == plain(rotary)[8] / 3
    assert attention_factor(rotary.scaling) == pytest.approx(
        math.sqrt(1 + math.log(4) / math.log(LENGTH)), rel=1e-15
    )
    assert attention_factor(Longrope(1.0, LENGTH, (), ())) == 1.0
    assert attention_factor(Longrope(4.0, LENGTH, (), (), attention=1.2)) == 1.2


@pytest.mark.parametrize(
    "scaling",
    [
        Unscaled(),
        Linear(4.0),
        Dynamic(4.0, LENGTH),
        Yarn(4.0, LENGTH),
        Llama3(4.0, LENGTH),
        Longrope(4.0, LENGTH, (1.0,) * 64, (4.0,) * 64),
    ],
)
def test_what_rounding_may_cost_is_little_and_never_nothing(scaling: Scaling) -> None:
    """Below 5e-6 of each number: a wrong formula is no matter of rounding."""
    found, allowed = frequencies(scaled(scaling), REACH), rounding(scaled(scaling), REACH)
    relative = [one / other for one, other in zip(allowed, found, strict=True)]
    assert min(relative) > 2.0**-24
    assert max(relative) < 5e-6
