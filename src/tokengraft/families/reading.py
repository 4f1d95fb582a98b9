"""Read the family files. They are our own data: whatever is wrong in one is a bug of ours."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from tokengraft.families.rope_facts import read_rope_facts
from tokengraft.layout import Family

GENERIC = "generic"
# The keys of a family file, and what each must hold. All are optional except `model_types`.
_LISTS = ("model_types", "input_rows", "output_rows", "output_bias", "notes")
_POINTERS = ("vocab_keys", "length_keys")
_FLAGS = ("tied_default", "rope")
_KEYS = frozenset(
    (
        *_LISTS,
        *_POINTERS,
        *_FLAGS,
        "refuse",
        "rope_facts",
        "second_matrix",
        "second_matrix_caution",
        "trained_length",
        "trained_length_source",
    )
)


@cache
def families() -> Mapping[str, Family]:
    """Every family by its name, which is the name of its file.

    Raises:
        AssertionError: a file is malformed, or two files claim the same `model_type`.
    """
    found: dict[str, Family] = {}
    for entry in sorted(files(__package__).iterdir(), key=lambda entry: entry.name):
        name, dot, ending = entry.name.rpartition(".")
        if dot and ending == "toml":
            found[name] = read_family(name, entry.read_text(encoding="utf-8"))
    assert GENERIC in found, "families/generic.toml is missing"
    claimed: dict[str, str] = {}
    for family in found.values():
        for model_type in family.model_types:
            rival = claimed.setdefault(model_type, family.name)
            assert rival == family.name, f"{rival} and {family.name} both claim {model_type}"
    return MappingProxyType(found)


@cache
def _by_model_type() -> Mapping[str, Family]:
    return {
        model_type: family for family in families().values() for model_type in family.model_types
    }


def family_of(model_type: str | None) -> Family:
    """The family that names this `model_type`, else the generic one, which knows only shapes."""
    return _by_model_type().get(model_type or "", families()[GENERIC])


def read_family(name: str, text: str) -> Family:
    """Read one family file strictly.

    Raises:
        AssertionError: a key is unknown or holds the wrong kind of value.
    """
    document = tomllib.loads(text)
    unknown = set(document) - _KEYS
    assert not unknown, f"families/{name}.toml: unknown keys {sorted(unknown)}"
    lists = {key: _strings(name, key, document.get(key, [])) for key in (*_LISTS, *_POINTERS)}
    assert lists["model_types"] or name == GENERIC, f"families/{name}.toml names no model_types"
    for key in _POINTERS:
        assert all(value.startswith("/") for value in lists[key]), f"{name}: {key} holds pointers"
    for key in _FLAGS:
        assert isinstance(document.get(key, False), bool), f"families/{name}.toml: {key} is no flag"
    trained = _lengths(name, document.get("trained_length", []))
    source = document.get("trained_length_source", "")
    caution = document.get("second_matrix_caution", "")
    assert isinstance(source, str), f"families/{name}.toml: trained_length_source is no text"
    assert isinstance(caution, str), f"families/{name}.toml: second_matrix_caution is no text"
    assert bool(source) == bool(trained), f"families/{name}.toml: a trained length needs a source"
    return Family(
        name=name,
        model_types=lists["model_types"],
        input_rows=lists["input_rows"],
        output_rows=lists["output_rows"],
        output_bias=lists["output_bias"],
        refuse=_reasons(name, document.get("refuse", {})),
        vocab_keys=lists["vocab_keys"] or ("/vocab_size",),
        length_keys=lists["length_keys"] or ("/max_position_embeddings",),
        trained_length=trained,
        trained_length_source=source,
        tied_default=document.get("tied_default", False),
        rope=document.get("rope", False),
        notes=lists["notes"],
        rope_facts=read_rope_facts(name, lists["model_types"], document.get("rope_facts", {})),
        second_matrix=_names(name, document.get("second_matrix", {})),
        second_matrix_caution=caution,
    )


def _strings(name: str, key: str, value: object) -> tuple[str, ...]:
    assert isinstance(value, list), f"families/{name}.toml: {key} is no list"
    assert all(isinstance(item, str) and item for item in value), f"{name}: {key} holds no texts"
    assert len(set(value)) == len(value), f"families/{name}.toml: {key} repeats itself"
    return tuple(value)


def _reasons(name: str, value: object) -> tuple[tuple[str, str], ...]:
    assert isinstance(value, dict), f"families/{name}.toml: refuse is no table"
    assert all(isinstance(why, str) and why for why in value.values()), f"{name}: refuse says why"
    return tuple(value.items())


def _names(name: str, value: object) -> tuple[tuple[str, str], ...]:
    assert isinstance(value, dict), f"families/{name}.toml: second_matrix is no table"
    pairs = tuple(value.items())
    assert all(isinstance(new, str) and new for _, new in pairs), f"{name}: second_matrix names"
    return pairs


def _lengths(name: str, value: object) -> tuple[tuple[int, int], ...]:
    assert isinstance(value, list), f"families/{name}.toml: trained_length is no list"
    pairs = tuple(tuple(pair) for pair in value)
    assert all(
        len(pair) == 2 and all(type(length) is int and length > 0 for length in pair)  # noqa: PLR2004  # a pair
        for pair in pairs
    ), f"families/{name}.toml: trained_length holds pairs (in the config, trained)"
    return tuple((pair[0], pair[1]) for pair in pairs)
