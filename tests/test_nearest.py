"""Where rows lie among others: the same as numpy finds with everything in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from tokengraft.formats.byte_ranges import RangeRows
from tokengraft.rows import nearest as module
from tokengraft.rows.nearest import axes, directions, nearest, sample_ids
from tokengraft.tensors import TensorRef

V, D = 90, 12


@dataclass
class Bytes:
    """A file in memory that remembers the longest read."""

    data: bytes
    longest: int = 0

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self, begin: int, end: int) -> bytes:
        self.longest = max(self.longest, end - begin)
        return self.data[begin:end]


def matrix(rows_VD: NDArray[np.float32]) -> tuple[RangeRows, Bytes]:
    data = Bytes(rows_VD.astype("<f4").tobytes())
    ref = TensorRef("rows", "F32", rows_VD.shape, "file", 0, len(data.data))
    return RangeRows(data, ref), data


@pytest.fixture
def rows_VD() -> NDArray[np.float32]:
    rows = np.random.default_rng(3).standard_normal((V, D)).astype(np.float32)
    rows[7] = 0
    rows[8] = np.nan
    rows[11] = 3 * rows[10]
    return rows


@pytest.mark.parametrize("block_bytes", [48, 48 * 7, 1 << 20])
def test_neighbours_do_not_depend_on_blocks_and_no_matrix_is_read_at_once(
    rows_VD: NDArray[np.float32], block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", block_bytes)
    rows, data = matrix(rows_VD)
    found = nearest(rows, [10, 7, 40, 8], count=5, n_rows=80)
    assert (found[1], found[3]) == ([], []), "zeros and what is no number have no direction"
    unit = np.nan_to_num(rows_VD[:80].astype(np.float64))
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-30)
    for own, near in ((10, found[0]), (40, found[2])):
        cosines = unit @ unit[own]
        cosines[own] = -2
        expected = np.argsort(-cosines)[:5]
        assert [i for i, _ in near] == list(expected)
        assert [c for _, c in near] == pytest.approx(list(cosines[expected]), abs=1e-6)
    assert found[0][0] == (11, pytest.approx(1.0))
    if block_bytes < rows_VD.nbytes:
        assert data.longest < rows_VD.nbytes


def test_axes_are_those_of_a_singular_value_decomposition(rows_VD: NDArray[np.float32]) -> None:
    stretched = directions(rows_VD.astype(np.float64) * np.linspace(4, 1, D))
    found = axes(stretched)
    assert found is not None
    _left, sizes, right = np.linalg.svd(stretched - stretched.mean(axis=0), full_matrices=False)
    assert np.abs(found.axes_D2.T @ right[:2].T) == pytest.approx(np.eye(2), abs=1e-4)
    assert found.share == pytest.approx((sizes[:2] ** 2).sum() / (sizes**2).sum(), abs=1e-6)
    assert found.place(stretched).mean(axis=0) == pytest.approx([0, 0], abs=1e-12)


def test_rows_that_do_not_differ_on_two_axes_have_no_map() -> None:
    assert axes(np.ones((5, 4))) is None
    assert axes(np.zeros((2, 4))) is None
    assert axes(np.outer(np.arange(9.0), np.ones(4))) is None


def test_a_sample_is_spread_over_old_tokens_alone(
    rows_VD: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SAMPLE", 10)
    rows, _ = matrix(rows_VD)
    ids = sample_ids(rows, n_rows=80, without=frozenset(range(70, 80)))
    assert len(ids) == 10 == len(set(ids))
    assert (min(ids), max(ids)) == (0, 63)
    monkeypatch.setattr(module, "SAMPLE_BYTES", 8 * D * 3)
    assert len(sample_ids(rows, n_rows=80, without=frozenset())) == 3
    assert sample_ids(rows, n_rows=2, without=frozenset({0, 1})) == []
