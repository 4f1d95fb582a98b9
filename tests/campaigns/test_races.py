"""Two to eight runs for one destination, and others who meddle

All processes start at one moment. Runs for one destination: one makes it, the others are told that
it is held or there (exit code 4); with `--replace` each makes it or is told. `doctor --clean` beside a
run never takes its stage away. Somebody makes a folder at the destination meanwhile: it stays as it
is, or comes too late. Somebody edits the source meanwhile: nothing appears (exit code 4), or what
appears is the source as it was before.
"""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

import grafts
from figures import Figures
from servers import End, Server, serving
from shapes import SHAPES, STAGE, Case, quick_case

ORDER = 5
RACES = 12
WAYS = ("append", "in place", "truncate", "replace", "remove", "touch")
LOCKED = {"TargetLocked", "TargetExists"}


@pytest.mark.parametrize("number", [2, 3, 4, 8])
@pytest.mark.parametrize("action", ["apply", "apply --replace", "undo"])
def test_runs_for_one_destination_never_mix(
    action: str, number: int, tmp_path: Path, figures: Figures
) -> None:
    shape = list(SHAPES)[number % 4]
    with quick_case(tmp_path, shape, action) as case, serving(tmp_path / "log") as server:
        race_runs(case, server, number, RACES, figures)
    assert figures.counts["runs told that another one holds OUT or made it"] > 0


def race_runs(case: Case, server: Server, number: int, races: int, figures: Figures) -> None:
    for _ in range(races):
        case.reset()
        ends = server.do(*[case.job] * number)
        won = [end for end in ends if end.code == 0]
        figures.add("races of runs")
        figures.add("runs that made OUT", len(won))
        figures.add("runs told that another one holds OUT or made it", number - len(won))
        for end in ends:
            assert end.code in (0, 4), end
            assert end.code == 0 or end.said["code"] in LOCKED, end
        assert won if case.older else len(won) == 1, ends
        assert case.state() == "complete"
        assert case.left() == []
    figures.add("outputs damaged or mixed", 0)


@pytest.mark.parametrize("action", ["apply", "apply --replace"])
def test_cleaning_takes_no_living_stage(action: str, tmp_path: Path, figures: Figures) -> None:
    with (
        quick_case(tmp_path, "two shards, untied", action) as case,
        serving(tmp_path / "log") as server,
    ):
        race_cleaning(case, server, 2 * RACES, figures)


def race_cleaning(case: Case, server: Server, races: int, figures: Figures) -> None:
    place = str(case.target.parent)
    for number in range(races):
        case.reset()
        dead = case.target.with_name(f".out{STAGE}{'0' * 16}")
        if number % 2:
            dead.mkdir()
            (dead / "config.json").write_text("{")
        clean = {"do": "clean", "folder": place, "times": 40, "pause": 0.001}
        run, *cleaners = server.do(case.job, clean, clean)
        figures.add("races of a run and `doctor --clean`")
        assert {end.code for end in cleaners} == {0}, cleaners
        if run.code != 0:  # the cleaner held the lock for a moment
            assert run.said["code"] == "TargetLocked", run
            assert case.state() in ("absent", "older")
            run = server.one(case.job)
        assert run.code == 0, run
        assert case.state() == "complete"
        assert case.left() == []


@pytest.mark.parametrize("holds", [False, True], ids=["an empty folder", "somebody's work"])
@pytest.mark.parametrize("action", ["apply", "apply --replace"])
def test_a_folder_that_appears_meanwhile_is_not_touched(
    action: str, holds: bool, tmp_path: Path, figures: Figures
) -> None:
    with (
        quick_case(tmp_path, "single file, tied", action) as case,
        serving(tmp_path / "log") as server,
    ):
        race_making(case, server, 2 * RACES, figures, holds=holds)


def race_making(case: Case, server: Server, races: int, figures: Figures, *, holds: bool) -> None:
    chance = random.Random(1)
    for _ in range(races):
        case.reset()
        if case.older:
            shutil.rmtree(case.target)
        after = chance.uniform(0, 0.03)
        make = {"do": "make", "out": str(case.target), "after": after, "file": holds}
        run, other = server.do(case.job, make)
        figures.add("races with somebody who makes a folder at OUT")
        if other.code == 4:
            assert run.code == 0, run
            assert case.state() == "complete"
            continue
        thesis = case.target / "thesis.tex"
        if holds:
            kept = thesis.exists() and thesis.read_text() == "years of work"
        else:
            kept = not any(case.target.iterdir()) or case.job.get("replace")
        assert kept, "somebody's folder was replaced"
        figures.add("of these came before the run, and stayed")
        if holds or not case.job.get("replace"):
            assert run.said.get("code") == "TargetExists", run


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", ["single file, tied", "two shards, untied"])
def test_a_source_that_changes_is_noticed(
    shape: str, way: str, tmp_path: Path, figures: Figures
) -> None:
    with quick_case(tmp_path, shape, "apply") as case, serving(tmp_path / "log") as server:
        race_edits(case, server, way, RACES, figures)


def race_edits(case: Case, server: Server, way: str, races: int, figures: Figures) -> None:
    chance = random.Random(way)
    base = case.folder / "base"
    names = sorted(grafts.tree(base))
    kept = case.folder / "kept"
    shutil.copytree(base, kept)
    for _ in range(races):
        case.reset()
        shutil.rmtree(base)
        shutil.copytree(kept, base)
        name = chance.choice([*names, *(n for n in names if n.endswith(".safetensors"))])
        edit = {"do": "edit", "path": str(base / name), "way": way}
        run, editor = server.do(
            {**case.job, "anew": True}, {**edit, "after": chance.uniform(0, 0.02)}
        )
        figures.add("races with an editor of the source")
        assert editor.code == 0, editor
        judge_edit(case, run, figures)


def judge_edit(case: Case, run: End, figures: Figures) -> None:
    if run.code == 0:
        assert case.state() == "complete", "neither the source as it was nor nothing"
        return
    assert run.code in (4, 5), run
    assert run.said["code"] in ("SourceChanged", "StalePlan", "ReadFailed"), run
    assert case.state() == "absent"
    assert case.left() == []
    figures.add("of these refused, with nothing published")
