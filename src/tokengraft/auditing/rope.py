"""C: RoPE scaling, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tokengraft.auditing.asking import CONFIG, context_length_of, rope_scaling_of, rope_type_of
from tokengraft.auditing.context import number_of
from tokengraft.auditing.rule import Found, listed, place, rule
from tokengraft.checkpoint import Checkpoint
from tokengraft.families import trained_length

_KNOWN = frozenset(
    {"default", "linear", "dynamic", "yarn", "longrope", "llama3", "proportional", "ntk"}
)
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "linear": ("factor",),
    "dynamic": ("factor",),
    "yarn": ("factor",),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "longrope": ("short_factor", "long_factor"),
}


@rule(
    "C105",
    severity="warning",
    title="the kind of RoPE scaling has a known name",
    bears_on=("inference", "context"),
)
def rope_type_is_unknown(checkpoint: Checkpoint) -> Iterator[Found]:
    """The name of the method decides how positions are computed.

    What it checks:
        `rope_type` (or `type`) of the scaling in force is one that transformers knows, and is there
        at all. Models with code of their own, and configs with one entry for each kind of layer, are
        left alone.

    Why it matters:
        transformers stops with a KeyError; other programs scale nothing, and say nothing.

    Example:
        {"rope_type": "yran", "factor": 4.0}

    Fix and its safety:
        `[context]` writes the whole entry; or correct the name by hand. No weight changes.

    Sources:
        transformers 4.57 and 5.23, modeling_rope_utils.py, ROPE_INIT_FUNCTIONS.
    """
    scaling, pointer = rope_scaling_of(checkpoint)
    nested = any(isinstance(value, dict) for value in scaling.values())
    if not scaling or nested or checkpoint.value(CONFIG, "/auto_map"):
        return
    named = scaling.get("rope_type", scaling.get("type"))
    if named is None and "factor" in scaling:
        text = "RoPE scaling has a factor and does not name its kind"
        yield Found(place(CONFIG, pointer), text, "programs then scale nothing, or stop")
    elif rope_type_of(scaling) not in _KNOWN:
        yield Found(place(CONFIG, pointer), f"RoPE scaling of the unknown kind {named!r:.40}")


@rule(
    "C106",
    severity="warning",
    title="RoPE scaling has the keys of its kind",
    bears_on=("inference", "context"),
)
def rope_keys_are_missing(checkpoint: Checkpoint) -> Iterator[Found]:
    """Each kind of scaling has numbers that it cannot do without.

    What it checks:
        linear, dynamic and yarn have `factor`; llama3 has its four keys; longrope has both lists of
        factors. YaRN's original length is C102's.

    Why it matters:
        transformers 5 stops, transformers 4 warns and goes on with wrong positions.

    Example:
        {"rope_type": "llama3", "factor": 8.0}

    Fix and its safety:
        `[context]` writes the whole entry, or copy the keys from the publisher's config. No weight
        changes.

    Sources:
        transformers 4.57 and 5.23, modeling_rope_utils.py, the validation functions.
    """
    scaling, pointer = rope_scaling_of(checkpoint)
    top = checkpoint.config("/original_max_position_embeddings")
    missing = [
        key
        for key in _NEEDED.get(rope_type_of(scaling), ())
        if scaling.get(key) is None and not (key.startswith("original") and top is not None)
    ]
    if missing:
        kind = rope_type_of(scaling)
        yield Found(place(CONFIG, pointer), f"RoPE scaling {kind} lacks {listed(missing)}")


@rule(
    "C107",
    severity="warning",
    title="the factor of RoPE scaling stretches",
    bears_on=("inference", "context"),
)
def factor_is_odd(checkpoint: Checkpoint) -> Iterator[Found]:
    """A factor says how many times longer texts may be.

    What it checks:
        `factor` is a number, not below 1. A whole number without a decimal point is a note:
        transformers 4 asks for 4.0 and warns about 4.

    Why it matters:
        Below 1 positions are squeezed together, which no model was trained for; a text as factor
        stops the load.

    Example:
        "factor": "4.0" or "factor": 0.25.

    Fix and its safety:
        `[context]` writes the factor; or correct it by hand. No weight changes.

    Sources:
        transformers 4.57, modeling_rope_utils.py, `_validate_yarn_parameters`.
    """
    scaling, pointer = rope_scaling_of(checkpoint)
    value = scaling.get("factor")
    if value is None:
        return
    number = number_of(value)
    if number is None or number < 1:
        yield Found(place(CONFIG, f"{pointer}/factor"), f"the factor is {value!r:.40}")
    elif isinstance(value, int):
        text = f"the factor is written {value}, transformers 4 asks for {value}.0"
        yield Found(place(CONFIG, f"{pointer}/factor"), text, severity="note")


@rule(
    "C108",
    severity="warning",
    title="the length before stretching is the shorter one",
    bears_on=("inference", "context"),
)
def original_is_too_long(checkpoint: Checkpoint) -> Iterator[Found]:
    """The original length is what was trained; the stretched one is longer.

    What it checks:
        For llama3 and longrope, `original_max_position_embeddings` is not above the context length.
        YaRN's two numbers are C101's.

    Why it matters:
        Programs derive the factor from both: it falls below 1, and positions come out wrong.

    Example:
        llama3 scaling with original length 131072 and max_position_embeddings 8192.

    Fix and its safety:
        Exchange the two by hand if they were swapped. No weight changes.

    Sources:
        transformers 4.57 and 5.23, modeling_rope_utils.py.
    """
    scaling, pointer = rope_scaling_of(checkpoint)
    original = number_of(scaling.get("original_max_position_embeddings"))
    length, _ = context_length_of(checkpoint)
    kind = rope_type_of(scaling)
    if (
        kind in ("llama3", "longrope")
        and original is not None
        and length is not None
        and original > length
    ):
        yield Found(
            place(CONFIG, f"{pointer}/original_max_position_embeddings"),
            f"the original length is {round(original):,}, the context only {length:,}",
        )


@rule(
    "C109",
    severity="warning",
    title="YaRN stretches what was trained, not what config.json counted",
    bears_on=("context",),
)
def yarn_counts_twice(checkpoint: Checkpoint) -> Iterator[Found]:
    """Some configs count room for the answer, or a stretch, into the context length already.

    What it checks:
        The original length that YaRN is given is not one that the family's file knows as larger than
        what was trained.

    Why it matters:
        The ramp between slow and fast waves starts at the wrong place: quality falls at all lengths.

    Example:
        Qwen3 with original length 40960; trained were 32768, the rest is room for the answer.

    Fix and its safety:
        Safe for the files: `[context]` takes the trained length.

    Sources:
        Qwen3 documentation, "Handling Long Texts": original_max_position_embeddings 32768.
    """
    scaling, pointer = rope_scaling_of(checkpoint)
    original = number_of(scaling.get("original_max_position_embeddings"))
    if rope_type_of(scaling) != "yarn" or original is None:
        return
    trained, source = trained_length(checkpoint.family, round(original))
    if trained is not None and trained < original:
        yield Found(
            place(CONFIG, f"{pointer}/original_max_position_embeddings"),
            f"YaRN starts from {round(original):,} positions, {trained:,} were trained",
            source,
        )


@rule("C110", severity="note", title="a sliding window is shorter than the context")
def window_has_no_effect(checkpoint: Checkpoint) -> Iterator[Found]:
    """A window limits how far back attention looks.

    What it checks:
        A sliding window that is switched on is a positive number, not above the context length.

    Why it matters:
        A window longer than the context never takes effect; it may be the trained length of another
        version, or a swapped number.

    Example:
        "use_sliding_window": true, "sliding_window": 131072 with 32,768 positions.

    Fix and its safety:
        Display only: compare the publisher's config.

    Sources:
        transformers 4.57, configuration_qwen2.py; vLLM 0.33 config/model.py.
    """
    window = number_of(checkpoint.config("/sliding_window"))
    length, _ = context_length_of(checkpoint)
    if window is None or length is None or checkpoint.config("/use_sliding_window") is False:
        return
    if window <= 0 or window > length:
        yield Found(
            place(CONFIG, f"{checkpoint.text_config}/sliding_window"),
            f"the sliding window is {round(window):,}, the context {length:,}",
            safety="display-only",
        )
