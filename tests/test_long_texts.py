"""Long texts of `verify --deep`: what both models are to read, and what is said of their scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from test_verifying import graft
from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.loading import load
from tokengraft.positions import config_of, start_of, stretch
from tokengraft.recipes import Context
from tokengraft.results import Estimate, LongTexts, Loss, Passkeys
from tokengraft.verifying import windows
from tokengraft.verifying.long_texts_jobs import CUT, KEYS, LONG, LONG_KEYS, SHORT, Asked, ranges
from tokengraft.verifying.long_texts_told import mean, told
from tokengraft.verifying.windows import MAX_WINDOWS, N_KEYS, Hidden, passkeys

Json = dict[str, Any]
SHORT_TOKENS, LONG_TOKENS = 256, 512  # of a tiny model, and twice that
NAN = float("nan")


def recipe(method: str = "yarn", length: int = LONG_TOKENS) -> str:
    return f'version = 1\n[context]\nlength = {length}\nmethod = "{method}"\n'


def made(folder: Path, method: str = "yarn", **fields: Any) -> tuple[Path, Checkpoint]:
    base = tiny.build(folder / "base", **fields)
    return folder / "out", graft(base, folder / "out", recipe=recipe(method))


# ── what is read ─────────────────────────────────────────────────────────────────────────────────


def letters(many: Sequence[str]) -> list[list[int]]:
    """An encoder for which every letter is a token."""
    return [[ord(letter) for letter in text] for text in many]


def test_windows_are_spread_over_a_text_and_do_not_overlap() -> None:
    text = "".join(f"{n:07}\n" for n in range(1000))
    found = windows.windows([text], letters, 100, (1,))
    assert len(found) == MAX_WINDOWS
    assert {len(ids) for ids in found} == {100}
    assert {ids[0] for ids in found} == {1}
    begins = [int("".join(map(chr, ids[1:8]))) for ids in found]  # each begins with a line
    assert begins == [0, 126, 251, 376, 501, 626, 751, 876]


def test_a_short_text_gives_fewer_windows_and_a_shorter_one_none() -> None:
    assert len(windows.windows(["x" * 350], letters, 100, ())) == 3
    assert windows.windows(["x" * 99], letters, 100, ()) == []
    assert windows.windows(["", "x"], letters, 100, ()) == []


def test_every_file_gives_windows_as_long_as_there_is_one() -> None:
    found = windows.windows(["a" * 900, "b" * 250, "c"], letters, 100, ())
    assert "".join(chr(ids[0]) for ids in found) == "ababaaaa"


def test_keys_lie_at_their_depth_in_texts_of_exactly_that_length() -> None:
    filler = windows.windows(["." * 4000], letters, 1000, (7, 8))
    found = list(passkeys(filler, letters, 600, (7, 8)))
    assert [one.depth_percent for one in found] == [10, 50, 90] * N_KEYS
    keys = set()
    for one in found:
        text = "".join(map(chr, one.ids[2:]))
        assert one.ids[:2] == (7, 8)
        assert len(one.ids) == 600
        key = text[-5:]
        keys.add(key)
        assert key.isdigit()
        assert one.n_answer == len(f" {key}")
        assert text.count(key) == 3  # twice where it is told, once where it is asked for
        dots = text[: text.index("The pass key")].count("."), text.count(".")
        assert abs(100 * dots[0] / dots[1] - one.depth_percent) < 3
    assert len(keys) == N_KEYS


def test_where_there_is_no_room_no_key_is_hidden() -> None:
    assert list(passkeys([tuple(range(50))], letters, 50, ())) == []


def test_ranges_are_halves_of_the_short_length_and_then_its_doubles() -> None:
    assert ranges(512, 512) == [(1, 256), (256, 512)]
    assert ranges(512, 2048) == [(1, 256), (256, 512), (512, 1024), (1024, 2048)]
    assert ranges(512, 1500) == [(1, 256), (256, 512), (512, 1024), (1024, 1500)]
    assert ranges(2, 3) == [(1, 2), (2, 3)]


def test_jobs_hold_the_same_tokens_for_both_models_and_the_end_for_the_base_alone() -> None:
    window = (9, *range(100, 131))
    keys = {n: [Hidden(tuple(range(n)), 10, 3)] for n in (8, 32)}
    jobs = Asked(("t",), 8, 64, [window], (9,), keys).jobs()
    assert list(jobs) == [SHORT, KEYS, CUT, LONG, LONG_KEYS]
    assert jobs[SHORT]["texts"] == [{"ids": list(window[:8]), "ranges": [(1, 4), (4, 8)]}]
    assert jobs[CUT]["texts"] == [{"ids": [9, *window[-7:]], "ranges": [(4, 8)]}]
    assert jobs[CUT]["models"] == [0]
    assert jobs[LONG]["texts"][0]["ids"] == list(window)
    assert jobs[LONG]["texts"][0]["ranges"][-1] == (28, 32)
    assert window[-4:] == tuple(jobs[CUT]["texts"][0]["ids"][4:8])  # what both score there
    assert jobs[LONG_KEYS]["texts"][0]["ranges"] == [(29, 32)]


def test_a_window_within_the_trained_length_has_short_texts_alone() -> None:
    jobs = Asked(("t",), 64, 256, [tuple(range(32))]).jobs()
    assert list(jobs) == [SHORT]
    assert jobs[SHORT]["texts"][0]["ranges"] == [(1, 16), (16, 32)]


@pytest.mark.parametrize("method", ["linear", "dynamic", "yarn", "llama3", "longrope"])
def test_scaling_starts_from_the_trained_length_whatever_the_method(
    method: str, tmp_path: Path
) -> None:
    out, base = made(tmp_path, method)
    config = config_of(load(out))
    assert config is not None
    assert start_of(config) == SHORT_TOKENS
    assert start_of(config_of(base)) == SHORT_TOKENS  # type: ignore[arg-type]
    assert stretch(base, Context(length=LONG_TOKENS)).original[0] == SHORT_TOKENS


# ── what is made of it ───────────────────────────────────────────────────────────────────────────


def test_a_mean_has_the_interval_of_a_bootstrap() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(2.0, 1.0, 40)
    found = mean(values.tolist())
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert math.isclose(found.mean, values.mean())
    drawn = rng.choice(values, (4000, 40)).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert abs(found.low - low) < 0.05
    assert abs(found.high - high) < 0.05
    assert mean(values.tolist()) == found  # drawn the same each time


def test_one_text_has_no_interval_and_what_is_not_finite_has_no_mean() -> None:
    assert mean([1.5]) == Estimate(mean=1.5, low=None, high=None)
    assert mean([1.5, NAN]) is None
    assert mean([1.5, math.inf]) is None
    assert mean([]) is None


def a_mean(value: float, spread: float | None = 0.1) -> Estimate:
    if spread is None:
        return Estimate(mean=value, low=None, high=None)
    return Estimate(mean=value, low=value - spread, high=value + spread)


def a_loss(difference: Estimate, *, seen: int = 512, length: int = 512) -> Loss:
    return Loss(
        text_tokens=length,
        seen_before=seen,
        begin=length // 2,
        end=length,
        n_texts=8,
        before=a_mean(2.0),
        after=a_mean(2.0 + difference.mean),
        difference=difference,
    )


def measured(*losses: Loss, keys: tuple[Passkeys, ...] = (), length: int = 2048) -> LongTexts:
    return LongTexts(
        texts=("a.txt",),
        trained_tokens=512,
        wanted_tokens=2048,
        n_windows=8,
        window_tokens=length,
        dtype="float32",
        losses=losses,
        passkeys=keys,
    )


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (a_mean(0.3), "get worse, from 2.000 to 2.300 nats a token at positions 256 to 511"),
        (a_mean(-0.3), "get better, from 2.000 to 1.700"),
        (a_mean(0.01), "show no clear difference, from 2.000 to 2.010"),
        (a_mean(0.3, None), "go from 2.000 to 2.300 nats a token at positions 256 to 511, in one"),
        (a_mean(0.0, 0.0), "lose what they lost before, to the bit"),
    ],
)
def test_short_texts_are_told_as_they_turned_out(difference: Estimate, said: str) -> None:
    assert f"texts of 512 tokens {said}" in "; ".join(told(measured(a_loss(difference))))


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (
            a_mean(0.3),
            "is foretold worse with all of it: 2.300 nats a token with all 2,048 and 2.000",
        ),
        (a_mean(-0.3), "is foretold better with all of it"),
        (a_mean(0.01), "is foretold no better with all of it"),
        (a_mean(0.3, None), "the end of a long text: 2.300"),
    ],
)
def test_the_end_of_a_long_text_says_whether_its_length_helps(
    difference: Estimate, said: str
) -> None:
    text = "; ".join(told(measured(a_loss(difference, length=2048))))
    assert said in text
    assert "for the base with the last 512" in text


def a_cell(length: int, before: int, after: int) -> Passkeys:
    return Passkeys(
        text_tokens=length,
        depth_percent=50,
        n_keys=3,
        found_before=before,
        found_after=after,
        before=-1.0,
        after=None,
    )


def test_keys_are_counted_by_length_and_no_key_before_says_nothing_after() -> None:
    text = "; ".join(told(measured(keys=(a_cell(512, 3, 2), a_cell(2048, 0, 1)))))
    assert "texts of 512 tokens: 3 of 3 before, 2 of 3 after" in text
    assert "texts of 2,048 tokens: 0 of 3 before, 1 of 3 after" in text
    assert "these keys cannot measure" not in text
    text = "; ".join(told(measured(keys=(a_cell(512, 0, 0), a_cell(2048, 0, 0)))))
    assert text.endswith("these keys cannot measure in long ones")
    assert "no room for them" in "; ".join(told(measured()))


def test_windows_that_stop_early_are_told() -> None:
    text = "; ".join(told(measured(length=1024)))
    assert "the windows stop at 1,024 of 2,048 tokens" in text
    assert "no window is longer than the 512 tokens" in "; ".join(told(measured(length=512)))
