"""Malformed files are read or refused, never more: a sample of the campaign of tests/campaigns."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzzed import Reader
from fuzzed_all import FORMATS, readers


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Reader]]:
    with readers(tmp_path_factory.mktemp("fuzz")) as made:
        yield made


@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**64 - 1))
@pytest.mark.parametrize("name", FORMATS)
def test_a_malformed_file_is_read_or_refused(
    name: str, seed: int, found: dict[str, Reader]
) -> None:
    reader = found[name]
    reader.run(reader.make(Random(seed)))


def test_valid_files_are_read_and_every_format_is_there(found: dict[str, Reader]) -> None:
    assert set(found) == set(FORMATS)
    assert len(FORMATS) == 15
