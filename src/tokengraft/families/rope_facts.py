"""Read what a family file knows of rotary positions; whatever is wrong in one is a bug of ours."""

from __future__ import annotations

from types import MappingProxyType
from typing import get_args

from tokengraft.layout import RopeFacts
from tokengraft.recipes import ContextMethod

_METHODS = get_args(ContextMethod)
_NUMBERS = frozenset({"rope_theta", "local_theta", "head_dim", "share", "length"})
_TYPES = ("legacy", "full_attention_only", "length_is_scaled", "states_head_dim")
_KEYS = frozenset({*_TYPES, "theta_key", "share_key", "methods", "defaults", "trained_scaling"})


def read_rope_facts(name: str, model_types: tuple[str, ...], value: object) -> RopeFacts:
    """Read one `[rope_facts]` strictly.

    Raises:
        AssertionError: a key or a model type is unknown, or a value is of the wrong kind.
    """
    place = f"families/{name}.toml: rope_facts"
    assert isinstance(value, dict), f"{place} is no table"
    unknown = set(value) - _KEYS
    assert not unknown, f"{place} has unknown keys {sorted(unknown)}"
    types = {key: _model_types(place, model_types, value.get(key, [])) for key in _TYPES}
    for key in ("theta_key", "share_key"):
        assert str(value.get(key, "/")).startswith("/"), f"{place}: {key} is no pointer"
    methods = value.get("methods", {})
    defaults = value.get("defaults", {})
    _model_types(place, model_types, [*methods, *defaults])
    for known in methods.values():
        assert set(known) <= set(_METHODS), f"{place}: methods names an unknown one"
    for numbers in defaults.values():
        assert set(numbers) <= _NUMBERS, f"{place}: defaults has unknown keys"
        assert all(type(n) in (int, float) for n in numbers.values()), f"{place}: a number"
    pairs = value.get("trained_scaling", [])
    assert all(kind in _METHODS and type(length) is int for kind, length in pairs), (
        f"{place}: pairs"
    )
    return RopeFacts(
        theta_key=value.get("theta_key", "/rope_theta"),
        share_key=value.get("share_key", "/partial_rotary_factor"),
        legacy=types["legacy"],
        full_attention_only=types["full_attention_only"],
        length_is_scaled=types["length_is_scaled"],
        states_head_dim=types["states_head_dim"],
        methods=MappingProxyType({key: tuple(known) for key, known in methods.items()}),
        defaults=MappingProxyType({k: MappingProxyType(dict(n)) for k, n in defaults.items()}),
        trained_scaling=tuple((kind, length) for kind, length in pairs),
    )


def _model_types(place: str, known: tuple[str, ...], value: object) -> frozenset[str]:
    assert isinstance(value, list), f"{place} holds no list of model types"
    strange = set(value) - set(known)
    assert not strange, f"{place} names model types of other families: {sorted(strange)}"
    return frozenset(value)
