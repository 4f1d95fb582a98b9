"""`kill -9` at every call that changes the disk

Five checkpoint shapes, each applied with copies, hard links and shared blocks where the disk can,
applied over an earlier output, undone and run. strace kills the process at the entry of one write,
copy, sync, mode, link, rename, removal, lock or creating open after the other. Then the source must have its bits, the destination must be absent, older or
complete (by our own list of bytes and by `sha256sum -c`), and the same command, given again, must
end with the expected bytes and leave nothing hidden behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from figures import Figures
from needs import needs_strace
from servers import Point, Server, serving
from shapes import SHAPES, STAGE, Case, quick_case, snapshot

ORDER = 1
LOCK = [".out.tokengraft.lock"]


CASES = (
    *(("apply", mode) for mode in ("copy", "link", "auto")),
    *(("apply --replace", mode) for mode in ("copy", "link")),
    *(("undo", "auto"), ("run", "auto")),
)


@pytest.mark.parametrize(("action", "mode"), CASES, ids=[" ".join(case) for case in CASES])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_killed_run_damages_nothing(
    shape: str, action: str, mode: str, tmp_path: Path, figures: Figures
) -> None:
    needs_strace()
    with quick_case(tmp_path, shape, action, mode) as case, serving(tmp_path / "log") as server:
        points = changing_points(case, server)
        assert len(points) > 25
        if action == "run":  # it audits, plans and verifies around each: half of them on each shape
            points = points[list(SHAPES).index(shape) % 2 :: 2]
        kill_everywhere(case, server, points, figures)


def changing_points(case: Case, server: Server) -> list[Point]:
    case.reset()
    return [point for point in server.points(case.job, case.folder) if point.changes]


def kill_everywhere(case: Case, server: Server, points: Iterable[Point], figures: Figures) -> None:
    before = [snapshot(source) for source in case.sources]
    for point in points:
        case.reset()
        end = server.injected(case.job, point, "signal=KILL")
        assert end.was_killed, (point, end)
        figures.add("kill points")
        figures.add(f"destinations found {case.state()}")
        figures.add("dead stages left for the rerun", any(STAGE in name for name in case.left()))
        converge(case, server)
        assert [snapshot(source) for source in case.sources] == before, point
        figures.add("reruns that converged")
    figures.add("outputs damaged", 0)
    figures.add("sources changed", 0)


def converge(case: Case, server: Server) -> None:
    """Give the same command again: it makes the folder, or says that it is there."""
    there = case.state() == "complete"
    end = server.one(case.job)
    replaces = case.job.get("replace") or case.action == "run"
    assert end.code == (4 if there and not replaces else 0), end
    assert end.code == 0 or end.said["code"] == "TargetExists", end
    assert case.state() == "complete"
    # A second `run` finds OUT made and takes no lock; the file for it, empty, waits for one that does.
    assert case.left() in ([], LOCK if there and case.action == "run" else [])
