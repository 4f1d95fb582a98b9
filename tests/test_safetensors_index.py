"""An index names shards in its own folder, or is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokengraft.errors import LimitExceeded, MalformedFile, UnsafePath
from tokengraft.formats.json_text import parse_json
from tokengraft.formats.safetensors_file import read_header, read_index, unsafe_name


def index_of(value: Any) -> tuple[int | None, dict[str, str]]:
    return read_index(parse_json(json.dumps(value).encode(), file="i"), file="index.json")


def test_an_index_gives_its_size_and_its_map() -> None:
    weight_map = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    assert (12, weight_map) == index_of({"metadata": {"total_size": 12}, "weight_map": weight_map})
    assert (12, {}) == index_of({"metadata": {"total_size": 12.0}, "weight_map": {}})
    assert (None, {}) == index_of({"metadata": {}, "weight_map": {}})
    assert (None, {}) == index_of({"weight_map": {}})


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"weight_map": []},
        {"weight_map": {"a": 1}},
        {"weight_map": {"a\n": "x"}},
        {"weight_map": {}, "metadata": {"total_size": -1}},
        {"weight_map": {}, "metadata": {"total_size": 1.5}},
        {"weight_map": {}, "metadata": {"total_size": True}},
        {"weight_map": {}, "metadata": {"total_size": "1"}},
        {"weight_map": {}, "metadata": [1]},
    ],
    ids=repr,
)
def test_what_is_no_index_is_refused(value: Any) -> None:
    with pytest.raises(MalformedFile):
        index_of(value)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "...", "../x", "a/b", "/x", "a\\b", "..\\x", "C:x", "//host/x", "a\0b"),
        *("CON", "con.safetensors", "LPT1.x", "NUL ", "nul .txt", "COM¹", "x.", "x ", " x"),
        *("a\nb", "a\u202eb", "a\u200bb", "a\u2215b", "a\u2044b", "a\uff0fb", "a?", "a*", "a|b"),
        *("e\u0301", "n" * 256),
    ],
)
def test_a_shard_by_this_name_is_never_opened(name: str) -> None:
    assert unsafe_name(name)
    with pytest.raises(UnsafePath):
        index_of({"weight_map": {"a": name}})


def test_plain_names_are_safe() -> None:
    names = [
        "model.safetensors",
        "model-00001-of-00002.safetensors",
        "модель.safetensors",
        "console",
    ]
    assert ["", "", "", ""] == [unsafe_name(name) for name in names]


def test_shards_that_differ_by_case_alone_are_refused() -> None:
    with pytest.raises(UnsafePath):
        index_of({"weight_map": {"a": "Model.safetensors", "b": "model.safetensors"}})


def test_too_many_shards_are_refused() -> None:
    with pytest.raises(LimitExceeded):
        index_of({"weight_map": {str(n): f"{n}.safetensors" for n in range(10_001)}})


def test_real_indexes_are_read(data: Path) -> None:
    files = sorted(data.glob("tokenizers/*/model.safetensors.index.json"))
    assert files
    for file in files:
        document = parse_json(file.read_bytes(), file=file.name)
        total_size, weight_map = read_index(document, file=file.name)
        assert 61_064_245_248 == total_size
        assert 16 == len(set(weight_map.values()))
    (weights,) = sorted(data.glob("models/*/model.safetensors"))
    assert read_header(weights, file="m", size_bytes=weights.stat().st_size).tensors
