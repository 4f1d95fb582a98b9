"""Folders that hold a config.json alone: models of many families with the numbers of real ones.

Small where size does not bear on positions; what does (head_dim, base frequency, shares, sections)
is that of published models of the family.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.loading import load
from tokengraft.positions import Stretch

Json = dict[str, Any]

_SMALL: Final[Json] = {
    "hidden_size": 512,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "vocab_size": 64,
    "pad_token_id": None,
}


def _config(model_type: str, length: int, **keys: object) -> Json:
    return {"model_type": model_type, **_SMALL, "max_position_embeddings": length, **keys}


_GEMMA3: Final = _config(
    "gemma3_text",
    32768,
    head_dim=256,
    num_hidden_layers=6,
    sliding_window=512,
    rope_theta=1000000.0,
    rope_local_base_freq=10000.0,
    layer_types=["sliding_attention"] * 5 + ["full_attention"],
)
_MROPE: Final = {"type": "mrope", "mrope_section": [16, 24, 24]}
# By name: config.json in the spelling of transformers 4.
OLDER: Final[Mapping[str, Json]] = {
    "qwen3": _config("qwen3", 40960, head_dim=128, rope_theta=1000000.0),
    "qwen2": _config("qwen2", 32768, rope_theta=1000000.0, rope_scaling=None),
    "llama": _config("llama", 4096),
    "mistral": _config("mistral", 32768, rope_theta=1000000.0),
    "phi (0.4)": _config("phi", 2048, partial_rotary_factor=0.4, hidden_size=320),
    "glm4 (half)": _config("glm4", 32768, head_dim=128, partial_rotary_factor=0.5),
    "gpt_neox (quarter)": _config(
        "gpt_neox", 2048, rotary_pct=0.25, rotary_emb_base=10000, hidden_size=256
    ),
    "stablelm (quarter)": _config("stablelm", 4096, partial_rotary_factor=0.25),
    "deepseek_v3": _config(
        "deepseek_v3",
        4096,
        qk_rope_head_dim=64,
        qk_nope_head_dim=32,
        v_head_dim=32,
        kv_lora_rank=16,
        q_lora_rank=16,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        moe_intermediate_size=16,
        num_key_value_heads=4,
    ),
    "qwen2_vl (mrope)": {
        **_config("qwen2_vl", 32768, rope_theta=1000000.0, rope_scaling=_MROPE),
        "vision_config": {"depth": 1, "embed_dim": 32, "hidden_size": 512, "num_heads": 2},
    },
    "phi3 (longrope alone)": _config("phi3", 4096, original_max_position_embeddings=4096),
    "olmo2 (two methods)": _config("olmo2", 4096, rope_theta=500000.0),
    "llama4 (llama3 alone)": _config("llama4_text", 8192, rope_theta=500000.0, head_dim=128),
    "gemma3 (two kinds)": _GEMMA3,
    "olmo3 (two kinds)": _config(
        "olmo3",
        8192,
        rope_theta=500000.0,
        sliding_window=4096,
        num_hidden_layers=4,
        layer_types=["sliding_attention"] * 3 + ["full_attention"],
    ),
    "gemma3 (nested config)": {
        "model_type": "gemma3",
        "text_config": _GEMMA3,
        "vision_config": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
    },
}
_NEST: Final = {
    "full_attention": {"rope_theta": 1000000.0, "rope_type": "default"},
    "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
}
_GEMMA3_FLAT = {k: v for k, v in _GEMMA3.items() if not k.startswith("rope")}
# By name: config.json in the spelling of transformers 5.
NEWER: Final[Mapping[str, Json]] = {
    "qwen3": _config(
        "qwen3",
        40960,
        head_dim=128,
        rope_parameters={"rope_theta": 1000000.0, "rope_type": "default"},
    ),
    "gemma3 (nested)": {**_GEMMA3_FLAT, "rope_parameters": _NEST},
    "qwen3_5 (quarter)": _config(
        "qwen3_5_text",
        32768,
        head_dim=256,
        layer_types=["full_attention"] * 2,
        rope_parameters={
            "rope_theta": 10000000.0,
            "rope_type": "default",
            "partial_rotary_factor": 0.25,
            "mrope_section": [11, 11, 10],
            "mrope_interleaved": True,
        },
    ),
    "phi (0.4)": _config(
        "phi",
        2048,
        hidden_size=320,
        rope_parameters={
            "rope_theta": 10000.0,
            "rope_type": "default",
            "partial_rotary_factor": 0.4,
        },
    ),
    "gpt_neox (quarter)": _config(
        "gpt_neox",
        2048,
        hidden_size=256,
        rope_parameters={
            "rope_theta": 10000.0,
            "rope_type": "default",
            "partial_rotary_factor": 0.25,
        },
    ),
}


def write(folder: Path, config: Json) -> Path:
    """A folder with this config.json."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def edited(checkpoint: Checkpoint, found: Stretch, folder: Path) -> Checkpoint:
    """The folder as a plan would leave it, made without planning."""
    config = json.loads(checkpoint.small_files["config.json"])
    for (file, pointer), value in found.settings.items():
        if file == "config.json":
            *parents, last = pointer.split("/")[1:]
            level = config
            for key in parents:
                level = level[key]
            level[last] = value
    return load(write(folder, config))
