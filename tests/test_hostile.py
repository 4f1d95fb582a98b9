"""Hostile files and requests end as was promised, through the command line, within their limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from attacks import registry
from attacks.every import every_attack
from attacks.registry import Attack, Runner

ALL = every_attack()
# Every second one; the others, and those that take long, are left for the campaign.
ATTACKS = {a.name: a for a in ALL[::2] if a.cpu_seconds <= registry.CPU_SECONDS}


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with registry.running() as made:
        yield made


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_ends_as_promised(attack: Attack, runner: Runner, tmp_path: Path) -> None:
    _, complaints = registry.carry_out(attack, runner, tmp_path)
    assert [] == complaints


def test_there_are_enough_attacks_and_no_two_of_one_name() -> None:
    names = [attack.name for attack in ALL]
    assert len(names) == len(set(names)) >= 60
