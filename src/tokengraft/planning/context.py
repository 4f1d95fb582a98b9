"""The context length: every field that speaks of it, set together.

Source: formats of rope_scaling as transformers 4.57/5.23, vLLM 0.33, SGLang 0.5.23 and llama.cpp's
converter read them; the table is in docs/explanation/context.md.
"""

from __future__ import annotations

from tokengraft.checkpoint import JsonValue
from tokengraft.families import context_of, trained_length
from tokengraft.planning.draft import Draft
from tokengraft.recipes import Context

# Engines multiply max_position_embeddings by the factor of these two, so it must keep its value.
KEEPS_LENGTH = ("linear", "dynamic")


def set_context(draft: Draft, context: Context) -> Draft:
    """Set RoPE scaling, the config's length and the tokenizer's length to one another."""
    checkpoint = draft.checkpoint
    if "config.json" not in checkpoint.json:
        return draft.with_problem("context", "the folder has no config.json")
    if not checkpoint.family.rope:
        return draft.with_problem(
            "context", f"{checkpoint.family.name} models have no rotary positions to scale"
        )
    length, _ = context_of(
        checkpoint.family, config=_config(draft), text_config=checkpoint.text_config
    )
    if length is None:
        return draft.with_problem("context", "config.json does not say its context length")
    original, source = _original(draft, context, length)
    factor = context.length / original
    if factor <= 1:
        return draft.with_problem(
            "context.length",
            f"{context.length} is within the {original} positions that were trained ({source})",
            f"a longer context begins above {original}",
        )
    if context.method == "longrope":
        return draft.with_problem(
            "context.method",
            "longrope needs one measured factor for each rotary frequency, which a recipe cannot "
            "give",
            'method = "yarn" needs none',
        )
    draft = _write_scaling(draft, context, original)
    return draft.with_note(
        f"context {length} -> {context.length} tokens: {context.method}, factor {factor:g} over "
        f"{original} trained positions ({source}). The scaling is static: it also changes texts "
        "shorter than that, usually a little for the worse. Quality at the new length is not "
        "proved by the configuration"
    )


def _config(draft: Draft) -> dict[str, JsonValue]:
    value = draft.checkpoint.value("config.json")
    assert isinstance(value, dict)
    return value


def _original(draft: Draft, context: Context, length: int) -> tuple[int, str]:
    """The length the model was trained at, and who says so."""
    if context.original is not None:
        return context.original, "the recipe"
    scaling = draft.checkpoint.config("/rope_scaling")
    if isinstance(scaling, dict):
        present = scaling.get("original_max_position_embeddings")
        if isinstance(present, int) and not isinstance(present, bool):
            return present, "the model's own rope_scaling"
    trained, source = trained_length(draft.checkpoint.family, length)
    if trained is not None:
        return trained, source
    return length, "config.json's max_position_embeddings; no better source is known"


def _write_scaling(draft: Draft, context: Context, original: int) -> Draft:
    checkpoint = draft.checkpoint
    prefix = checkpoint.text_config
    factor = context.length / original
    scaling: dict[str, JsonValue] = {"rope_type": context.method, "factor": factor}
    if context.method == "llama3":
        # The two bounds that every published llama3 scaling uses.
        scaling |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    if context.method not in KEEPS_LENGTH:
        scaling["original_max_position_embeddings"] = original
    parameters = checkpoint.config("/rope_parameters")
    if isinstance(parameters, dict):
        draft = _write_v5(draft, scaling, parameters)
    else:
        draft = draft.with_setting("config.json", f"{prefix}/rope_scaling", scaling)
    _, pointer = context_of(checkpoint.family, config=_config(draft), text_config=prefix)
    if context.method not in KEEPS_LENGTH and pointer is not None:
        draft = draft.with_setting("config.json", pointer, context.length)
    limit = checkpoint.value("tokenizer_config.json", "/model_max_length")
    if isinstance(limit, int | float) and not isinstance(limit, bool) and limit < context.length:
        draft = draft.with_setting("tokenizer_config.json", "/model_max_length", context.length)
    return draft


def _write_v5(
    draft: Draft, scaling: dict[str, JsonValue], parameters: dict[str, JsonValue]
) -> Draft:
    """Write the transformers 5 dialect where the file speaks it, and the other if it is there too."""
    prefix = draft.checkpoint.text_config
    if any(isinstance(value, dict) for value in parameters.values()):
        return draft.with_problem(
            "context",
            "this model scales positions by layer type (nested rope_parameters), which this "
            "version does not edit",
        )
    kept = {
        key: value
        for key, value in parameters.items()
        if key in ("rope_theta", "partial_rotary_factor", "mrope_section", "mrope_interleaved")
    }
    draft = draft.with_setting("config.json", f"{prefix}/rope_parameters", {**scaling, **kept})
    if draft.checkpoint.config("/rope_scaling") is not None:
        draft = draft.with_setting("config.json", f"{prefix}/rope_scaling", scaling)
    return draft
