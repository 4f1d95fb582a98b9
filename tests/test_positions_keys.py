"""Every key that a longer context sets, in both spellings, for models of many families."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import rope_configs
from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.loading import load
from tokengraft.positions import Stretch, config_of, kind_of, read, stretch, told, usual
from tokengraft.positions.reading import RopeConfig
from tokengraft.recipes import Context

Json = dict[str, Any]
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}


def checkpoint(folder: Path, config: Json) -> Checkpoint:
    return load(rope_configs.write(folder / "src", config))


def stretched(folder: Path, config: Json, **wish: object) -> Stretch:
    return stretch(checkpoint(folder, config), Context.model_validate_json(json.dumps(wish)))


def settings(folder: Path, config: Json, **wish: object) -> Json:
    found = stretched(folder, config, **wish)
    assert found.problems == ()
    return {pointer: value for (_, pointer), value in found.settings.items()}


def problem(folder: Path, config: Json, **wish: object) -> str:
    (said,) = stretched(folder, config, **wish).problems
    return str(said)


def positions_of(found: Checkpoint) -> RopeConfig:
    config = config_of(found)
    assert config is not None
    return config


# --- the older spelling --------------------------------------------------------------------------


def test_the_trained_length_comes_from_the_family(tmp_path: Path) -> None:
    """Qwen3 names 40,960 positions and was trained on 32,768."""
    assert settings(tmp_path, rope_configs.OLDER["qwen3"], length=131072) == {
        "/rope_scaling": YARN,
        "/max_position_embeddings": 131072,
    }


def test_linear_and_dynamic_name_the_original_length_whatever_stood_there(tmp_path: Path) -> None:
    for method in ("linear", "dynamic"):
        found = settings(
            tmp_path / method, rope_configs.OLDER["qwen3"], length=131072, method=method
        )
        assert found == {
            "/rope_scaling": {"rope_type": method, "factor": 4.0},
            "/max_position_embeddings": 32768,
        }


def test_a_factor_that_is_no_fraction_of_two_reaches_the_whole_length(tmp_path: Path) -> None:
    config = {**rope_configs.OLDER["llama"], "max_position_embeddings": 3000}
    found = settings(tmp_path, config, length=8191, method="linear")
    factor = found["/rope_scaling"]["factor"]
    assert int(3000 * factor) == 8191
    assert factor == pytest.approx(8191 / 3000, rel=1e-15)


def test_llama3_names_its_original_length_where_the_converter_of_llama_cpp_looks(
    tmp_path: Path,
) -> None:
    found = settings(tmp_path / "a", rope_configs.OLDER["llama"], length=16384, method="llama3")
    assert found == {
        "/rope_scaling": {
            "rope_type": "llama3",
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 4096,
        },
        "/max_position_embeddings": 16384,
        "/original_max_position_embeddings": 4096,
    }
    config = {**rope_configs.OLDER["llama"], "max_position_embeddings": 8192}
    found = settings(tmp_path / "b", config, length=32768, method="llama3")
    assert "/original_max_position_embeddings" not in found  # 8192 is what it takes anyway


def test_heads_are_named_where_a_class_would_stop_without(tmp_path: Path) -> None:
    """transformers 4.57 multiplies Mistral's null by a share of it."""
    config = rope_configs.OLDER["mistral"]
    for method, stated in (("yarn", True), ("dynamic", True), ("linear", False), ("llama3", False)):
        found = settings(tmp_path / method, config, length=131072, method=method)
        assert (found.get("/head_dim") == 128) is stated
    null = {**rope_configs.OLDER["qwen2"], "head_dim": None}
    assert settings(tmp_path / "null", null, length=131072)["/head_dim"] == 128


def test_mrope_keeps_its_sections_and_the_key_that_old_programs_read(tmp_path: Path) -> None:
    found = settings(tmp_path, rope_configs.OLDER["qwen2_vl (mrope)"], length=131072)
    assert found["/rope_scaling"] == {
        "type": "yarn",
        **YARN,
        "mrope_section": [16, 24, 24],
    }


def test_a_model_inside_a_model_is_edited_where_its_config_lies(tmp_path: Path) -> None:
    found = settings(tmp_path, rope_configs.OLDER["gemma3 (nested config)"], length=131072)
    assert found == {
        "/text_config/rope_scaling": YARN,
        "/text_config/max_position_embeddings": 131072,
    }


def test_what_the_top_of_the_file_repeats_is_repeated(tmp_path: Path) -> None:
    inner = rope_configs.OLDER["qwen2_vl (mrope)"]
    inner = {k: v for k, v in inner.items() if k != "vision_config"}
    outer = {**inner, "text_config": {**inner, "model_type": "qwen2_vl_text"}}
    found = settings(tmp_path, outer, length=131072)
    assert found["/rope_scaling"] == found["/text_config/rope_scaling"]
    assert found["/max_position_embeddings"] == found["/text_config/max_position_embeddings"]


def test_gemma3_names_its_scaled_length_under_linear_scaling_too(tmp_path: Path) -> None:
    """vLLM multiplies for other models, and not for Gemma 3."""
    config = rope_configs.OLDER["gemma3 (two kinds)"]
    found = settings(tmp_path, config, length=65536, method="linear")
    assert found["/max_position_embeddings"] == 65536
    again = {**config, "max_position_embeddings": 65536, "rope_scaling": found["/rope_scaling"]}
    assert stretched(tmp_path / "b", again, length=131072).original[0] == 32768


def test_a_length_that_only_the_class_knows_is_written(tmp_path: Path) -> None:
    config = {
        k: v
        for k, v in rope_configs.OLDER["gemma3 (two kinds)"].items()
        if k not in ("max_position_embeddings", "rope_theta", "head_dim")
    }
    found = settings(tmp_path, config, length=262144)
    assert found["/max_position_embeddings"] == 262144
    full = stretched(tmp_path / "b", config, length=262144).after.by_layer["full_attention"]
    assert (full.base, full.dim) == (1000000.0, 256)


# --- the newer spelling --------------------------------------------------------------------------


def test_the_newer_spelling_is_kept_and_the_older_one_put_beside_it(tmp_path: Path) -> None:
    assert settings(tmp_path, rope_configs.NEWER["qwen3"], length=131072) == {
        "/rope_parameters": {**YARN, "rope_theta": 1000000.0},
        "/rope_theta": 1000000.0,
        "/rope_scaling": YARN,
        "/max_position_embeddings": 131072,
    }


def test_a_share_of_the_head_is_put_beside_it_too(tmp_path: Path) -> None:
    found = settings(tmp_path, rope_configs.NEWER["phi (0.4)"], length=8192)
    assert found["/partial_rotary_factor"] == 0.4
    assert found["/rope_theta"] == 10000.0
    assert set(found["/rope_scaling"]) == set(YARN)
    found = settings(tmp_path / "b", rope_configs.NEWER["gpt_neox (quarter)"], length=8192)
    assert (found["/rotary_pct"], found["/rotary_emb_base"]) == (0.25, 10000.0)


def test_sections_stay_in_both_spellings(tmp_path: Path) -> None:
    found = settings(tmp_path, rope_configs.NEWER["qwen3_5 (quarter)"], length=131072)
    kept = {"mrope_section": [11, 11, 10], "mrope_interleaved": True}
    assert found["/rope_scaling"] == {**YARN, **kept}
    both = {"rope_theta": 10000000.0, "partial_rotary_factor": 0.25, **kept}
    assert found["/rope_parameters"] == {**YARN, **both}


def test_layers_with_a_window_keep_their_positions(tmp_path: Path) -> None:
    config = rope_configs.NEWER["gemma3 (nested)"]
    assert settings(tmp_path, config, length=131072) == {
        "/rope_parameters/full_attention": {**YARN, "rope_theta": 1000000.0},
        "/max_position_embeddings": 131072,
    }
    found = stretched(tmp_path / "b", config, length=131072)
    assert found.after.by_layer["sliding_attention"] == found.before.by_layer["sliding_attention"]
    said = "; ".join(told(checkpoint(tmp_path / "c", config), found))
    assert "transformers 4 knows no rope_parameters" in said
    assert "layers with a sliding window look back 512 tokens only" in said


def test_both_spellings_are_written_where_both_are_there(tmp_path: Path) -> None:
    flat = {**rope_configs.NEWER["qwen3"], "rope_theta": 1000000.0, "rope_scaling": YARN}
    found = settings(tmp_path / "a", flat, length=65536)
    assert found["/rope_scaling"]["factor"] == found["/rope_parameters"]["factor"] == 2.0
    old = {"rope_type": "linear", "factor": 8.0}
    nested = {**rope_configs.NEWER["gemma3 (nested)"], "rope_scaling": old}
    found = settings(tmp_path / "b", nested, length=131072, original=32768)
    assert found["/rope_scaling"] == YARN
    assert found["/rope_parameters/full_attention"]["factor"] == 4.0


@pytest.mark.parametrize("name", sorted({*rope_configs.OLDER, *rope_configs.NEWER}))
def test_every_reader_finds_the_same_positions(name: str, tmp_path: Path) -> None:
    for number, configs in enumerate((rope_configs.OLDER, rope_configs.NEWER)):
        if name not in configs:
            continue
        made = checkpoint(tmp_path / str(number), configs[name])
        wish = usual(made)
        assert wish is not None
        found = stretch(made, wish)
        config = positions_of(rope_configs.edited(made, found, tmp_path / f"out{number}"))
        after = read(config)
        assert after == found.after
        assert read(config, "llama.cpp").full == after.full
        if not config.is_nested:
            assert read(config, "transformers 4").full == after.full
        assert kind_of(config.in_force()) == wish.method
