"""Old rows are widened a few at a time, and the sums over them are what numpy makes of all at once."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from tokengraft.training import old_rows


@pytest.mark.parametrize("block_rows", [7, 4096])
def test_sums_over_blocks_are_those_over_all(
    block_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old_rows, "BLOCK_ROWS", block_rows)
    rows_VD = np.random.default_rng(0).standard_normal((100, 5)).astype(np.float32) + 3
    exact = rows_VD.astype(np.float64)
    some = [*range(0, 100, 3), 5]
    assert old_rows.mean_row(rows_VD) == pytest.approx(exact.mean(axis=0))
    assert old_rows.mean_row(rows_VD, some) == pytest.approx(exact[some].mean(axis=0))
    assert old_rows.spread(rows_VD, some) == pytest.approx(np.cov(exact[some], rowvar=False))
    few = old_rows.rows_at(rows_VD, (4, 4, 9))
    assert few.dtype == np.float64
    assert np.array_equal(few, exact[[4, 4, 9]])


def test_a_large_matrix_is_not_copied() -> None:
    rows_VD = np.random.default_rng(0).standard_normal((100_000, 32)).astype(np.float32)
    tracemalloc.start()
    try:
        old_rows.spread(rows_VD, np.arange(len(rows_VD)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < rows_VD.nbytes / 2, "in float64 all of it would be twice its bytes"
