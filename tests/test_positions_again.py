"""Scaling that is there already: stated anew, made less, taken away, or refused; and every refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rope_configs
from test_positions_keys import YARN, checkpoint, problem, settings, stretched
from tokengraft.formats.loading import load
from tokengraft.positions import config_of, frequencies, plain, stretch, told, usual
from tokengraft.recipes import Context

Json = dict[str, Any]
QWEN3 = rope_configs.OLDER["qwen3"]
SCALED: Json = {**QWEN3, "max_position_embeddings": 131072, "rope_scaling": YARN}
LINEAR: Json = {
    **QWEN3,
    "max_position_embeddings": 32768,
    "rope_scaling": {"rope_type": "linear", "factor": 4.0},
}
LLAMA31: Json = {
    **rope_configs.OLDER["llama"],
    "max_position_embeddings": 131072,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}
LISTS = {"short_factor": [1.0] * 64, "long_factor": [float(pair + 1) for pair in range(64)]}


# --- stated anew ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("length", "factor"), [(262144, 8.0), (65536, 2.0)])
def test_more_or_less_is_stated_from_the_trained_length(
    length: int, factor: float, tmp_path: Path
) -> None:
    assert settings(tmp_path, SCALED, length=length) == {
        "/rope_scaling": {**YARN, "factor": factor},
        "/max_position_embeddings": length,
    }


def test_another_method_replaces_the_one_that_was_there(tmp_path: Path) -> None:
    found = settings(tmp_path, SCALED, length=131072, method="linear")
    assert found == {
        "/rope_scaling": {"rope_type": "linear", "factor": 4.0},
        "/max_position_embeddings": 32768,
    }
    found = settings(tmp_path / "b", LINEAR, length=131072, method="yarn")
    assert found == {"/rope_scaling": YARN, "/max_position_embeddings": 131072}


def test_what_is_said_already_is_not_said_again(tmp_path: Path) -> None:
    found = stretched(tmp_path, SCALED, length=131072)
    assert found.settings == {}
    assert "the files say so already" in list(told(checkpoint(tmp_path / "b", SCALED), found))
    whole = {**SCALED, "rope_scaling": {**YARN, "factor": 4}}
    assert set(settings(tmp_path / "c", whole, length=131072)) == {"/rope_scaling"}


def test_a_models_own_bounds_stay_and_its_attention_factor_goes(tmp_path: Path) -> None:
    own = {"beta_fast": 64.0, "beta_slow": 2.0, "truncate": False, "mscale": 1.0}
    config = {**SCALED, "rope_scaling": {**YARN, **own, "attention_factor": 1.2}}
    found = stretched(tmp_path, config, length=262144)
    assert found.settings["config.json", "/rope_scaling"] == {**YARN, **own, "factor": 8.0}
    said = list(told(checkpoint(tmp_path / "b", config), found))
    assert "yarn scaling was in force; the new one starts from the trained length" in said[1]
    assert any("an attention factor of 1.2 stood there" in one for one in said)
    assert "llama.cpp and mlx-lm round YaRN's bounds, whatever `truncate` says" in said
    other = stretched(tmp_path / "c", config, length=262144, method="llama3")
    assert "beta_fast" not in str(other.settings)


def test_llama3_keeps_its_own_bounds(tmp_path: Path) -> None:
    scaling = {**LLAMA31["rope_scaling"], "low_freq_factor": 2.0}
    config = {**LLAMA31, "max_position_embeddings": 65530, "rope_scaling": scaling}
    found = settings(tmp_path, config, length=262144, method="llama3")
    assert found["/rope_scaling"] == {**scaling, "factor": 32.0}


# --- taken away ----------------------------------------------------------------------------------


def test_the_trained_length_takes_the_scaling_away(tmp_path: Path) -> None:
    found = stretched(tmp_path, SCALED, length=32768)
    assert dict(found.settings) == {
        ("config.json", "/rope_scaling"): None,
        ("config.json", "/max_position_embeddings"): 32768,
    }
    full = found.after.full
    assert full is not None
    assert frequencies(full, 99999) == plain(full)
    said = list(told(checkpoint(tmp_path / "b", SCALED), found))
    assert said == [
        (
            "context 131072 -> 32768 tokens: the yarn scaling is taken away, down to the trained positions "
            "(the model's own rope_scaling)"
        )
    ]


def test_sections_outlive_the_scaling(tmp_path: Path) -> None:
    old = {"type": "yarn", **YARN, "mrope_section": [16, 24, 24]}
    config = {**rope_configs.OLDER["qwen2_vl (mrope)"], "rope_scaling": old}
    config["max_position_embeddings"] = 131072
    found = settings(tmp_path, config, length=32768)
    assert found["/rope_scaling"] == {
        "type": "default",
        "rope_type": "default",
        "mrope_section": [16, 24, 24],
    }


def test_both_spellings_are_taken_away(tmp_path: Path) -> None:
    both = {**rope_configs.NEWER["qwen3"], "rope_theta": 1000000.0, "rope_scaling": YARN}
    both |= {"max_position_embeddings": 131072}
    both["rope_parameters"] = {**YARN, "rope_theta": 1000000.0}
    found = settings(tmp_path, both, length=32768)
    assert found["/rope_scaling"] is None
    assert found["/rope_parameters"] == {"rope_type": "default", "rope_theta": 1000000.0}


# --- longrope ------------------------------------------------------------------------------------


def test_without_lists_the_long_ones_are_what_yarn_divides_by(tmp_path: Path) -> None:
    found = stretched(tmp_path, QWEN3, length=131072, method="longrope")
    value = found.settings["config.json", "/rope_scaling"]
    assert isinstance(value, dict)
    yarn = stretched(tmp_path / "b", QWEN3, length=131072).after.full
    longrope = found.after.full
    assert yarn is not None
    assert longrope is not None
    assert frequencies(longrope, 131072) == pytest.approx(frequencies(yarn, 131072), rel=1e-14)
    assert frequencies(longrope, 32768) == plain(longrope)
    assert found.settings["config.json", "/original_max_position_embeddings"] == 32768
    said = list(told(checkpoint(tmp_path / "c", QWEN3), found))
    assert any("no search was made for better ones" in one for one in said)
    assert "vLLM serves 32768 tokens unless it is told --max-model-len 131072" in said


def test_the_lists_of_a_recipe_are_written_as_they_are(tmp_path: Path) -> None:
    found = stretched(tmp_path, QWEN3, length=131072, method="longrope", **LISTS)
    value = found.settings["config.json", "/rope_scaling"]
    assert isinstance(value, dict)
    assert (value["short_factor"], value["long_factor"]) == tuple(LISTS.values())
    assert "the lists of factors are the recipe's" in list(told(load(tmp_path / "src"), found))
    short = {"short_factor": [1.0], "long_factor": [2.0]}
    said = problem(tmp_path / "b", QWEN3, length=131072, method="longrope", **short)
    assert said == (
        "context.long_factor: the lists have 1 and 1 numbers, and a head of this model turns 64 pairs"
    )


def test_a_models_own_lists_serve_as_far_as_they_were_made_for(tmp_path: Path) -> None:
    lists = {"type": "longrope", **LISTS}
    config = {**rope_configs.OLDER["phi3 (longrope alone)"], "rope_scaling": lists}
    config |= {"max_position_embeddings": 65536}
    found = stretched(tmp_path, config, length=32768, method="longrope")
    assert dict(found.settings) == {("config.json", "/max_position_embeddings"): 32768}
    assert "the lists of factors are the model's own" in list(told(load(tmp_path / "src"), found))
    said = problem(tmp_path / "b", config, length=131072, method="longrope")
    assert said == (
        "context.long_factor: the model's own lists of factors were made for 65536 tokens (give "
        "short_factor and long_factor for the wanted length)"
    )


def test_the_spelling_that_phi3_insists_on(tmp_path: Path) -> None:
    config = rope_configs.OLDER["phi3 (longrope alone)"]
    found = settings(tmp_path, config, length=16384, method="longrope")
    assert set(found["/rope_scaling"]) == {"type", "short_factor", "long_factor"}
    config = rope_configs.OLDER["olmo2 (two methods)"]
    found = settings(tmp_path / "b", config, length=16384, method="dynamic")
    assert found["/rope_scaling"] == {"type": "dynamic", "factor": 4.0}


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "wish", "said"),
    [
        (QWEN3, {"length": 32768}, "context.length: 32768 is within the 32768 positions that were"),
        (QWEN3, {"length": 32768}, "(a longer context begins above 32768)"),
        (SCALED, {"length": 16384}, "(length = 32768 takes the yarn scaling away; a shorter limit"),
        (
            LLAMA31,
            {"length": 262144},
            (
                "context.original: models of this family were trained with llama3 scaling up to 131072 "
                "tokens, so that other positions are not what their weights know (original = 8192 "
                "restates the scaling from there all the same)"
            ),
        ),
        (
            rope_configs.OLDER["phi3 (longrope alone)"],
            {"length": 16384},
            'the classes of phi3 models do not read yarn (method = "longrope")',
        ),
        (
            rope_configs.OLDER["olmo2 (two methods)"],
            {"length": 16384},
            "the classes of olmo2 models do not read yarn (they read linear, dynamic)",
        ),
        (
            {**QWEN3, "model_type": "gptj", "n_positions": 2048},
            {"length": 9999},
            "the classes of gptj models read no scaling of positions",
        ),
        ({**QWEN3, "model_type": "gpt2"}, {"length": 9999}, "no rotary positions to scale"),
        (
            {**QWEN3, "model_type": "falcon", "alibi": True},
            {"length": 9999},
            "falcon models have no rotary positions to scale",
        ),
        (
            {k: v for k, v in QWEN3.items() if k != "max_position_embeddings"},
            {"length": 9999},
            "config.json does not say its context length",
        ),
        (
            {**QWEN3, "model_type": "deepseek_v4", "rope_parameters": {"main": {}, "compress": {}}},
            {"length": 99999},
            "its kinds of layers are called compress, main, and it is not known which of them see",
        ),
        (
            {**QWEN3, "rope_parameters": {"rope_type": "proportional", "rope_theta": 1e6}},
            {"length": 99999},
            "its positions are scaled by proportional, which no method of a recipe replaces",
        ),
        (
            {**QWEN3, "head_dim": "many"},
            {"length": 99999, "method": "longrope"},
            "no factors can be computed: config.json does not say head_dim",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(
    config: Json, wish: Json, said: str, tmp_path: Path
) -> None:
    assert said in problem(tmp_path, config, **wish)


def test_a_trained_scaling_gives_way_to_a_named_original(tmp_path: Path) -> None:
    found = settings(tmp_path, LLAMA31, length=262144, method="llama3", original=8192)
    assert found["/rope_scaling"] == {**LLAMA31["rope_scaling"], "factor": 32.0}


def test_no_config_no_context(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    found = load(tmp_path)
    assert config_of(found) is None
    assert usual(found) is None
    (said,) = stretch(found, Context(length=5)).problems
    assert str(said).startswith(
        "context: the folder has no config.json (put it beside tokenizer.json"
    )


def test_the_usual_stretch_is_four_times_by_what_the_classes_read(tmp_path: Path) -> None:
    expected = {
        "qwen3": "yarn",
        "phi3 (longrope alone)": "longrope",
        "olmo2 (two methods)": "linear",
    }
    for number, (name, method) in enumerate(expected.items()):
        wish = usual(checkpoint(tmp_path / str(number), rope_configs.OLDER[name]))
        assert wish is not None
        assert (wish.method, wish.length % 4096) == (method, 0)
    assert usual(checkpoint(tmp_path / "scaled", SCALED)) is None
