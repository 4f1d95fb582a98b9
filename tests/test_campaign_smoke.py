"""A sample of every campaign in tests/campaigns: a few points each, so that it cannot rot unseen."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

import campaign_page
import mutants
import test_errors
import test_full_disks
import test_integrity
import test_mutants
import test_power_loss
import test_races
import test_signals
from figures import Figures
from needs import needs_strace
from servers import serving
from shapes import quick_case
from test_kills import changing_points, kill_everywhere

SHAPE = "single file, tied"
RICHEST = "a second matrix"  # two shards, an index, and a tensor that the base does not have


def test_the_page_of_figures_is_what_the_results_make() -> None:
    assert campaign_page.main(["--check"]) == 0


def test_a_killed_run_damages_nothing(tmp_path: Path) -> None:
    needs_strace()
    with (
        quick_case(tmp_path, RICHEST, "apply --replace") as case,
        serving(tmp_path / "log") as server,
    ):
        points = changing_points(case, server)
        assert len(points) > 60
        late = [p for p in points if p.call in ("renameat2", "unlinkat")]
        kill_everywhere(case, server, (*points[::12], *late[::4]), Figures())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EINTR], ids=errno.errorcode.get)
def test_a_refused_call_damages_nothing(code: int, tmp_path: Path) -> None:
    with test_errors.refusing(tmp_path, SHAPE, "apply --replace") as (case, server):
        n_calls = test_errors.calls(case, server)
        test_errors.refuse_each(case, server, range(3, n_calls, 8), code, Figures())
        test_errors.write_little(case, server, 7, Figures())


def test_a_power_cut_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    action, figures = "copy --replace, killed, then doctor --clean", Figures()
    with test_power_loss.scene(tmp_path, SHAPE, action) as now:
        test_power_loss.lose_power(now, figures, random.Random(1), rerun_every=400)
    assert figures.counts["power-loss states"] > 500
    assert figures.counts["reruns on such a disk that converged"] > 0


def test_races_have_one_winner_and_notice_an_edited_source(tmp_path: Path) -> None:
    with quick_case(tmp_path, SHAPE, "apply") as case, serving(tmp_path / "log") as server:
        test_races.race_runs(case, server, 4, 3, Figures())
        test_races.race_cleaning(case, server, 3, Figures())
        test_races.race_making(case, server, 4, Figures(), holds=True)
        test_races.race_edits(case, server, "in place", 4, Figures())


def test_an_interrupted_run_leaves_no_stage(tmp_path: Path) -> None:
    needs_strace()
    with (
        quick_case(tmp_path, SHAPE, "apply --replace") as case,
        serving(tmp_path / "log") as server,
    ):
        test_signals.command(case)
        points = changing_points(case, server)
        chosen = [p for p in points if p.call == "renameat2"] + points[::25]
        test_signals.interrupt_everywhere(case, server, chosen, "TERM", Figures())


def test_a_full_disk_damages_nothing(tmp_path: Path) -> None:
    figures = Figures()
    with quick_case(tmp_path, SHAPE, "apply") as case, serving(tmp_path / "log") as server:
        test_full_disks.can_mount(case, server)
        for pages in (1, 8, 12):
            test_full_disks.fill(case, server, f"size={4 * pages}k", figures, unasked=True)
    assert figures.counts["disks that were too small"] == 3


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    with test_integrity.finished(tmp_path, SHAPE) as out:
        test_integrity.flip_at_random(out, 30, random.Random(2), Figures())


@pytest.mark.parametrize("mutant", ["folders are not synced", "a failed run leaves its stage"])
def test_a_campaign_objects_to_a_mutant(mutant: str) -> None:
    assert set(test_mutants.NOTICED) == set(mutants.MUTANTS)
    with pytest.raises(AssertionError):
        test_mutants.NOTICED[mutant][1](mutant)
