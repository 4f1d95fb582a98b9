"""C: how long a text may be. config.json decides; other files repeat it, and get it wrong."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.auditing.asking import (
    CONFIG,
    GENERATION,
    TOKENIZER_CONFIG,
    context_length_of,
    object_of,
    rope_scaling_of,
    rope_type_of,
)
from tokengraft.auditing.rule import Found, listed, place, rule
from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.findings import Fix

_UNLIMITED = 10**15  # transformers writes 10^30 where no limit is known
# RoBERTa keeps two positions for itself: 512 tokens of 514 positions.
_RESERVED_POSITIONS = 2


def number_of(value: JsonValue) -> float | None:
    """A finite number, None for anything else (Python's JSON reader knows NaN and Infinity)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 10**300 else None


@rule(
    "C101",
    severity="warning",
    title="the context length is the one that YaRN is set to",
    bears_on=("inference", "context"),
)
def yarn_length_differs(checkpoint: Checkpoint) -> Iterator[Found]:
    """YaRN stretches the positions a model was trained on; the config says how far, in two places.

    What it checks:
        Where RoPE scaling of type `yarn` names both `factor` and
        `original_max_position_embeddings`, their product is the context length of config.json.
        Other types are not compared: what their numbers mean differs between models.

    Why it matters:
        If the length is smaller, servers stop there and the stretch costs quality for nothing. If
        it is larger, positions past the stretch are ones that the model never saw.

    Example:
        Qwen3 with factor 4 and original length 32768, and max_position_embeddings left at 40960:
        vLLM serves 40960 tokens, not 131072.

    Fix and its safety:
        `[context]` with that length writes all keys together. Safe for the files; YaRN itself
        lowers quality on short texts a little.

    Sources:
        vLLM#56446, transformers#38224, Qwen3 documentation on long texts.
    """
    scaling, pointer = rope_scaling_of(checkpoint)
    length, length_pointer = context_length_of(checkpoint)
    factor = number_of(scaling.get("factor"))
    original = number_of(scaling.get("original_max_position_embeddings"))
    if rope_type_of(scaling) != "yarn" or not factor or not original or length is None:
        return
    reach = round(factor * original)
    if reach != length:
        settings: dict[str, str | int | bool] = {"length": reach, "method": "yarn"}
        yield Found(
            place(CONFIG, length_pointer),
            f"the context length is {length:,}, YaRN reaches {reach:,} "
            f"({factor:g} × {round(original):,})",
            f"{pointer} sets YaRN; servers take the length from {length_pointer}",
            fix=Fix(operation="context", settings={**settings, "original": round(original)}),
            safety="safe",
        )


@rule(
    "C102",
    severity="warning",
    title="YaRN names the length that was trained",
    bears_on=("inference", "context"),
)
def yarn_without_original(checkpoint: Checkpoint) -> Iterator[Found]:
    """YaRN treats slow and fast waves differently; which is which depends on the trained length.

    What it checks:
        RoPE scaling of type `yarn` has the key `original_max_position_embeddings`.

    Why it matters:
        Without it, programs take the context length of config.json for the trained one. Where that
        was raised already, the positions come out wrong, in silence.

    Example:
        {"rope_type": "yarn", "factor": 4.0} beside max_position_embeddings 131072.

    Fix and its safety:
        `[context]` writes the key; the trained length has to be right, so look it up in the model's
        own documentation.

    Sources:
        transformers 4.57 and 5.23, modeling_rope_utils.py, measured; sglang#2943, vllm#10293.
    """
    scaling, pointer = rope_scaling_of(checkpoint)
    top = checkpoint.config("/original_max_position_embeddings")
    own = scaling.get("original_max_position_embeddings")
    if rope_type_of(scaling) == "yarn" and own is None and top is None:
        yield Found(
            place(CONFIG, pointer),
            "YaRN does not name the length that the model was trained on",
            f"programs then take {context_length_of(checkpoint)[0]} for it",
        )


@rule(
    "C103",
    severity="error",
    title="the two spellings of RoPE in config.json agree",
    bears_on=("inference", "context", "lora"),
)
def rope_dialects_disagree(checkpoint: Checkpoint) -> Iterator[Found]:
    """Positions have an older spelling (rope_theta, rope_scaling) and a newer (rope_parameters).

    What it checks:
        Where both are there, base frequency, type, factor and original length are the same; and
        `type` and `rope_type` inside one of them name the same method.

    Why it matters:
        transformers 4 reads the older one only, transformers 5 prefers it, llama.cpp prefers the
        newer one. If they differ, each program places the words of a text differently, and no
        program says so.

    Example:
        "rope_scaling": null beside "rope_parameters": {"rope_type": "yarn", "factor": 4.0, ...}:
        the long context exists in transformers 5 and not in 4.

    Fix and its safety:
        None here: which of the two the model was trained with is not in the files. Ask the
        publisher, then correct the other by hand.

    Sources:
        transformers 5.23 modeling_rope_utils.py, llama.cpp conversion/base.py; vllm#28542.
    """
    for base in dict.fromkeys((checkpoint.text_config, "")):
        config = object_of(checkpoint, CONFIG, base)
        new = config.get("rope_parameters")
        old = config.get("rope_scaling")
        told: list[str] = []
        for key, value in (("rope_scaling", old), ("rope_parameters", new)):
            told += _inner_conflict(key, value)
        if isinstance(new, dict) and not any(isinstance(value, dict) for value in new.values()):
            told += _outer_conflict(config, new)
        if told:
            yield Found(
                place(
                    CONFIG,
                    f"{base}/{'rope_parameters' if isinstance(new, dict) else 'rope_scaling'}",
                ),
                "config.json says two different things about RoPE positions",
                listed(told),
            )


def _inner_conflict(key: str, value: JsonValue) -> list[str]:
    if not isinstance(value, dict) or not value.get("type") or not value.get("rope_type"):
        return []
    names = [rope_type_of({"type": value[name]}) for name in ("type", "rope_type")]
    return [f"{key} has type {names[0]} and rope_type {names[1]}"] if names[0] != names[1] else []


def _outer_conflict(config: dict[str, JsonValue], new: dict[str, JsonValue]) -> list[str]:
    told: list[str] = []
    theta, new_theta = number_of(config.get("rope_theta")), number_of(new.get("rope_theta"))
    if theta is not None and new_theta is not None and theta != new_theta:
        told.append(f"rope_theta is {theta:g}, in rope_parameters {new_theta:g}")
    if "rope_scaling" not in config:
        return told
    old = config["rope_scaling"]
    old = old if isinstance(old, dict) else {}
    types = rope_type_of(old), rope_type_of(new)
    if types[0] != types[1]:
        told.append(f"rope_scaling scales by {types[0]}, rope_parameters by {types[1]}")
    for key in ("factor", "original_max_position_embeddings"):
        here, there = number_of(old.get(key)), number_of(new.get(key))
        if here is not None and there is not None and here != there:
            told.append(f"{key} is {here:g} in rope_scaling, {there:g} in rope_parameters")
    return told


@rule(
    "C104",
    severity="note",
    title="config.json spells RoPE so that older programs can read it",
    bears_on=("context",),
)
def rope_in_new_spelling_only(checkpoint: Checkpoint) -> Iterator[Found]:
    """Only transformers 5 knows rope_parameters; it writes them alone.

    What it checks:
        Where `rope_parameters` has a base frequency other than 10000 or scales positions, the older
        `rope_theta` is there too.

    Why it matters:
        transformers 4 takes the frequency 10000 and no scaling instead, and says nothing. The model
        loads and writes nonsense.

    Example:
        Qwen3 saved by transformers 5: "rope_parameters": {"rope_theta": 1000000.0, ...} and no
        rope_theta at the top level.

    Fix and its safety:
        Safe. Every plan first writes rope_theta, and rope_scaling if positions are scaled, beside it
        with the same values: newer versions accept both spellings where they agree. Where each layer
        type has parameters of its own, there is no older spelling, and nothing is written.

    Sources:
        transformers 4.57 and 5.23, measured.
    """
    for base in dict.fromkeys((checkpoint.text_config, "")):
        config = object_of(checkpoint, CONFIG, base)
        new = config.get("rope_parameters")
        if not isinstance(new, dict) or "rope_theta" in config or config.get("rope_scaling"):
            continue
        theta = number_of(new.get("rope_theta"))
        is_nested = any(isinstance(value, dict) for value in new.values())
        if rope_type_of(new) != "default" or (theta is not None and theta != 10_000):  # noqa: PLR2004  transformers' default
            yield Found(
                place(CONFIG, f"{base}/rope_parameters"),
                "RoPE is in the spelling of transformers 5 alone",
                "transformers 4 would use the base frequency 10000 without scaling, silently",
                fix=None if is_nested else Fix(operation="reconcile"),
                safety=None if is_nested else "safe",
            )


@rule(
    "C201",
    severity="warning",
    title="the tokenizer's model_max_length is the context length of config.json",
    bears_on=("context",),
)
def max_length_differs(checkpoint: Checkpoint) -> Iterator[Found]:
    """model_max_length is a number in the tokenizer's file; the model itself never reads it.

    What it checks:
        `model_max_length` in tokenizer_config.json is not smaller than the context length of
        config.json (a warning), and not larger (a note).

    Why it matters:
        Smaller: programs that cut texts to the tokenizer's limit throw away what the model could
        read. Larger: it promises a length that the model does not have; changing this number
        does not lengthen anything.

    Example:
        Qwen3-30B-A3B: model_max_length 131072, max_position_embeddings 40960.

    Fix and its safety:
        `[context]` writes both together. To lower or raise this number alone, edit it by hand: it
        is decoration.

    Sources:
        transformers 4.57 and 5.23; vLLM 0.33 config/model.py reads it for pooling models only.
    """
    limit = number_of(checkpoint.value(TOKENIZER_CONFIG, "/model_max_length"))
    length, pointer = context_length_of(checkpoint)
    if limit is None or length is None or limit >= _UNLIMITED or limit == length:
        return
    scaling, _ = rope_scaling_of(checkpoint)
    if limit == length * (number_of(scaling.get("factor")) or 1):
        return  # linear and dynamic scaling leave the config's length as it was
    if limit < length - _RESERVED_POSITIONS:
        yield Found(
            place(TOKENIZER_CONFIG, "/model_max_length"),
            f"model_max_length is {round(limit):,}, config.json has {length:,}",
            f"texts cut to the tokenizer's limit lose what {pointer} allows",
        )
    elif limit > length:
        yield Found(
            place(TOKENIZER_CONFIG, "/model_max_length"),
            f"model_max_length is {round(limit):,}, config.json has {length:,}",
            f"the model's length is {pointer} in config.json; this number changes nothing in it",
            severity="note",
            safety="display-only",
        )


@rule(
    "C202",
    severity="note",
    title="generation_config.json sets no limit on the length of answers",
)
def answers_are_capped(checkpoint: Checkpoint) -> Iterator[Found]:
    """A default of a demonstration can become the limit of a server.

    What it checks:
        generation_config.json has no `max_new_tokens`.

    Why it matters:
        vLLM takes this number as the largest answer that any request may ask for. Long thoughts and
        long answers are cut there.

    Example:
        Qwen3-30B-A3B-Base: "max_new_tokens": 2048.

    Fix and its safety:
        Display only. Take the key out by hand, or start vLLM with `--generation-config vllm`.

    Sources:
        vLLM 0.33 config/model.py, `get_diff_sampling_param`.
    """
    value = checkpoint.value(GENERATION, "/max_new_tokens")
    if isinstance(value, int) and not isinstance(value, bool):
        yield Found(
            place(GENERATION, "/max_new_tokens"),
            f"max_new_tokens is {value:,}, which vLLM takes as the limit of every answer",
            safety="display-only",
        )
