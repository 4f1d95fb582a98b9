"""Tests that draw examples, with ten times as many."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples_drawn import TIMES

TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_properties.py", "test_words.py", "test_extending.py"])
def test_what_holds_for_few_examples_holds_for_many(name: str, data: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "not transformers", TESTS / name],
        env={**os.environ, TIMES: "10"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
