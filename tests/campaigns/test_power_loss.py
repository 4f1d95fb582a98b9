"""Power loss at every point of a run

Every write, sync, name, rename and removal of a run is recorded with its bytes. Then, for the disk
after each of them, unsynced bytes are kept, dropped, zeroed or torn and unsynced names kept or
dropped, in corners and at random: harsher than any file system. OUT must be absent, older or complete
in every such state, and complete in all of them once the run has said that it is done. Some states
are written down as real files, and the same command is run on them.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

import failing
import grafts
from disk import Disk, Recording, crashes
from figures import Figures
from shapes import SHAPES, STAGE
from tokengraft import applying
from tokengraft.applying import clearing
from tokengraft.applying.syscalls import SYSTEM, Syscalls
from tokengraft.errors import TargetExists

ORDER = 4
RERUN_EVERY = 997
Tree = Mapping[str, bytes]


@dataclass
class Scene:
    """A run to be recorded, and what may be found at its destination afterwards.

    Attributes:
        act: the run, through the system that is given.
        again: the same command, given after the crash.
    """

    place: Path
    act: Callable[[Syscalls], None]
    again: Callable[[], object]
    wanted: Tree
    older: Tree | None = None
    source: Path | None = None


@contextmanager
def scene(tmp_path: Path, shape: str, action: str) -> Iterator[Scene]:
    with failing.quick_folder(tmp_path) as folder:
        graft = grafts.tiny_graft(folder / "base", **SHAPES[shape])
        place = folder / "place"
        place.mkdir()
        out = place / "out"
        graft.apply(folder / "given", copy="copy")
        wanted, older = grafts.tree(folder / "given"), None
        mode, _, how = action.partition(" ")
        if how:
            grafts.patch_config(graft).apply(out, copy="copy")
            older = grafts.tree(out)

        def apply(system: Syscalls) -> None:
            graft.apply(out, copy=mode, replace=bool(how), syscalls=system)

        def undo(system: Syscalls) -> None:
            applying.undo(folder / "given", target=out, syscalls=system)

        if action == "undo":
            wanted = grafts.tree(folder / "base")
            act = undo
        elif action == "copy --replace, killed, then again":
            act = _killed_then(apply, apply)
        elif action == "copy --replace, killed, then doctor --clean":
            act = _killed_then(apply, lambda system: _clean(place, system))
        else:
            act = apply
        again: Callable[[], object] = lambda: act(SYSTEM)  # noqa: E731
        if how:
            again = lambda: apply(SYSTEM)  # noqa: E731
        source = folder / "base" if mode == "link" else None
        yield Scene(place, act, again, wanted, older, source)


class Killed(BaseException):
    """The run dies here; nothing of it tidies up."""


def _killed_then(
    first: Callable[[Syscalls], None], second: Callable[[Syscalls], None]
) -> Callable[[Syscalls], None]:
    """A run that is killed right after its exchange, and what comes after it."""

    def act(system: Syscalls) -> None:
        dead = []

        def wrap(name: str, call: failing.Call) -> failing.Call:
            def called(*args: object) -> object:
                if dead and name in ("open", "fsync"):
                    raise Killed
                if dead and name != "close":
                    return None  # the dead change nothing
                result = call(*args)
                if name == "exchange":
                    dead.append(name)
                    raise Killed
                return result

            return called

        with suppress(Killed):
            first(failing.system_with(wrap, system))
        second(system)

    return act


def _clean(place: Path, system: Syscalls) -> None:
    for leftover in clearing.leftovers(place):
        assert clearing.clear(leftover, system)


ACTIONS = (
    *("copy", "link", "undo", "copy --replace", "link --replace"),
    *("copy --replace, killed, then again", "copy --replace, killed, then doctor --clean"),
)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_power_cut_leaves_the_old_or_the_new(
    shape: str, action: str, tmp_path: Path, figures: Figures
) -> None:
    with scene(tmp_path, shape, action) as now:
        lose_power(now, figures, random.Random(f"{shape} {action}"))
    assert figures.counts["power-loss states"] > 500


def lose_power(
    now: Scene, figures: Figures, chance: random.Random, rerun_every: int = RERUN_EVERY
) -> None:
    """Cut the power after every operation of a run, and look at what is there."""
    recording = Recording.of(now.place, unsynced=[now.source] if now.source else [])
    before = len(recording.ops)
    now.act(recording.system())
    assert now.place.joinpath("out").exists()
    number = 0
    for n_ops in range(before, len(recording.ops) + 1):
        figures.add("points of power loss")
        for fates in crashes(recording, n_ops, chance):
            number += 1
            disk = recording.after(n_ops, fates)
            found = _state(disk, now)
            figures.add("power-loss states")
            figures.add(f"of these with OUT {found}")
            if n_ops == len(recording.ops):
                assert found == "complete", "the run had said that it was done"
                figures.add("states after a run had said that it was done")
            if number % rerun_every == 0:
                _converges(disk, now)
                figures.add("reruns on such a disk that converged")
    figures.add("outputs damaged", 0)


def _state(disk: Disk, now: Scene) -> str:
    found = disk.tree("out")
    if found is not None:  # drafts that were never renamed are nobody's
        found = {name: data for name, data in found.items() if not name.startswith(".")}
    if found is None:
        assert now.older is None, "neither the old nor the new is there"
        return "absent"
    if now.older is not None and found == now.older:
        return "older"
    names = sorted(name for name in now.wanted if found.get(name) != now.wanted[name])
    assert found == now.wanted, f"damaged: {names}"
    return "complete"


def _converges(disk: Disk, now: Scene) -> None:
    for path in now.place.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    disk.restore(now.place)
    with suppress(TargetExists):
        now.again()
    assert grafts.tree(now.place / "out") == now.wanted
    assert not [name for name in failing.hidden(now.place) if STAGE in name]


def test_a_power_cut_leaves_the_old_document_or_the_new(tmp_path: Path, figures: Figures) -> None:
    lose_power(document(tmp_path), figures, random.Random("document"))


def document(tmp_path: Path) -> Scene:
    """A plan written over an older one: a file alone, shown to the model as a folder's content."""
    place = tmp_path / "place"
    (place / "out").mkdir(parents=True)
    path = place / "out" / "plan.json"
    path.write_bytes(b"old" * 2000)

    def act(system: Syscalls) -> None:
        applying.write_document(path, b"new" * 4000, system=system)

    wanted, older = {"plan.json": b"new" * 4000}, {"plan.json": b"old" * 2000}
    return Scene(place, act, lambda: act(SYSTEM), wanted, older)
