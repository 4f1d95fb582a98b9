"""C: numbers of config.json and generation_config.json that must fit each other."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.auditing.asking import (
    CONFIG,
    GENERATION,
    config_levels,
    context_length_of,
    object_of,
)
from tokengraft.auditing.context import number_of
from tokengraft.auditing.rule import Found, listed, place, rule
from tokengraft.auditing.tokens import EVERY_CHANGE
from tokengraft.checkpoint import Checkpoint, JsonValue

_COUNTS = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("num_key_value_heads", "head_dim", "max_position_embeddings", "num_experts"),
)
_FLAGS = ("use_cache", "attention_bias", "mlp_bias", "norm_topk_prob", "use_sliding_window")
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "typical_p")
_PLAIN = {"temperature": 1.0, "top_p": 1.0, "top_k": 50, "min_p": 0.0, "typical_p": 1.0}


@rule(
    "C301",
    severity="error",
    title="the sizes of config.json are numbers that fit",
    bears_on=("inference", *EVERY_CHANGE),
)
def sizes_do_not_fit(checkpoint: Checkpoint) -> Iterator[Found]:
    """A model is built from the numbers of config.json before a weight is read.

    What it checks:
        Sizes and counts are whole positive numbers, flags are true or false, the base frequency of RoPE is a
        number; key-value heads divide the heads; there is a model type. A key that is missing or null is not looked at.

    Why it matters:
        Loaders stop with an error about types or shapes. transformers 5 checks each value as it reads
        the file, also where only the tokenizer is wanted.

    Example:
        "num_key_value_heads": 5 with 32 heads.

    Fix and its safety:
        None here: take config.json from its publisher again.

    Sources:
        transformers 5.23, configuration_utils.py: configs are checked dataclasses.
    """
    for base, config in config_levels(checkpoint):
        told = [
            *(f"{key} is {config[key]!r:.40}" for key in _COUNTS if not _is_count(config.get(key))),
            *(
                f"{k} is {config[k]!r:.40}"
                for k in _FLAGS
                if not isinstance(config.get(k), bool | None)
            ),
        ]
        theta = config.get("rope_theta")
        if theta is not None and (number_of(theta) or 0) <= 0:
            told.append(f"rope_theta is {theta!r:.40}")
        heads, kv = config.get("num_attention_heads"), config.get("num_key_value_heads")
        if not told and isinstance(heads, int) and isinstance(kv, int) and heads % kv:
            told.append(f"{heads} heads cannot share {kv} key-value heads")
        if config and not base and not isinstance(config.get("model_type"), str):
            told.append("there is no model_type")
        if told:
            yield Found(place(CONFIG, base), f"config.json does not fit: {told[0]}", listed(told))


def _is_count(value: JsonValue) -> bool:
    if isinstance(value, list):  # some families give one number a layer
        return True
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0)


@rule("C302", severity="note", title="config.json names one kind of number")
def dtypes_differ(checkpoint: Checkpoint) -> Iterator[Found]:
    """The precision of the weights has an older key, torch_dtype, and a newer one, dtype.

    What it checks:
        Where both are there, they are the same.

    Why it matters:
        Older programs load the model in one precision, newer ones in the other: twice the memory, or
        other results.

    Example:
        "torch_dtype": "bfloat16" beside "dtype": "float32".

    Fix and its safety:
        Make both say what the weights have, by hand. No weight changes.

    Sources:
        transformers 4.56 and later, configuration_utils.py.
    """
    for base, config in config_levels(checkpoint):
        older, newer = config.get("torch_dtype"), config.get("dtype")
        if older is not None and newer is not None and older != newer:
            text = f"torch_dtype is {older!r:.40}, dtype {newer!r:.40}"
            yield Found(place(CONFIG, f"{base}/dtype"), text)


@rule("C203", severity="note", title="sampling settings are used")
def sampling_is_off(checkpoint: Checkpoint) -> Iterator[Found]:
    """Temperature and its kin do something only where answers are sampled.

    What it checks:
        Where generation_config.json says `do_sample: false`, it sets no temperature, top_p, top_k or
        the like to anything but transformers' default.

    Why it matters:
        transformers ignores the numbers and warns, and refuses to save such a file; vLLM uses them.
        The same model answers differently in both.

    Example:
        {"do_sample": false, "temperature": 0.6}

    Fix and its safety:
        Display only: set do_sample to true, or take the numbers out, by hand.

    Sources:
        transformers 4.57, `GenerationConfig.validate`.
    """
    config = object_of(checkpoint, GENERATION)
    unused = [
        f"{key} {config[key]}"
        for key in _SAMPLING
        if config.get("do_sample") is False and config.get(key) not in (None, _PLAIN[key])
    ]
    if unused:
        yield Found(
            place(GENERATION, "/do_sample"),
            f"do_sample is false, and {listed(unused)} {'is' if len(unused) == 1 else 'are'} set",
            safety="display-only",
        )


@rule("C204", severity="note", title="default lengths fit into the context")
def lengths_exceed_context(checkpoint: Checkpoint) -> Iterator[Found]:
    """generation_config.json may promise longer texts than the model can hold.

    What it checks:
        `max_length` is not larger than the context length of config.json.

    Why it matters:
        Generation runs past the last trained position, where models write noise, or stops with an
        error.

    Example:
        "max_length": 131072 with 32,768 positions.

    Fix and its safety:
        Display only: lower the number by hand, or raise the context with `[context]`.

    Sources:
        transformers 4.57, generation/utils.py; QwenLM/Qwen3#927.
    """
    limit = number_of(checkpoint.value(GENERATION, "/max_length"))
    length, _ = context_length_of(checkpoint)
    if limit is not None and length is not None and limit > length:
        yield Found(
            place(GENERATION, "/max_length"),
            f"max_length is {round(limit):,}, the context {length:,}",
            safety="display-only",
        )
