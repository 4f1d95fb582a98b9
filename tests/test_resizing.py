"""Generated recipes give what transformers' own path gives, wherever that path is itself right."""

from __future__ import annotations

from pathlib import Path

import pytest

from oracles import resizing
from tiny_kinds import EIGHT

N_HERE = 6  # of the 300 recipes of the campaign, on all eight checkpoints


@pytest.mark.oracle5
@pytest.mark.slow
def test_recipes_equal_the_path_through_transformers(tmp_path: Path, tf5: Path) -> None:
    found = resizing.compare(tmp_path, tf5, range(19, 19 + N_HERE))  # 24 makes matrices grow
    assert found.unknown == ()
    assert found.pairs == N_HERE * len(EIGHT)
    assert set(found.checks) == {"ids", "flags", "rows", "encodings"}
    assert set(found.known) == {
        "save_pretrained turned the named unk, an ordinary piece, into an added token",
        "and so text that spells it is read as the token",
    }


def test_the_eight_differ_in_all_that_planning_sees() -> None:
    kinds = {(type(tiny).__name__, tiny.kind) for tiny in EIGHT.values()}
    assert len(kinds) == 4
    for kind in kinds:
        same = [tiny for tiny in EIGHT.values() if (type(tiny).__name__, tiny.kind) == kind]
        assert {tiny.tied for tiny in same} == {True, False}
        assert {tiny.shards for tiny in same} == {1, 2}
    assert {tiny.rows() == tiny.n_tokens() for tiny in EIGHT.values()} == {True, False}
