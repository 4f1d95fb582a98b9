"""What config.json says about rotary positions, read as each program reads it.

There are two spellings: `rope_theta` and `rope_scaling`, which transformers 4 knows alone, and
`rope_parameters`, which transformers 5 writes. Where both are there, transformers 5 takes the older
one and llama.cpp's converter the newer one. Source: transformers 4.57.6 configuration files, 5.23.0
modeling_rope_utils.py (`convert_rope_params_to_dict`), llama.cpp conversion/base.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tokengraft.checkpoint import JsonValue
from tokengraft.families import context_of
from tokengraft.families.configs import value_at
from tokengraft.layout import Family
from tokengraft.positions.scaling import (
    Dynamic,
    Linear,
    Llama3,
    Longrope,
    Rotary,
    Scaling,
    Unscaled,
    Yarn,
)

Reader = Literal["transformers 4", "transformers 5", "llama.cpp"]
FULL, SLIDING = "full_attention", "sliding_attention"
_DEFAULT_THETA = 10_000.0  # of transformers' classes, where a family file says nothing else
_NAMES = {"su": "longrope", "mrope": "default"}

Json = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class RopeConfig:
    """The part of config.json that speaks of positions.

    Attributes:
        level: the language model's part of it.
        length: the context length that it names, or that the model's class takes for it.
        length_pointer: where the length stands, or would.
    """

    family: Family
    model_type: str
    level: Json
    length: int | None
    length_pointer: str

    @property
    def older(self) -> Json:
        """`rope_scaling`, empty where there is none."""
        return _object(self.level.get("rope_scaling"))

    @property
    def newer(self) -> Json:
        """`rope_parameters`, empty where there are none."""
        return _object(self.level.get("rope_parameters"))

    @property
    def is_nested(self) -> bool:
        """Whether the newer spelling has an entry for each kind of layer."""
        return any(isinstance(value, dict) for value in self.newer.values())

    def in_force(self) -> Json:
        """The scaling of the layers that see the whole text, as transformers 5 reads it."""
        newer = _object(self.newer.get(FULL)) if self.is_nested else self.newer
        return self.older or newer

    def default(self, key: str) -> float | None:
        """What the model's class takes where the config is silent; None where nobody says."""
        return self.family.rope_facts.defaults.get(self.model_type, {}).get(key)


@dataclass(frozen=True, slots=True)
class Reading:
    """Positions by kind of layer ("" where there is one kind), or why they are not known."""

    by_layer: Mapping[str, Rotary] = field(default_factory=dict)
    why_not: str = ""

    @property
    def full(self) -> Rotary | None:
        """Of the layers that see the whole text."""
        return self.by_layer.get(FULL, self.by_layer.get(""))


def rope_config(family: Family, config: Json, text_config: str) -> RopeConfig:
    """Find what config.json says of positions."""
    level = _object(value_at(config, text_config)) if text_config else config
    named = level.get("model_type") or config.get("model_type")
    model_type = named if isinstance(named, str) else ""
    length, pointer = context_of(family, config, text_config)
    if length is None:
        assumed = family.rope_facts.defaults.get(model_type, {}).get("length")
        length = round(assumed) if assumed else None
    return RopeConfig(
        family=family,
        model_type=model_type,
        level=level,
        length=length,
        length_pointer=pointer or text_config + family.length_keys[0],
    )


def kind_of(scaling: Json) -> str:
    """The method's name, older names put into today's."""
    named = str(scaling.get("rope_type") or scaling.get("type") or "default")
    return _NAMES.get(named, named)


def read(config: RopeConfig, reader: Reader = "transformers 5") -> Reading:
    """The positions of every kind of layer, as one program reads them."""
    try:
        return Reading({kind: _rotary(config, p, reader) for kind, p in _kinds(config, reader)})
    except _Unknown as unknown:
        return Reading(why_not=str(unknown))


class _Unknown(Exception):
    """A number is missing or is none; the text says which."""


def _kinds(config: RopeConfig, reader: Reader) -> list[tuple[str, Json]]:
    """For every kind of layer, the parameters that count for it, base frequency included."""
    older, newer = config.older, config.newer
    split = config.model_type in config.family.rope_facts.full_attention_only
    theta = _theta(config)
    local = config.level.get("rope_local_base_freq", config.default("local_theta")) or theta
    if reader == "transformers 4" or not newer:
        scaled = {
            **older,
            "rope_theta": theta if reader == "transformers 4" else _own(older, theta),
        }
        return [(FULL, scaled), (SLIDING, {"rope_theta": local})] if split else [("", scaled)]
    if not config.is_nested or (older and not split and reader == "transformers 5"):
        taken = newer if reader == "llama.cpp" or not older else older
        return [("", {**taken, "rope_theta": _own(taken, theta)})]
    entries = {kind: _object(value) for kind, value in newer.items() if isinstance(value, dict)}
    if older and reader == "transformers 5":
        entries[FULL] = {**entries.get(FULL, {}), **older}
    return [
        (kind, {**entry, "rope_theta": _own(entry, local if kind == SLIDING else theta)})
        for kind, entry in sorted(entries.items())
    ]


def _theta(config: RopeConfig) -> JsonValue:
    """The base frequency beside the parameters, or what the model's class takes."""
    beside = config.level.get(config.family.rope_facts.theta_key[1:])
    if beside is not None:
        return beside
    known = config.default("rope_theta")
    return _DEFAULT_THETA if known is None else known


def _own(parameters: Json, beside: JsonValue) -> JsonValue:
    return beside if parameters.get("rope_theta") is None else parameters["rope_theta"]


def _rotary(config: RopeConfig, parameters: Json, reader: Reader) -> Rotary:
    base = _number(parameters["rope_theta"], "the base frequency of its positions")
    if base <= 1:
        raise _Unknown("its base frequency is not above 1")
    dim = int(_head_dim(config) * _share(config, parameters))
    if dim < 4:  # noqa: PLR2004 - two pairs: with fewer, dynamic scaling divides by zero
        raise _Unknown("its heads have too few elements that turn")
    scaling = _scaling(config, parameters, reader)
    n_pairs = -(-dim // 2)
    if isinstance(scaling, Longrope) and {len(scaling.short), len(scaling.long)} != {n_pairs}:
        raise _Unknown(f"its lists of factors do not have {n_pairs} numbers each")
    return Rotary(base=base, dim=dim, scaling=scaling)


def _share(config: RopeConfig, parameters: Json) -> float:
    key = config.family.rope_facts.share_key[1:]
    share = parameters.get("partial_rotary_factor", config.level.get(key))
    share = config.default("share") if share is None else share
    return 1.0 if share is None else _number(share, "the share of a head that turns")


def _head_dim(config: RopeConfig) -> float:
    for key in ("qk_rope_head_dim", "head_dim"):
        if config.level.get(key) is not None:
            return _number(config.level[key], key)
    known = config.default("head_dim")
    if known is not None:
        return known
    size, heads = (config.level.get(key) for key in ("hidden_size", "num_attention_heads"))
    return _number(size, "hidden_size") // _number(heads, "num_attention_heads")


def _scaling(config: RopeConfig, parameters: Json, reader: Reader) -> Scaling:
    kind = kind_of(parameters)
    if kind == "default":
        return Unscaled()
    top = config.level.get("original_max_position_embeddings")
    original = _original(config, parameters, reader)
    factor = parameters.get("factor")
    if kind == "longrope" and (factor is None or (reader == "transformers 4" and top is not None)):
        factor = None if config.length is None else config.length / original
    by = _number(factor, "the factor of its scaling")
    if kind == "linear":
        return Linear(by)
    if kind == "dynamic":
        return Dynamic(by, _whole(config.length))
    if kind == "llama3":
        low, high = (_number(parameters.get(f"{end}_freq_factor"), end) for end in ("low", "high"))
        return Llama3(by, original, low, high)
    if kind == "longrope":
        short, long = (_numbers(parameters.get(f"{end}_factor")) for end in ("short", "long"))
        attention = _maybe(parameters, "attention_factor")
        return Longrope(by, original, short, long, attention=attention)
    if kind == "yarn":
        return Yarn(
            by,
            original,
            beta_fast=_maybe(parameters, "beta_fast") or 32.0,
            beta_slow=_maybe(parameters, "beta_slow") or 1.0,
            attention=_maybe(parameters, "attention_factor"),
            mscale=_maybe(parameters, "mscale"),
            mscale_all_dim=_maybe(parameters, "mscale_all_dim"),
            truncate=parameters.get("truncate", True) is not False,
        )
    raise _Unknown(f"its positions are scaled by {kind}, which is not computed here")


def _original(config: RopeConfig, parameters: Json, reader: Reader) -> int:
    """The length before scaling; who wins where two places name it differs between versions."""
    own = parameters.get("original_max_position_embeddings")
    top = config.level.get("original_max_position_embeddings")
    if reader == "transformers 4":
        own = top if kind_of(parameters) == "longrope" else own
    elif top is not None:
        own = top
    return _whole(config.length if own is None else own)


def _number(value: JsonValue | float, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e300:  # noqa: PLR2004 - finite
        raise _Unknown(f"config.json does not say {what}")
    return float(value)


def _maybe(parameters: Json, key: str) -> float | None:
    value = parameters.get(key)
    return None if value is None else _number(value, key)


def _numbers(value: JsonValue) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise _Unknown("config.json does not say the lists of factors")
    return tuple(_number(one, "a number in its lists of factors") for one in value)


def _whole(value: JsonValue) -> int:
    return round(_number(value, "the length before scaling"))


def _object(value: JsonValue) -> Json:
    return value if isinstance(value, dict) else {}
