"""Headers of safetensors are read at least as strictly as the library reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tokengraft.errors import (
    LimitExceeded,
    MalformedFile,
    ReadFailed,
    RefusedError,
    SourceChanged,
    UsageError,
)
from tokengraft.formats.safetensors_file import (
    parse_header,
    read_header,
    rewrite_header,
)
from tokengraft.tensors import DTYPE_BITS, WeightsFile

HONEST: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "b": {"dtype": "F32", "shape": [2, 2], "data_offsets": [8, 24]},
    "a": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]},
    "empty": {"dtype": "F16", "shape": [0, 3], "data_offsets": [24, 24]},
}


def with_length(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


def parse(header: Any, n_data: int = 24) -> WeightsFile:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return parse_header(with_length(text), file="m.safetensors", size_bytes=8 + len(text) + n_data)


def with_entry(**fields: Any) -> dict[str, Any]:
    return HONEST | {"b": HONEST["b"] | fields}


def by_the_library(file: bytes) -> dict[str, Any]:
    return dict(safetensors.deserialize(file))  # type: ignore[no-untyped-call]


def is_accepted_by_the_library(file: bytes) -> bool:
    try:
        by_the_library(file)
    except safetensors.SafetensorError:
        return False
    return True


def test_an_honest_header_is_read_in_the_order_of_the_data() -> None:
    weights = parse(HONEST)
    at = weights.data_begin
    assert {"format": "pt"} == weights.metadata
    assert [("a", at, at + 8), ("b", at + 8, at + 24), ("empty", at + 24, at + 24)] == [
        (ref.name, ref.begin, ref.end) for ref in weights.tensors
    ]
    assert [("BF16", (4,)), ("F32", (2, 2)), ("F16", (0, 3))] == [
        (ref.dtype, ref.shape) for ref in weights.tensors
    ]
    assert at == len(weights.header)


def test_a_file_that_the_library_wrote_is_read_as_it_was_written(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {
        "x.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "y": np.array([1], dtype=np.int8),
    }
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file(arrays, path, metadata={"b": "1", "a": "2"})
    data = path.read_bytes()
    weights = read_header(path, file="m.safetensors", size_bytes=len(data))
    assert {"b": "1", "a": "2"} == weights.metadata
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        ref.name: data[ref.begin : ref.end] for ref in weights.tensors
    }
    assert data[: weights.data_begin] == weights.header


REFUSED: dict[str, Any] = {
    "a tensor twice": (
        (
            b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
            b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        ),
        4,
    ),
    "a field twice": (
        b'{"a":{"dtype":"U8","dtype":"I8","shape":[4],"data_offsets":[0,4]}}',
        4,
    ),
    "a space before the brace": (b" " + json.dumps(HONEST).encode(), 24),
    "a newline after the brace": (json.dumps(HONEST).encode() + b"\n", 24),
    "NUL after the brace": (json.dumps(HONEST).encode() + b"\0", 24),
    "NUL in a name": ({"a\0": HONEST["a"]}, 8),
    "ESC in a name": ({"a\x1b[31m": HONEST["a"]}, 8),
    "C1 in a name": ({"a\x85": HONEST["a"]}, 8),
    "another field": (with_entry(extra=1), 24),
    "a field less": ({"a": {"dtype": "U8", "shape": [4]}}, 4),
    "an unknown dtype": (with_entry(dtype="F31"), 24),
    "a dtype in small letters": (with_entry(dtype="f32"), 24),
    "a dtype that is a number": (with_entry(dtype=32), 24),
    "a hole": (HONEST | {"a": HONEST["a"] | {"shape": [3], "data_offsets": [0, 6]}}, 24),
    "a hole at the start": ({"a": HONEST["a"] | {"data_offsets": [8, 16]}}, 16),
    "an overlap": (HONEST | {"a": HONEST["a"] | {"shape": [5], "data_offsets": [0, 10]}}, 24),
    "bytes behind the last": (HONEST, 25),
    "bytes missing": (HONEST, 23),
    "an empty tensor elsewhere": (
        HONEST | {"empty": HONEST["empty"] | {"data_offsets": [4, 4]}},
        24,
    ),
    "a negative offset": (with_entry(data_offsets=[-8, 24]), 24),
    "minus zero": (json.dumps(HONEST).replace("[0, 8]", "[-0, 8]").encode(), 24),
    "minus zero in a shape": (json.dumps(HONEST).replace("[0, 3]", "[-0, 3]").encode(), 24),
    "a float offset": (with_entry(data_offsets=[8.0, 24]), 24),
    "an exponent": (json.dumps(HONEST).replace("[8, 24]", "[8, 24e0]").encode(), 24),
    "an offset of 65 bits": (with_entry(data_offsets=[8, 2**64 + 24]), 24),
    "offsets the wrong way": (with_entry(data_offsets=[24, 8]), 24),
    "three offsets": (with_entry(data_offsets=[8, 16, 24]), 24),
    "a shape that overflows to the right size": (with_entry(shape=[2**62, 2**2, 4]), 24),
    "a shape that overflows before its zero": (
        HONEST | {"empty": HONEST["empty"] | {"shape": [2**63, 4, 0]}},
        24,
    ),
    "a shape that overflows in bits": (
        HONEST
        | {"empty": HONEST["empty"] | {"shape": [2**62, 0], "dtype": "F64"}}
        | {"big": {"dtype": "F64", "shape": [2**61], "data_offsets": [24, 24]}},
        24,
    ),
    "another size than its shape": (with_entry(shape=[2, 3]), 24),
    "half a byte": ({"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}}, 1),
    "true in a shape": (with_entry(shape=[True, 4]), 24),
    "a shape that is null": (with_entry(shape=None), 24),
    "NaN": (json.dumps(HONEST).replace("[2, 2]", "[NaN, 2]").encode(), 24),
    "a number that is too large": (json.dumps(HONEST).replace("[2, 2]", "[1e999]").encode(), 24),
    "half a surrogate pair": (json.dumps({"\ud800": HONEST["a"]}).encode(), 8),
    "bytes that are not UTF-8": (b'{"\xff":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}', 0),
    "a number in the metadata": (HONEST | {"__metadata__": {"a": 1}}, 24),
    "metadata that are null": (HONEST | {"__metadata__": None}, 24),
    "metadata that are a list": (HONEST | {"__metadata__": []}, 24),
    "an entry that is a list": (HONEST | {"empty": ["F16", [0, 3], [24, 24]]}, 24),
    "no object": (b"[]", 0),
    "nothing": (b"", 0),
    "two objects": (b"{}{}", 0),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_header_is_refused_that_has(name: str) -> None:
    with pytest.raises(MalformedFile) as caught:
        parse(*REFUSED[name])
    assert caught.value.subject.startswith("m.safetensors")


@pytest.mark.parametrize(
    "header",
    [
        {"n" * 1025: HONEST["a"]},
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        {str(n): {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for n in range(200_001)},
    ],
    ids=["a long name", "deep nesting", "many tensors"],
)
def test_a_header_beyond_the_limits_is_refused(header: Any) -> None:
    with pytest.raises(LimitExceeded):
        parse(header, 8)


@pytest.mark.parametrize("length", [100_000_001, 2**63, 2**64 - 1])
def test_a_huge_header_is_refused_before_it_is_read(length: int, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}")
    with pytest.raises(LimitExceeded):
        read_header(path, file="m", size_bytes=10)


@pytest.mark.parametrize("data", [b"", b"1234567", (3).to_bytes(8, "little") + b"{}"])
def test_a_file_that_is_too_short_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    with pytest.raises(MalformedFile):
        read_header(path, file="m", size_bytes=len(data))


def test_a_file_that_changed_or_went_away_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(with_length(b"{}"))
    assert () == read_header(path, file="m", size_bytes=10).tensors
    with pytest.raises(SourceChanged):
        read_header(path, file="m", size_bytes=11)
    with pytest.raises(ReadFailed):
        read_header(tmp_path / "none", file="m", size_bytes=10)


# ── against the library ──────────────────────────────────────────────────────────────────────────

numbers = st.sampled_from(
    [0, 1, 2, 3, 4, 8, 16, 24, -1, -0.0, 1.0, 2**32, 2**61, 2**63, 2**64 - 1, 2**64, True, None]
)
values = st.recursive(
    numbers | st.sampled_from(["", "F32", "U8", "\ud800", "\0", "é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(sorted(DTYPE_BITS)) | values,
        "shape": st.lists(numbers, max_size=3) | values,
        "data_offsets": st.lists(numbers, min_size=2, max_size=2) | values,
    },
    optional={"extra": values},
)


@st.composite
def honest_headers(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """Tensors that fill their file, in any order of the JSON."""
    found, at = [], 0
    for n in range(draw(st.integers(0, 4))):
        dtype = draw(st.sampled_from(sorted(DTYPE_BITS)))
        shape = [*draw(st.lists(st.integers(0, 4), max_size=3)), draw(st.sampled_from([0, 4, 8]))]
        size = int(np.prod(shape)) * DTYPE_BITS[dtype] // 8
        found.append((f"t{n}", {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}))
        at += size
    return dict(draw(st.permutations(found))), at


@st.composite
def mutated_files(draw: st.DrawFn) -> bytes:
    header, size = draw(honest_headers())
    names = [*header, "__metadata__", "new"]
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(names))
        kind = draw(st.sampled_from(["entry", "field", "drop", "none"]))
        if kind == "entry":
            header[name] = draw(entries | values)
        elif kind == "field" and isinstance(header.get(name), dict):
            field = draw(st.sampled_from(["dtype", "shape", "data_offsets", "extra"]))
            header[name] = header[name] | {field: draw(values | st.lists(numbers, max_size=3))}
        elif kind == "drop":
            header.pop(name, None)
    text = bytearray(json.dumps(header).encode() + b" " * draw(st.integers(0, 3)))
    if draw(st.booleans()):
        at = draw(st.integers(0, len(text) - 1))
        text[at : at + draw(st.integers(0, 2))] = draw(
            st.binary(max_size=2)
            | st.sampled_from([b"-", b"0", b" ", b"\\ud800", b"{", b",", b"e1"])
        )
    length = len(text) + draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
    data = bytes(max(0, size + draw(st.sampled_from([0, 0, 0, 0, 1, -1]))))
    return max(0, length).to_bytes(8, "little") + bytes(text) + data


@settings(max_examples=700, deadline=None, suppress_health_check=list(HealthCheck))
@given(mutated_files())
@example(with_length(b'{"a":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}}'))
def test_what_the_library_refuses_is_never_accepted(file: bytes) -> None:
    length = int.from_bytes(file[:8], "little")
    try:
        weights = parse_header(file[: 8 + length], file="m", size_bytes=len(file))
    except RefusedError:
        return
    found = by_the_library(file)
    assert {
        ref.name: (list(ref.shape), ref.dtype, file[ref.begin : ref.end]) for ref in weights.tensors
    } == {name: (got["shape"], got["dtype"], bytes(got["data"])) for name, got in found.items()}


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(honest_headers())
def test_honest_headers_are_accepted_by_both(made: tuple[dict[str, Any], int]) -> None:
    header, size = made
    text = json.dumps(header).encode()
    assert is_accepted_by_the_library(with_length(text) + bytes(size))
    assert sorted(header) == sorted(ref.name for ref in parse(text, size).tensors)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes_give_a_typed_error_or_a_value(text: bytes, n_data: int) -> None:
    try:
        parse(b"{" + text, n_data)
    except RefusedError:
        assert not is_accepted_by_the_library(with_length(b"{" + text) + bytes(n_data))


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


def test_a_header_without_changes_keeps_its_bytes() -> None:
    weights = parse(json.dumps(HONEST, indent=1).encode())
    assert (weights.header, weights.tensors) == rewrite_header(weights, {"a": (4,)})
    assert (weights.header, weights.tensors) == rewrite_header(weights, {})


def test_a_grown_tensor_shifts_what_lies_behind_it_and_nothing_else() -> None:
    weights = parse(HONEST | {"__metadata__": {"z": "é", "a": "2"}})
    header, tensors = rewrite_header(weights, {"a": (6,)})
    assert [("a", 12), ("b", 16), ("empty", 0)] == [(ref.name, ref.size_bytes) for ref in tensors]
    written = json.loads(header[8:])
    assert ["__metadata__", "b", "a", "empty"] == list(written)
    assert ["z", "a"] == list(written["__metadata__"])
    assert [[0, 12], [12, 28], [28, 28]] == [
        written[name]["data_offsets"] for name in ("a", "b", "empty")
    ]
    assert [[6], [2, 2]] == [written["a"]["shape"], written["b"]["shape"]]
    assert 0 == len(header) % 8
    assert "é".encode() in header


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(honest_headers(), st.data())
def test_a_rewritten_header_is_read_as_it_was_meant(
    made: tuple[dict[str, Any], int], data: st.DataObject
) -> None:
    header, size = made
    weights = parse(header, size)
    shapes = {
        name: (data.draw(st.sampled_from([0, 4, 8, 16])), *header[name]["shape"][1:])
        for name in (data.draw(st.sets(st.sampled_from(sorted(header)))) if header else ())
        if header[name]["shape"][-1] % 4 == 0 and len(header[name]["shape"]) > 1
    }
    new, tensors = rewrite_header(weights, shapes)
    end = max((ref.end for ref in tensors), default=len(new))
    again = parse_header(new, file="m.safetensors", size_bytes=end)
    assert (
        replace(weights, header=new, data_begin=len(new), tensors=tensors, size_bytes=end) == again
    )
    assert {name: tuple(entry["shape"]) for name, entry in header.items()} | shapes == {
        ref.name: ref.shape for ref in again.tensors
    }
    assert is_accepted_by_the_library(new + bytes(end - len(new)))


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(honest_headers(), st.data())
def test_a_new_tensor_lies_behind_the_one_that_it_is_made_of_and_moves_nothing_else(
    made: tuple[dict[str, Any], int], data: st.DataObject
) -> None:
    header, size = made
    weights = parse(header, size)
    whole = [name for name in sorted(header) if header[name]["shape"][-1] % 4 == 0]
    behind = data.draw(st.sampled_from(whole)) if whole else None
    if behind is None:
        return
    shape = tuple(header[behind]["shape"])
    new, tensors = rewrite_header(weights, {}, {"n\u00e9w": (behind, shape)})
    names = [ref.name for ref in tensors]
    (mine,) = [ref for ref in tensors if ref.name == "n\u00e9w"]
    (there,) = [ref for ref in tensors if ref.name == behind]
    assert (there.dtype, there.shape, there.end) == (mine.dtype, mine.shape, mine.begin)
    assert sorted([*header, "n\u00e9w"]) == sorted(names)
    before = {ref.name: (ref.dtype, ref.shape, ref.size_bytes) for ref in weights.tensors}
    after = {ref.name: (ref.dtype, ref.shape, ref.size_bytes) for ref in tensors}
    assert before == {name: after[name] for name in before}
    assert is_accepted_by_the_library(new + bytes(max(r.end for r in tensors) - len(new)))


@pytest.mark.parametrize("shapes", [{"none": (1,)}, {"a": (-1,)}, {"a": (2**70,)}])
def test_a_shape_that_cannot_be_is_refused(shapes: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(UsageError):
        rewrite_header(parse(HONEST), shapes)
