"""Disks that are really full

A file system in memory of a stepped size, or with a stepped number of files, is mounted where OUT is
to be, seen by the run alone; the room is asked for first, and in a second round it is not, so that
the disk itself refuses. Also a limit of the size of a file (`ulimit -f`). The run must end with exit
code 5 and leave nothing; once the disk has grown, the same run must end with the expected bytes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from figures import Figures
from servers import End, Server, serving
from shapes import SHAPES, Case, quick_case
from test_kills import LOCK

ORDER = 3
STEPS = 10
PAGE = 4096


@pytest.mark.parametrize("unasked", [False, True], ids=["asked", "not asked"])
@pytest.mark.parametrize("action", ["apply", "undo"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_full_disk_damages_nothing(
    shape: str, action: str, unasked: bool, tmp_path: Path, figures: Figures
) -> None:
    with quick_case(tmp_path, shape, action) as case, serving(tmp_path / "log") as server:
        can_mount(case, server)
        needed = sum(-(-len(data) // PAGE) for data in case.wanted.values()) + 8
        for step in range(STEPS):
            pages = max(1, needed * step // (STEPS - 2))
            fill(case, server, f"size={pages * 4}k", figures, unasked=unasked)
        assert 0 < figures.counts["disks that were too small"] < STEPS


@pytest.mark.parametrize("shape", SHAPES)
def test_a_disk_for_too_few_files_damages_nothing(
    shape: str, tmp_path: Path, figures: Figures
) -> None:
    with quick_case(tmp_path, shape, "apply") as case, serving(tmp_path / "log") as server:
        can_mount(case, server)
        for n_files in range(2, len(case.wanted) + 6):
            fill(case, server, f"size=64m,nr_inodes={n_files}", figures)
        assert figures.counts["disks that were too small"] > 5


def can_mount(case: Case, server: Server) -> None:
    """Find out whether this machine lets us have a disk of our own."""
    end = server.one(_job(case, "size=64m"))
    if end.said.get("code") == "Bug" and "Operation not permitted" in end.said["trace"]:
        pytest.skip("needs a mount namespace, for disks that are really full")
    assert end.code == 0, end


def _job(case: Case, disk: str, *, unasked: bool = False) -> dict[str, object]:
    place = str(case.target.parent)
    grow = "size=64m,nr_inodes=1000"
    return {
        **case.job,
        "mount": place,
        "look": place,
        "disk": disk,
        "grow": grow,
        "unasked": unasked,
    }


def fill(case: Case, server: Server, disk: str, figures: Figures, *, unasked: bool = False) -> None:
    end = server.one(_job(case, disk, unasked=unasked))
    figures.add("stepped disks")
    judge(case, end, disk)
    figures.add("disks that were too small", "first" in end.said)


def judge(case: Case, end: End, disk: str) -> None:
    """What the run said at first, what it left then, and what it made once there was room."""
    assert end.code == 0, (disk, end)
    if "first" in end.said:
        first = end.said["first"]
        assert (first["exit"], first["code"]) == (5, "DiskFull"), (disk, first)
        assert first["subject"], first
        assert first["left"] in ([], LOCK), (disk, first)
    wanted = {f"out/{name}": hashlib.sha256(data).hexdigest() for name, data in case.wanted.items()}
    assert end.said["found"] == wanted, disk


@pytest.mark.parametrize("action", ["apply", "apply --replace", "undo"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_limit_of_the_size_of_a_file_damages_nothing(
    shape: str, action: str, tmp_path: Path, figures: Figures
) -> None:
    with quick_case(tmp_path, shape, action) as case, serving(tmp_path / "log") as server:
        largest = max(len(data) for data in case.wanted.values())
        for limit in range(0, largest, max(1, largest // 12)):
            case.reset()
            end = server.one({**case.job, "max_file": limit})
            figures.add("limits of the size of a file")
            assert (end.code, end.said.get("code")) == (5, "DiskFull"), (limit, end)
            assert case.state() in ("absent", "older")
            assert case.left() in ([], LOCK)
            assert server.one(case.job).code == 0
            assert case.state() == "complete"
            assert case.left() == []
