"""Defects of RoPE scaling and of the sizes of config.json (C), beyond the first ones."""

from __future__ import annotations

from typing import Any

from planting import Defect, Make, built, config, generation

_YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def _scaled(**keys: Any) -> Make:
    return config(rope_scaling=keys)


def _long(original: int, factor: float) -> Make:
    return config(
        max_position_embeddings=round(original * factor),
        rope_scaling={
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": original,
        },
    )


DEFECTS = (
    Defect(
        "C105",
        bad=(_scaled(rope_type="yran", factor=4.0), _scaled(factor=4.0)),
        good=(_scaled(type="linear", factor=4.0), _scaled(type="mrope", mrope_section=[2])),
    ),
    Defect(
        "C106",
        bad=(
            _scaled(rope_type="llama3", factor=4.0),
            _scaled(rope_type="linear"),
            _scaled(rope_type="longrope", short_factor=[1.0, 1.0]),
        ),
        good=(_scaled(**_LLAMA3), _scaled(type="su", short_factor=[1.0], long_factor=[1.0])),
    ),
    Defect(
        "C107",
        bad=(
            _scaled(rope_type="linear", factor=0.5),
            _scaled(rope_type="linear", factor="4.0"),
            _scaled(rope_type="linear", factor=4),
        ),
        good=(_scaled(rope_type="linear", factor=1.5), _scaled(**_YARN)),
    ),
    Defect(
        "C108",
        bad=(
            _scaled(**{**_LLAMA3, "original_max_position_embeddings": 512}),
            _scaled(
                rope_type="longrope",
                short_factor=[1.0],
                long_factor=[1.0],
                original_max_position_embeddings=4096,
            ),
        ),
        good=(_scaled(**_LLAMA3), _scaled(**_YARN)),
    ),
    Defect(
        "C109",
        bad=(_long(40960, 2.0), _long(40960, 4.0)),
        good=(_long(32768, 4.0), _scaled(**_YARN)),
        also=frozenset({"C201"}),
    ),
    Defect(
        "C110",
        bad=(
            config(use_sliding_window=True, sliding_window=4096),
            config(use_sliding_window=True, sliding_window=0),
        ),
        good=(
            config(use_sliding_window=False, sliding_window=4096),
            config(use_sliding_window=True, sliding_window=128),
            config(sliding_window=None),
        ),
    ),
    Defect(
        "C203",
        bad=(generation(temperature=0.6), generation(top_p=0.9, top_k=20)),
        good=(generation(do_sample=True, temperature=0.6), generation(temperature=1.0)),
    ),
    Defect(
        "C204",
        bad=(generation(max_length=257), generation(max_length=131072)),
        good=(generation(max_length=256), built()),
    ),
    Defect(
        "C301",
        bad=(
            config(num_key_value_heads=3),
            config(hidden_size="8"),
            config(rope_theta="10000"),
            config(use_cache="yes"),
        ),
        good=(built(), config(num_key_value_heads=None)),
    ),
    Defect(
        "C302",
        bad=(config(dtype="float32"), config(dtype="float16")),
        good=(config(dtype="bfloat16"), config(dtype=None)),
    ),
)
