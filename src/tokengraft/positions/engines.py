"""What programs make of a stretched config where they ignore a part of it or read it another way.

Read in source: vLLM 0.33 (config/model.py, rotary_embedding/), llama.cpp's converter
(conversion/base.py, llama.py, phi.py, gemma.py), mlx-lm 0.32 (models/rope_utils.py, qwen3_moe.py),
transformers 4.57 and 5.23; the versions of formats research, section 5.3. None of it was run, but for
transformers.
"""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.positions.reading import RopeConfig
from tokengraft.positions.stretching import Stretch

# Model types whose classes in llama.cpp's converter write the tensors that a method needs.
_GGUF_LLAMA3 = frozenset(
    {
        *("llama", "llava", "mistral", "mixtral", "llama4", "llama4_text"),
        *("apertus", "arcee", "smollm3"),
    }
)
_GGUF_LONGROPE = frozenset({"phi3", "phimoe", "minicpm", "minicpm3"})
_GGUF_UNSCALED = frozenset({"gemma", "gemma2", "phi"})
_MLX_UNSCALED = frozenset({"qwen3_moe"})


def engine_lines(found: Stretch) -> Iterator[str]:
    """One sentence for each program that does not read what the files now say."""
    config = found.config
    assert config is not None
    if found.taken_away:
        return
    match found.wish.method:
        case "linear":
            yield from _linear(config, found)
        case "dynamic":
            yield from _dynamic()
        case "llama3":
            yield from _llama3(config)
        case "longrope":
            yield from _longrope(config, found)
        case _:
            pass
    if config.is_nested and not config.older:
        yield "transformers 4 knows no rope_parameters, so it reads none of this"
    if config.model_type in _GGUF_UNSCALED:
        yield f"llama.cpp's converter writes no scaling for {config.model_type} models"
    if config.model_type in _MLX_UNSCALED:
        yield f"mlx-lm's {config.model_type} ignores RoPE scaling"
    if config.in_force().get("truncate") is False and found.wish.method == "yarn":
        yield "llama.cpp and mlx-lm round YaRN's bounds, whatever `truncate` says"


def _linear(config: RopeConfig, found: Stretch) -> Iterator[str]:
    """llama.cpp multiplies nothing: b10621 re-adjusts its limit for YaRN alone (llama.cpp#28030)."""
    stated = found.settings.get(("config.json", config.length_pointer), config.length)
    if isinstance(stated, int) and stated < found.wish.length:
        yield (
            f"llama.cpp's server stops at {stated} tokens unless it is told --override-kv "
            f"ARCH.context_length=int:{found.wish.length}"
        )


def _dynamic() -> Iterator[str]:
    yield (
        "vLLM raises its limit and scales nothing: its dynamic scaling multiplies the base by "
        "factor - (factor - 1), which is 1"
    )
    yield "llama.cpp's converter leaves dynamic scaling out"
    yield "mlx-lm stops at dynamic scaling"


def _llama3(config: RopeConfig) -> Iterator[str]:
    if config.model_type not in _GGUF_LLAMA3:
        yield (
            f"llama.cpp's converter writes no llama3 scaling for {config.model_type} models, and says "
            "nothing"
        )


def _longrope(config: RopeConfig, found: Stretch) -> Iterator[str]:
    yield (
        f"vLLM serves {found.original[0]} tokens unless it is told --max-model-len "
        f"{found.wish.length}"
    )
    if config.model_type not in _GGUF_LONGROPE:
        yield f"llama.cpp's converter writes no lists of factors for {config.model_type} models"
    yield "mlx-lm divides by the long list in short texts too"
    yield (
        f"an answer that passes {found.original[0]} tokens changes lists on the way: what was read "
        "before keeps its positions in transformers and vLLM"
    )
