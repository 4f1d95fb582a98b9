"""State every key that gives a model another context length, and what that does to its positions.

Source: keys and engines as in docs/explanation/context.md; transformers 4.57.6 and 5.23.0.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeGuard

from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.documents import Problem
from tokengraft.families import trained_length
from tokengraft.positions.methods import METHODS, method_keys
from tokengraft.positions.reading import FULL, Reading, RopeConfig, kind_of, read, rope_config
from tokengraft.positions.scaling import Dynamic, Linear, Llama3, Longrope, Yarn
from tokengraft.positions.spelling import rope_keys
from tokengraft.recipes import Context

CONFIG, TOKENIZER, GENERATION = "config.json", "tokenizer_config.json", "generation_config.json"
# Engines multiply the config's length by the factor of these two, so it must name the original one.
KEEPS_LENGTH = ("linear", "dynamic")
# Keys of config.json by which one program or another takes the context length; vLLM takes the least.
_LENGTHS = (
    *("max_position_embeddings", "n_positions", "n_ctx", "seq_length", "seq_len"),
    *("max_seq_len", "max_seq_length", "max_sequence_length", "model_max_length"),
)
_GGUF_ORIGINAL = 8192  # llama.cpp's converter takes it for llama3 where the top level names none
_STATES_HEAD_DIM = ("dynamic", "yarn", "longrope")
USUAL_FACTOR = 4  # what Qwen and others validated with YaRN

Place = tuple[str, str]  # file, JSON pointer


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a wish for another length comes to.

    Attributes:
        settings: values that shall hold, by place; only those that are not there yet.
        problems: why it cannot be; then there are no settings.
        config: config.json's positions as they are; None where there is no such file.
        original: the length that was trained, or stands for it, and who says so.
        before, after: positions as transformers 5 reads them.
        taken_away: whether the scaling in force is taken away, and nothing scaled.
    """

    wish: Context
    settings: Mapping[Place, JsonValue] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    config: RopeConfig | None = None
    original: tuple[int, str] = (0, "")
    before: Reading = field(default_factory=Reading)
    after: Reading = field(default_factory=Reading)
    taken_away: bool = False

    @property
    def factor(self) -> float:
        return self.wish.length / self.original[0]


def config_of(checkpoint: Checkpoint) -> RopeConfig | None:
    """What config.json says of positions, None where there is no such file."""
    config = checkpoint.value(CONFIG)
    if not isinstance(config, dict):
        return None
    return rope_config(checkpoint.family, config, checkpoint.text_config)


def usual(checkpoint: Checkpoint) -> Context | None:
    """The stretch that one would try first, None where positions are scaled or no length is known."""
    config = config_of(checkpoint)
    if config is None or config.length is None or kind_of(config.in_force()) != "default":
        return None
    original, _ = _original(checkpoint, config, None)
    known = config.family.rope_facts.methods.get(config.model_type, METHODS)
    method = "yarn" if "yarn" in known or not known else known[0]
    return Context.model_validate({"length": original * USUAL_FACTOR, "method": method})


def stretch(checkpoint: Checkpoint, wish: Context) -> Stretch:
    """State what the files must say for this length, or why they cannot."""
    config = config_of(checkpoint)
    found = Stretch(wish, config=config)
    if config is None:
        hint = "put it beside tokenizer.json: positions are described there and nowhere else"
        return _refused(found, "context", "the folder has no config.json", hint)
    why = _why_not(config)
    if why:
        return _refused(found, "context", why)
    assert config.length is not None
    found = replace(found, original=_original(checkpoint, config, wish), before=read(config))
    refused = _refusal(config, found)
    if refused is not None:
        return replace(found, problems=(refused,))
    taken_away = wish.length == found.original[0]
    method: dict[str, JsonValue] = {"rope_type": "default"}
    if not taken_away:
        made = method_keys(config, wish, found.original[0])
        if isinstance(made, Problem):
            return replace(found, problems=(made,))
        method = made
    settings = dict(_settings(checkpoint, config, found, method))
    found = replace(found, settings=settings, taken_away=taken_away)
    return replace(found, after=read(_after(checkpoint, settings)))


def _refused(found: Stretch, where: str, what: str, suggestion: str = "") -> Stretch:
    return replace(found, problems=(Problem(where=where, what=what, suggestion=suggestion),))


def _why_not(config: RopeConfig) -> str:
    """Why no setting lengthens this model's context; "" if one may."""
    family, known = config.family, config.family.rope_facts.methods.get(config.model_type)
    if not family.rope or config.level.get("alibi") is True:
        return f"{family.name} models have no rotary positions to scale"
    if known == ():
        return f"the classes of {config.model_type} models read no scaling of positions from config.json"
    if config.length is None:
        return "config.json does not say its context length"
    if config.is_nested and not isinstance(config.newer.get(FULL), dict):
        kinds = ", ".join(sorted(k for k, v in config.newer.items() if isinstance(v, dict)))
        return (
            f"its kinds of layers are called {kinds}, and it is not known which of them see the "
            "whole text"
        )
    kind = kind_of(config.in_force())
    if kind not in ("default", *METHODS):
        return f"its positions are scaled by {kind}, which no method of a recipe replaces"
    return ""


def _original(checkpoint: Checkpoint, config: RopeConfig, wish: Context | None) -> tuple[int, str]:
    """The length the model was trained at before any scaling, and who says so."""
    assert config.length is not None
    if wish is not None and wish.original is not None:
        return wish.original, "the recipe"
    in_force = config.in_force()
    places = {"the model's own rope_scaling": in_force, "the model's own config": config.level}
    for source, place in places.items():
        present = place.get("original_max_position_embeddings")
        if kind_of(in_force) != "default" and type(present) is int and present > 0:
            return present, source
    trained, source = trained_length(checkpoint.family, config.length)
    if trained is not None:
        return trained, source
    factor = in_force.get("factor")
    if kind_of(in_force) == "linear" and _names_scaled_length(config) and _is_factor(factor):
        return round(config.length / factor), "config.json's length, divided by its factor"
    return config.length, "config.json's max_position_embeddings; no better source is known"


def _refusal(config: RopeConfig, found: Stretch) -> Problem | None:
    """Why this length cannot be had from these positions."""
    length, (original, source) = found.wish.length, found.original
    kind = kind_of(config.in_force())
    trained = (kind, config.length) in config.family.rope_facts.trained_scaling
    if trained and found.wish.original is None:
        return Problem(
            where="context.original",
            what=f"models of this family were trained with {kind} scaling up to {config.length} "
            "tokens, so that other positions are not what their weights know",
            suggestion=f"original = {original} restates the scaling from there all the same",
        )
    if length < original or (length == original and kind == "default"):
        within = f"{length} is within the {original} positions that were trained ({source})"
        if kind == "default":
            hint = f"a longer context begins above {original}"
        else:
            hint = (
                f"length = {original} takes the {kind} scaling away; a shorter limit is a server's"
            )
        return Problem(where="context.length", what=within, suggestion=hint)
    if length == original:
        return None
    known = config.family.rope_facts.methods.get(config.model_type, METHODS)
    if found.wish.method not in known:
        return Problem(
            where="context.method",
            what=f"the classes of {config.model_type} models do not read {found.wish.method}",
            suggestion=f'method = "{known[0]}"'
            if len(known) == 1
            else f"they read {', '.join(known)}",
        )
    return None


def _settings(
    checkpoint: Checkpoint, config: RopeConfig, found: Stretch, method: Mapping[str, JsonValue]
) -> Iterator[tuple[Place, JsonValue]]:
    """Every value that shall hold and does not yet."""
    wanted: dict[Place, JsonValue] = {}
    for prefix, level in _levels(checkpoint, config):
        for pointer, value in rope_keys(level, method):
            wanted[CONFIG, prefix + pointer] = value
    wanted |= _beside(checkpoint, config, found)
    wanted |= _lengths(checkpoint, config, found)
    for (file, pointer), value in wanted.items():
        # As text, so that 4 and 4.0 differ: transformers 4 wants a factor with a point.
        if json.dumps(checkpoint.value(file, pointer)) != json.dumps(value):
            yield (file, pointer), value


def _levels(checkpoint: Checkpoint, config: RopeConfig) -> Iterator[tuple[str, RopeConfig]]:
    """The language model's config, and the top of the file where that repeats its positions."""
    yield checkpoint.text_config, config
    whole = checkpoint.value(CONFIG)
    if checkpoint.text_config and isinstance(whole, dict):
        top = rope_config(checkpoint.family, whole, "")
        if top.older or top.newer:
            yield "", top


def _beside(checkpoint: Checkpoint, config: RopeConfig, found: Stretch) -> dict[Place, JsonValue]:
    """Keys beside the scaling by which one program or another reads it."""
    prefix, wish, original = checkpoint.text_config, found.wish, found.original[0]
    is_scaled = wish.length != original
    wanted: dict[Place, JsonValue] = {}
    key = "original_max_position_embeddings"
    needed = wish.method == "longrope" or (wish.method == "llama3" and original != _GGUF_ORIGINAL)
    if config.level.get(key) is not None or (needed and is_scaled):
        wanted[CONFIG, f"{prefix}/{key}"] = original
    facts = config.family.rope_facts
    lacks = config.level.get("head_dim") is None and (
        "head_dim" in config.level or config.model_type in facts.states_head_dim
    )
    if lacks and is_scaled and wish.method in _STATES_HEAD_DIM:
        size, heads = (config.level.get(k) for k in ("hidden_size", "num_attention_heads"))
        if isinstance(size, int) and isinstance(heads, int) and heads:
            wanted[CONFIG, f"{prefix}/head_dim"] = size // heads
    return wanted


def _lengths(checkpoint: Checkpoint, config: RopeConfig, found: Stretch) -> dict[Place, JsonValue]:
    """Every place that names the context length, or would cut what it allows."""
    length, original = found.wish.length, found.original[0]
    old = config.length or 0
    reach = reach_of(config)
    states_original = found.wish.method in KEEPS_LENGTH and not _names_scaled_length(config)
    stated = original if states_original else length
    wanted: dict[Place, JsonValue] = {(CONFIG, config.length_pointer): stated}
    for base in dict.fromkeys((checkpoint.text_config, "")):
        for key in _LENGTHS:
            value = checkpoint.value(CONFIG, f"{base}/{key}")
            if type(value) is int and (value == old or value < stated):
                wanted[CONFIG, f"{base}/{key}"] = stated
    limit = checkpoint.value(TOKENIZER, "/model_max_length")
    if type(limit) in (int, float) and (limit < length or limit in (old, reach)):  # type: ignore[operator]
        wanted[TOKENIZER, "/model_max_length"] = length
    pinned = checkpoint.value(GENERATION, "/max_length")
    if type(pinned) is int and pinned in (old, reach, original):
        wanted[GENERATION, "/max_length"] = length
    return wanted


def reach_of(config: RopeConfig) -> int:
    """The length that the config stands for: linear and dynamic scaling name the original one."""
    in_force, length = config.in_force(), config.length or 0
    factor = in_force.get("factor")
    if kind_of(in_force) not in KEEPS_LENGTH or _names_scaled_length(config):
        return length
    return round(length * factor) if _is_factor(factor) else length


def start_of(config: RopeConfig) -> int:
    """The length that the scaling in force starts from; the whole reach where nothing is scaled."""
    rotary, reach = read(config).full, reach_of(config)
    match None if rotary is None else rotary.scaling:
        case Linear(factor=factor):
            return round(reach / factor)
        case Dynamic(original=original) | Yarn(original=original):
            return original
        case Llama3(original=original) | Longrope(original=original):
            return original
        case _:
            return reach


def _names_scaled_length(config: RopeConfig) -> bool:
    return config.model_type in config.family.rope_facts.length_is_scaled


def _is_factor(value: JsonValue) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value < math.inf


def _after(checkpoint: Checkpoint, settings: Mapping[Place, JsonValue]) -> RopeConfig:
    """config.json's positions as they will be."""
    config = copy.deepcopy(checkpoint.value(CONFIG))
    assert isinstance(config, dict)
    for (file, pointer), value in settings.items():
        if file != CONFIG:
            continue
        *parents, last = pointer.split("/")[1:]
        level: JsonValue = config
        for key in parents:
            assert isinstance(level, dict)
            level = level[key]
        assert isinstance(level, dict)
        level[last] = value
    return rope_config(checkpoint.family, config, checkpoint.text_config)
