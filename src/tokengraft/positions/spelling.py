"""Write the parameters of positions so that every program reads the same.

Source: docs/decisions/0007-portable-output.md; which keys a model type wants, its family file says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tokengraft.checkpoint import JsonValue
from tokengraft.positions.reading import FULL, RopeConfig

# Keys that belong to a method of scaling; whatever else stands beside them says how heads are laid
# out (mrope_section, partial_rotary_factor …) and outlives a change of the method.
OF_METHODS = frozenset(
    {
        *("rope_type", "type", "factor", "original_max_position_embeddings"),
        *("attention_factor", "attn_factor", "extrapolation_factor", "finetuned"),
        *("beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"),
        *("low_freq_factor", "high_freq_factor"),
        *("short_factor", "long_factor", "short_mscale", "long_mscale"),
    }
)
DEFAULT_THETA = 10_000  # what transformers 4 takes where it finds no base frequency

Json = Mapping[str, JsonValue]


def rope_keys(config: RopeConfig, method: Json) -> Iterator[tuple[str, JsonValue]]:
    """The keys of the language model's config that state a method, as pointers with values.

    Args:
        method: `rope_type` and the method's own numbers; `{"rope_type": "default"}` takes scaling away.
    """
    older, newer = config.level.get("rope_scaling"), config.newer
    if config.is_nested:
        entry = newer.get(FULL)
        kept = _layout(entry if isinstance(entry, dict) else {})
        yield f"/rope_parameters/{FULL}", {**method, **kept}
        if older:
            yield "/rope_scaling", _older(config, method, config.older)
        return
    if newer:
        yield "/rope_parameters", {**method, **_layout(newer)}
        yield from older_spelling(config, {**method, **_layout(newer)})
        return
    yield "/rope_scaling", _older(config, method, config.older)


def older_spelling(config: RopeConfig, parameters: Json) -> Iterator[tuple[str, JsonValue]]:
    """What transformers 4 must find beside `rope_parameters` to read the same from them."""
    facts = config.family.rope_facts
    theta = parameters.get("rope_theta")
    if theta is not None and config.level.get(facts.theta_key[1:]) is None:
        yield facts.theta_key, theta
    share = parameters.get("partial_rotary_factor")
    if share is not None and config.level.get(facts.share_key[1:]) is None:
        yield facts.share_key, share
    inner = ("rope_theta", "partial_rotary_factor")
    beside = config.older or {k: v for k, v in _layout(parameters).items() if k not in inner}
    method = {key: value for key, value in parameters.items() if key in OF_METHODS}
    yield "/rope_scaling", _older(config, method, beside)


def lacks_older_spelling(config: RopeConfig) -> bool:
    """Whether transformers 4 would read other positions from this config than version 5, silently."""
    newer = config.newer
    if not newer or config.is_nested or config.older:
        return False
    if config.level.get(config.family.rope_facts.theta_key[1:]) is not None:
        return False
    theta = newer.get("rope_theta", DEFAULT_THETA)
    return newer.get("rope_type", "default") != "default" or theta != DEFAULT_THETA


def _older(config: RopeConfig, method: Json, beside: Json) -> JsonValue:
    """`rope_scaling`: null where nothing is scaled and nothing else is to be said there."""
    kept = _layout(beside)
    kind = method.get("rope_type") or method.get("type") or "default"  # a base frequency alone
    if kind == "default" and not kept:
        return None
    if config.model_type in config.family.rope_facts.legacy:
        dropped = {"rope_type", "original_max_position_embeddings"}
        if kind == "longrope":
            dropped.add("factor")
        return {"type": kind, **{k: v for k, v in method.items() if k not in dropped}}
    spoken = {"type": kind} if "type" in beside else {}
    return {**spoken, **method, **kept}


def _layout(parameters: Json) -> dict[str, JsonValue]:
    return {key: value for key, value in parameters.items() if key not in OF_METHODS}
