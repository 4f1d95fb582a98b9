"""A small share of the campaign: mutants that know nothing of rules are found by some rule."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaign import campaign, findings, texts
from mutations import mutate

import tiny

N_MUTANTS = 60


def test_the_same_seed_makes_the_same_mutant(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base")
    one, two = (mutate(base, tmp_path / name, 7) for name in ("a", "b"))
    assert one == two
    for path in (tmp_path / "a").glob("*.json"):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_the_campaign_asks_with_five_hundred_texts() -> None:
    assert len(texts()) == 500
    assert texts() == texts()


def test_no_mutant_breaks_the_audit_itself(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", legacy=True)
    for seed in range(N_MUTANTS):
        mutate(base, tmp_path / str(seed), seed)
        findings(tmp_path / str(seed))  # a finding or a refusal, never another error


@pytest.mark.oracle4
@pytest.mark.oracle5
def test_mutants_that_matter_are_found(tf4: Path, tf5: Path, tmp_path: Path) -> None:
    bases = [tiny.build(tmp_path / "bpe"), tiny.build(tmp_path / "sp", kind="byte-fallback")]
    mutants = list(campaign(bases, range(N_MUTANTS), [str(tf4), str(tf5)], tmp_path))
    matter = [mutant for mutant in mutants if mutant.matters]
    assert len(matter) >= N_MUTANTS // 5
    assert [] == [(m.base, m.seed, m.change) for m in matter if not m.found]
