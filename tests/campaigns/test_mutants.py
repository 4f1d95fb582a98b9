"""The protocol with one step taken out

Each mutant is the code without one sync, lock, check, rename or removal, or with two steps
exchanged. It goes through the campaigns (power loss, races, refused calls, kills) until one of them
objects; a mutant to which nobody objects would mean that a campaign proves nothing.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import mutants
import test_errors
import test_kills
import test_power_loss
import test_races
from figures import Figures
from needs import needs_compiler, needs_strace
from servers import Server, serving
from shapes import Case, quick_case

ORDER = 7
HERE = Path(__file__).parent
SHAPE = "single file, tied"
# What the campaign of power loss says of a disk that breaks a promise.
OBJECTIONS = (
    *("AssertionError: damaged", "AssertionError: the run had said that it was done"),
    "AssertionError: neither the old nor the new",
)


def by_power_loss(mutant: str, action: str) -> None:
    """Run in a process of its own, whose code is the mutant's."""
    code = f"import test_mutants; test_mutants.lose_power_mutated({mutant!r}, {action!r})"
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), *sys.path]),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        if not any(words in done.stderr for words in OBJECTIONS):
            raise LookupError(done.stderr)
        raise AssertionError(done.stderr[-2000:])


def lose_power_mutated(mutant: str, action: str) -> None:
    mutants.install(mutants.MUTANTS[mutant])
    with tempfile.TemporaryDirectory() as folder:
        if action == "document":
            scene = test_power_loss.document(Path(folder))
            test_power_loss.lose_power(scene, Figures(), random.Random(1))
            return
        with test_power_loss.scene(Path(folder), SHAPE, action) as now:
            test_power_loss.lose_power(now, Figures(), random.Random(1))


def _mutate(case: Case, server: Server, mutant: str) -> None:
    """Let the job run mutated; undisturbed it goes as well as ever."""
    case.job["mutant"] = mutant
    case.reset()
    end = server.one(case.job)
    if end.code != 0:
        raise LookupError(end)


def by_races(mutant: str, action: str, race: Callable[..., None], **how: object) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        quick_case(Path(folder), SHAPE, action) as case,
        serving(Path(folder) / "log") as server,
    ):
        _mutate(case, server, mutant)
        race(case, server, **how, figures=Figures())


def by_kills(mutant: str, action: str) -> None:
    needs_strace()
    with (
        tempfile.TemporaryDirectory() as folder,
        quick_case(Path(folder), SHAPE, action) as case,
        serving(Path(folder) / "log") as server,
    ):
        points = test_kills.changing_points(case, server)
        _mutate(case, server, mutant)
        test_kills.kill_everywhere(case, server, points[-8:], Figures())
        test_kills.kill_everywhere(case, server, points[5:9], Figures())


def by_errors(mutant: str, action: str) -> None:
    needs_compiler()
    with (
        tempfile.TemporaryDirectory() as folder,
        test_errors.refusing(Path(folder), SHAPE, action) as (case, server),
    ):
        _mutate(case, server, mutant)
        test_errors.refuse_each(case, server, range(20, 40), 28, Figures())


Trial = Callable[[str], None]


def _making(mutant: str, *, action: str, holds: bool) -> None:
    by_races(mutant, action, test_races.race_making, races=400, holds=holds)


NOTICED: Mapping[str, tuple[str, Trial]] = {
    "files are not synced": ("power loss", lambda m: by_power_loss(m, "copy")),
    "files are not synced before publishing": ("power loss", lambda m: by_power_loss(m, "undo")),
    "the manifest is not synced": ("power loss", lambda m: by_power_loss(m, "copy")),
    "folders are not synced": ("power loss", lambda m: by_power_loss(m, "copy")),
    "folders are synced after the rename": ("power loss", lambda m: by_power_loss(m, "copy")),
    "the parent folder is not synced": ("power loss", lambda m: by_power_loss(m, "copy")),
    "linked files are not synced": ("power loss", lambda m: by_power_loss(m, "link")),
    "a document is not synced before its rename": (
        "power loss",
        lambda m: by_power_loss(m, "document"),
    ),
    "a document's name is not synced": ("power loss", lambda m: by_power_loss(m, "document")),
    "dead stages go before the exchange is on disk": (
        "power loss",
        lambda m: by_power_loss(m, "copy --replace, killed, then doctor --clean"),
    ),
    "the rename replaces what is there": (
        "races",
        lambda m: _making(m, action="apply", holds=False),
    ),
    "no lock is taken": (
        "races",
        lambda m: by_races(m, "apply", test_races.race_runs, number=4, races=20),
    ),
    "a folder is replaced whatever it holds": (
        "races",
        lambda m: _making(m, action="apply --replace", holds=True),
    ),
    "a source that changes is not noticed": (
        "races",
        lambda m: by_races(m, "apply", test_races.race_edits, way="in place", races=200),
    ),
    "dead stages are not removed": ("kills", lambda m: by_kills(m, "apply")),
    "a replaced folder is not removed": ("kills", lambda m: by_kills(m, "apply --replace")),
    "a failed run leaves its stage": ("refused calls", lambda m: by_errors(m, "apply")),
}


@pytest.mark.parametrize("mutant", mutants.MUTANTS)
def test_a_campaign_objects_to_the_mutant(mutant: str, figures: Figures) -> None:
    campaign, trial = NOTICED[mutant]
    with pytest.raises(AssertionError):
        trial(mutant)
    figures.add("mutants")
    figures.add(f"noticed by {campaign}")


def test_the_same_trials_pass_without_a_mutant() -> None:
    """What objects to a mutant objects to nothing else."""
    for action in ("copy", "undo", "link", "copy --replace, killed, then doctor --clean"):
        with (
            tempfile.TemporaryDirectory() as folder,
            test_power_loss.scene(Path(folder), SHAPE, action) as now,
        ):
            test_power_loss.lose_power(now, Figures(), random.Random(1))
