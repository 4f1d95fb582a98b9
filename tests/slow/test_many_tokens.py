"""A hundred thousand tokens at once, on a real vocabulary."""

from __future__ import annotations

from pathlib import Path

from test_qwen3 import assert_many


def test_100000_tokens_are_spliced_in_packed_into_columns_and_applied_from_files(
    data: Path, tmp_path: Path
) -> None:
    assert_many(100_000, data, tmp_path)
    assert (tmp_path / "plan.json").stat().st_size < 15_000_000  # with its recipe, 8 MB
