"""`verify` on a longer context: what every reader finds, and what is found where it was spoilt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tiny
from test_verifying import evidence, graft, status
from tokengraft import verifying
from tokengraft.formats.loading import load
from tokengraft.verifying import positions
from tokengraft.verifying.records import read_graft

Json = dict[str, Any]
RECIPE = "version = 1\n[context]\nlength = 1024\n"
NEST = {
    "full_attention": {"rope_theta": 10000.0, "rope_type": "default"},
    "sliding_attention": {"rope_theta": 100.0, "rope_type": "default"},
}


def made(folder: Path, recipe: str = RECIPE, **config: object) -> Path:
    base = tiny.build(folder / "base", files={"config.json": config})
    graft(base, folder / "out", recipe=recipe)
    return folder / "out"


def spoil(out: Path, change: Callable[[Json], object]) -> None:
    path = out / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    change(config)
    path.write_text(json.dumps(config), encoding="utf-8")


def test_a_longer_context_is_stated_as_numbers(tmp_path: Path) -> None:
    found = verifying.verify(made(tmp_path))
    assert status(found)["positions"] == "pass"
    assert evidence(found, "positions") == (
        "transformers 4 and 5 and llama.cpp's converter find the same for 1024 tokens: of 2 rotary frequencies 1 stay, 1 are divided by 4 and 0 by less; the slowest "
        "goes from 0.01 to 0.0025 a position; cosines and sines are multiplied by 1.13863"
    )


def test_a_plan_that_leaves_positions_alone_says_nothing_of_them(tmp_path: Path) -> None:
    out = made(tmp_path, "version = 1\n[pad]\ntoken = '<|p|>'\n")
    assert "positions" not in status(verifying.verify(out))
    assert list(positions.ask_positions(read_graft(out))) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda c: c.update(rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
            "llama.cpp reads Unscaled() on base 10000, transformers 5 reads Yarn(factor=4.0",
        ),
        (
            lambda c: c.update(rope_theta=500.0),
            "base frequency or elements that turn were 10000 and 4",
        ),
    ],
)
def test_what_readers_would_find_otherwise_is_a_failure(
    change: Callable[[Json], object], said: str, tmp_path: Path
) -> None:
    out = made(tmp_path)
    base = tiny.build(tmp_path / "again")
    spoil(out, change)
    found = verifying.verify(out, against=load(base))
    assert status(found)["positions"] == "fail"
    assert said in evidence(found, "positions")


def test_numbers_that_are_none_are_unknown(tmp_path: Path) -> None:
    out = made(tmp_path)
    spoil(out, lambda c: c["rope_scaling"].update(factor="four"))
    found = verifying.verify(out)
    assert status(found)["positions"] == "unknown"
    assert "does not say the factor of its scaling" in evidence(found, "positions")


def test_layers_with_a_window_must_not_be_scaled(tmp_path: Path) -> None:
    out = made(tmp_path, rope_parameters=NEST, rope_theta=tiny.DROP, rope_scaling=tiny.DROP)
    found = verifying.verify(out)
    assert status(found)["positions"] == "pass"
    assert evidence(found, "positions").startswith("transformers 5 and llama.cpp's converter find")

    def scale(config: Json) -> None:
        full = config["rope_parameters"]["full_attention"]
        config["rope_parameters"]["sliding_attention"] = {**full, "rope_theta": 100.0}

    spoil(out, scale)
    found = verifying.verify(out, against=load(tmp_path / "base"))
    assert "sliding_attention layers are scaled, and must not be" in evidence(found, "positions")


# --- transformers as a witness -------------------------------------------------------------------


def test_without_torch_the_witness_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = made(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    (check,) = positions.ask_positions(read_graft(out))
    assert (check.status, check.evidence) == ("skipped", "torch and transformers not installed")


@pytest.mark.oracle5
def test_transformers_is_asked_for_the_positions_of_the_result(tf5: Path, tmp_path: Path) -> None:
    out = made(tmp_path)
    (check,) = positions.ask_positions(read_graft(out), python=str(tf5))
    assert check.status == "pass", check.evidence
    # Four lengths, two frequencies each.
    assert "turns heads by the same 8 frequencies" in check.evidence
    spoil(out, lambda c: c.update(model_type="no_such_model"))
    (check,) = positions.ask_positions(read_graft(out), python=str(tf5))
    assert check.status == "unknown"
