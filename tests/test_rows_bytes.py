"""New rows are what exact arithmetic says, rounded once; kept rows keep every bit."""

from __future__ import annotations

import os
import random
import struct
from fractions import Fraction
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import grafts
import tiny
from raw_tensors import tensor_bytes, write_safetensors
from tokengraft.applying import mixing
from tokengraft.applying.rows import RowFactory, changed_rows
from tokengraft.errors import MalformedFile, StalePlan, UnsupportedFormat
from tokengraft.formats.loading import load
from tokengraft.formats.rows import RowReader, mean_of, narrow, sample_rows, widen
from tokengraft.formats.safetensors_file import read_header
from tokengraft.plans import Keep, Mean, Mix, RemapRows, RowSource, Stored
from tokengraft.tensors import TensorRef

# Digits of the significand and exponent of the smallest normal number, from IEEE 754.
KINDS = {"BF16": (8, -126, 127), "F16": (11, -14, 15), "F32": (24, -126, 127)}
WIDTH = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8}


def _exact(value: float, dtype: str) -> Fraction | None:
    """Round to nearest, ties to even, in rational arithmetic; None beyond the largest number."""
    digits, low, high = KINDS[dtype]
    exact = Fraction(value)
    if not exact:
        return exact
    size = abs(exact)
    power = max(_floor_log2(size), low) - digits + 1
    unit = Fraction(2) ** power
    steps, rest = divmod(size, unit)
    if 2 * rest > unit or (2 * rest == unit and steps % 2):
        steps += 1
    rounded = steps * unit
    if rounded >= Fraction(2) ** (high + 1):
        return None
    return rounded if exact > 0 else -rounded


def _floor_log2(size: Fraction) -> int:
    guess = size.numerator.bit_length() - size.denominator.bit_length()
    while Fraction(2) ** guess > size:
        guess -= 1
    while Fraction(2) ** (guess + 1) <= size:
        guess += 1
    return guess


def _check(value: float, dtype: str) -> None:
    (found,) = widen(narrow(np.array([value]), dtype), dtype)
    expected = _exact(value, dtype)
    if expected is None:
        assert found == np.copysign(np.inf, value)
    else:
        assert Fraction(float(found)) == expected
        assert np.signbit(found) == np.signbit(value)


@pytest.mark.parametrize("dtype", KINDS)
def test_rounding_agrees_with_rational_arithmetic_at_every_kind_of_edge(dtype: str) -> None:
    digits, low, high = KINDS[dtype]
    rng = random.Random(0)
    for _ in range(3_000):
        exponent = rng.randint(low - digits - 3, high + 1)
        steps = rng.randint(1 << (digits - 1), (1 << digits) - 1)
        middle = (steps + 0.5) * 2.0 ** (exponent - digits + 1)  # a tie, unless subnormal
        for value in (middle, np.nextafter(middle, 0), np.nextafter(middle, np.inf)):
            _check(float(value), dtype)
            _check(-float(value), dtype)


def test_the_case_that_rounding_twice_gets_wrong() -> None:
    """One, half a bfloat16 step, and a little that float32 cannot hold: up, not to even."""
    value = 1 + 2.0**-8 + 2.0**-40
    twice = np.float64(value).astype(np.float32).astype(ml_dtypes.bfloat16)
    assert float(twice) == 1.0
    (once,) = widen(narrow(np.array([value]), "BF16"), "BF16")
    assert once == 1 + 2.0**-7


@pytest.mark.parametrize("dtype", KINDS)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_rounding_agrees_with_rational_arithmetic_anywhere(dtype: str, value: float) -> None:
    _check(value, dtype)


@pytest.mark.parametrize("dtype", [*KINDS, "F64"])
def test_what_is_no_number_has_one_form(dtype: str) -> None:
    with np.errstate(invalid="ignore"):
        made = np.array([np.nan, -np.nan, np.inf - np.inf, np.float64(0) * np.inf])
    data = narrow(made, dtype)
    assert len({data[at : at + WIDTH[dtype]] for at in range(0, len(data), WIDTH[dtype])}) == 1
    assert np.isnan(widen(data, dtype)).all()
    special = np.array([np.inf, -np.inf, 0.0, -0.0, 1e308, -1e308])
    back = widen(narrow(special, dtype), dtype)
    assert list(np.signbit(back)) == [False, True] * 3
    assert back[0] == np.inf


@pytest.mark.parametrize("dtype", [*KINDS, "F64"])
def test_every_value_survives_widening(dtype: str) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, 1 << 16, dtype=np.uint8).tobytes()
    values = widen(data, dtype)
    usable = ~np.isnan(values)
    again = widen(narrow(values, dtype), dtype)
    assert (again[usable] == values[usable]).all()


def test_widening_agrees_with_ml_dtypes_for_every_bfloat16() -> None:
    data = np.arange(1 << 16, dtype="<u2").tobytes()
    with np.errstate(invalid="ignore"):
        theirs = np.frombuffer(data, ml_dtypes.bfloat16).astype(np.float64)
    np.testing.assert_array_equal(widen(data, "BF16"), theirs)


def test_packed_and_integer_rows_are_not_computed_with() -> None:
    for call in (lambda: widen(b"", "I8"), lambda: narrow(np.zeros(1), "F8_E4M3")):
        with pytest.raises(UnsupportedFormat):
            call()


def _tensor(
    folder: Path, dtype: str, shape: tuple[int, ...], data: bytes
) -> tuple[Path, TensorRef]:
    path = folder / "x.safetensors"
    write_safetensors(path, {"t": (dtype, shape, data)})
    (ref,) = read_header(path, file=path.name, size_bytes=path.stat().st_size).tensors
    return path, ref


def _random(dtype: str, n_rows: int, width: int) -> bytes:
    return narrow(np.random.default_rng(1).normal(size=(n_rows, width)), dtype)


def _rows(path: Path, ref: TensorRef, *sources: RowSource) -> bytes:
    edit = RemapRows(
        tensor="t",
        n_rows_before=ref.shape[0],
        n_rows_after=sum(source.n_rows for source in sources),
        rows=sources,
    )
    file = os.open(path, os.O_RDONLY)
    try:
        reader = RowReader(file, ref)
        pieces = RowFactory(edit.tensor, reader, reader).stream(edit)
        return b"".join(reader.raw(p.first, p.count) if isinstance(p, Keep) else p for p in pieces)
    finally:
        os.close(file)


@pytest.mark.parametrize("dtype", [*KINDS, "F64"])
@pytest.mark.parametrize("shape", [(40, 5), (40,), (40, 2, 3)], ids=str)
def test_a_mix_adds_its_parents_one_by_one_in_the_order_of_their_ids(
    tmp_path: Path, dtype: str, shape: tuple[int, ...]
) -> None:
    width = int(np.prod(shape[1:]))
    path, ref = _tensor(tmp_path, dtype, shape, _random(dtype, 40, width))
    parents = ((30, 0.1), (2, 0.7), (17, -1.3), (9, 1e-9))
    old = widen(_random(dtype, 40, width), dtype).reshape(40, width)
    total = np.zeros(width)
    for row, weight in sorted(parents):
        total = total + weight * old[row]
    assert _rows(path, ref, Mix(parents=parents, rows=3)) == narrow(total, dtype) * 3
    assert _rows(path, ref, Mix(parents=())) == bytes(width * WIDTH[dtype])


@pytest.mark.parametrize("most_bytes", [8, 400, 8 << 20])
def test_sums_made_at_once_have_the_bits_that_each_has_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_bytes: int
) -> None:
    monkeypatch.setattr(mixing, "AT_ONCE_BYTES", most_bytes)
    path, ref = _tensor(tmp_path, "BF16", (40, 5), _random("BF16", 40, 5))
    dice = random.Random(4)
    sources: list[RowSource] = [
        Mix(
            parents=tuple(
                (dice.randrange(40), dice.choice((1.0, -0.3, 1e-30, 1e300)))
                for _ in range(dice.choice((0, 1, 2, 9, 40)))
            ),
            rows=dice.choice((1, 1, 2)),
        )
        for _ in range(60)
    ]
    sources[20:20] = [Keep(first=3, count=2), Mean(first=0, count=40), Stored(index=7)]
    alone = b"".join(_rows(path, ref, source) for source in sources)
    assert alone == _rows(path, ref, *sources)


@pytest.mark.parametrize("shape", [(1000, 7), (1000,)], ids=str)
def test_a_mean_is_the_same_whatever_the_size_of_a_block(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    width = int(np.prod(shape[1:]))
    path, ref = _tensor(tmp_path, "BF16", shape, _random("BF16", 1000, width))
    old = widen(_random("BF16", 1000, width), "BF16").reshape(1000, width)
    total = np.zeros(width)
    for row in old[13:990]:
        total = total + row
    with path.open("rb") as file:
        reader = RowReader(file.fileno(), ref)
        for block_bytes in (1, 100, 4096, 1 << 20):
            found = mean_of(reader, Mean(first=13, count=977), block_bytes=block_bytes)
            assert found.tobytes() == (total / 977).tobytes()
    expected = narrow(total / 977, "BF16")
    assert _rows(path, ref, Mean(first=13, count=977, rows=2)) == expected * 2


def test_kept_rows_keep_the_payload_of_their_nans(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base")
    path = base / "model.safetensors"
    checkpoint = load(base)
    assert checkpoint.tensors is not None
    ref = checkpoint.tensors.tensors[grafts.EMBED]
    data = bytearray(path.read_bytes())
    odd = struct.pack("<4H", 0x7FA5, 0xFF81, 0x0001, 0x8000)  # signalling, negative, tiny, -0
    data[ref.begin : ref.begin + 8] = odd
    path.write_bytes(data)
    grafts.add_tokens(base, grow=64).apply(tmp_path / "out")
    old, new = tensor_bytes(base), tensor_bytes(tmp_path / "out")
    n_kept = checkpoint.tokenizer.n_tokens * ref.row_bytes if checkpoint.tokenizer else 0
    assert new[grafts.EMBED][2][:8] == odd
    for name, (dtype, shape, payload) in old.items():
        kept = n_kept if name in (grafts.EMBED, grafts.HEAD) else len(payload)
        assert new[name][2][:kept] == payload[:kept]
        assert (new[name][0], new[name][1][1:]) == (dtype, shape[1:])


def test_new_rows_are_mix_mean_stored_value_and_zeros(tmp_path: Path) -> None:
    graft = grafts.tiny_graft(tmp_path / "base", grow=64)
    graft.apply(tmp_path / "out")
    assert graft.checkpoint.tokenizer is not None
    first = graft.checkpoint.tokenizer.n_tokens
    for name in (grafts.EMBED, grafts.HEAD):
        dtype, shape, old_bytes = tensor_bytes(tmp_path / "base")[name]
        old = widen(old_bytes, dtype).reshape(shape)
        _, (n_rows, _), new_bytes = tensor_bytes(tmp_path / "out")[name]
        new = widen(new_bytes, dtype).reshape(n_rows, -1)
        assert n_rows == shape[0] + 64
        exact = [(old[3] + old[7]) / 2, sum(old[:first]) / first, np.full(shape[1], 0.25)]
        rounded = widen(narrow(np.array(exact), dtype), dtype).reshape(3, -1)
        np.testing.assert_array_equal(new[first : first + 3], rounded)
        np.testing.assert_array_equal(new[first + 3 : shape[0]], old[first + 3 :])
        assert not new[shape[0] :].any()


def test_rows_that_are_not_there_are_refused(tmp_path: Path) -> None:
    path, ref = _tensor(tmp_path, "BF16", (4, 2), bytes(16))
    for source in (Mix(parents=((4, 1.0),)), Mean(first=2, count=3), Stored(index=4)):
        with pytest.raises(MalformedFile):
            _rows(path, ref, source)
    with pytest.raises(MalformedFile):
        sample_rows(path, ref, [0, 4])
    wrong = RemapRows(tensor="t", n_rows_before=5, n_rows_after=1, rows=(Keep(first=0, count=1),))
    with path.open("rb") as file, pytest.raises(StalePlan):
        list(RowFactory("t", RowReader(file.fileno(), ref), None).stream(wrong))


def test_a_new_tensor_has_no_rows_before_and_others_have_those_of_the_base() -> None:
    own = RemapRows(tensor="t", n_rows_before=5, n_rows_after=5, rows=(Keep(first=0, count=5),))
    assert own.n_rows_there == 5
    assert own.model_copy(update={"of": "u"}).n_rows_there == 0


def test_rows_are_sampled_without_reading_the_rest(tmp_path: Path) -> None:
    path, ref = _tensor(tmp_path, "F16", (50, 3), _random("F16", 50, 3))
    old = widen(_random("F16", 50, 3), "F16").reshape(50, 3)
    np.testing.assert_array_equal(sample_rows(path, ref, [49, 0, 7, 7]), old[[49, 0, 7, 7]])
    assert sample_rows(path, ref, []).shape == (0, 3)


@given(st.data())
def test_changed_rows_say_exactly_what_differs(data: st.DataObject) -> None:
    """Old rows come back if every run is replaced by the old rows that stood in its place."""
    before = data.draw(st.integers(1, 12))
    keep = st.integers(0, before - 1).flatmap(
        lambda first: st.builds(Keep, first=st.just(first), count=st.integers(1, before - first))
    )
    mix = st.builds(Mix, parents=st.just(()), rows=st.integers(1, 4))
    sources = data.draw(st.lists(keep | mix, min_size=1, max_size=6))
    new: list[int] = []
    for source in sources:
        kept = isinstance(source, Keep)
        new += range(source.first, source.first + source.count) if kept else [-1] * source.n_rows
    edit = RemapRows(tensor="t", n_rows_before=before, n_rows_after=len(new), rows=tuple(sources))
    back: list[int] = []
    at = 0
    for begin, count, was, replaced in changed_rows(edit):
        back += new[at:begin]
        back += range(was, was + replaced)
        at = begin + count
    assert back + new[at:] == list(range(before))
