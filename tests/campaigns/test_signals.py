"""SIGINT and SIGTERM at every call that changes the disk, and at random times

The command line is interrupted: by strace at the entry of one changing call after the other, and by
`kill` at random moments. It must end with exit code 130 and leave no stage. If the folder had
appeared by then it is complete, and the message says so; otherwise the destination is absent or older.
Given again, the command converges.
"""

from __future__ import annotations

import os
import random
import shlex
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from figures import Figures
from needs import needs_strace
from servers import End, Point, Server, serving
from shapes import STAGE, Case, quick_case, snapshot
from test_kills import changing_points, converge

ORDER = 6
RANDOM = 40
SIGNALS = ("INT", "TERM")


def command(case: Case) -> Case:
    """The same job, given as a command line."""
    job = case.job
    if case.action == "undo":
        words = ["undo", job["out"], "-o", job["target"]]
    else:
        words = ["apply", job["plan"], "--base", job["base"], "-o", job["out"], "--copy", "copy"]
        words += ["--replace"] if job.get("replace") else []
    job |= {"do": "cli", "words": words, "said": str(case.folder / "said")}
    return case


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("action", ["apply", "apply --replace", "undo"])
def test_an_interrupted_run_leaves_no_stage(
    action: str, name: str, tmp_path: Path, figures: Figures
) -> None:
    needs_strace()
    shape = "two shards, untied"
    with quick_case(tmp_path, shape, action) as case, serving(tmp_path / "log") as server:
        command(case)
        interrupt_everywhere(case, server, changing_points(case, server), name, figures)


def interrupt_everywhere(
    case: Case, server: Server, points: Iterable[Point], name: str, figures: Figures
) -> None:
    before = [snapshot(source) for source in case.sources]
    for point in points:
        case.reset()
        end = server.injected(case.job, point, f"signal={name}")
        figures.add(f"interruptions by SIG{name} at a call")
        # The last call of all may have been the last thing that there was to interrupt.
        assert end.code == 130 or (end.code == 0 and case.state() == "complete"), (point, end)
        judge(case, end, server, figures)
        assert [snapshot(source) for source in case.sources] == before
    figures.add("stages left", 0)


def judge(case: Case, end: End, server: Server, figures: Figures) -> None:
    said = (case.folder / "said").read_text(errors="replace")
    state = case.state()
    assert not [name for name in case.left() if STAGE in name], (end, case.left())
    if (
        end.code == 130 and said
    ):  # a signal before the command line or after it has no words of ours
        assert "interrupted" in said, said
        assert ("had already been published" in said) == (state == "complete"), (state, said)
        figures.add("exit code 130")
    figures.add(f"destinations found {state}")
    figures.add("reruns that converged")
    again(case, server, complete=state == "complete")


def again(case: Case, server: Server, *, complete: bool) -> None:
    end = server.one(case.job)
    assert end.code == (4 if complete and case.job["words"][-1] != "--replace" else 0), end
    assert case.state() == "complete"
    assert case.left() == []


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("action", ["apply", "apply --replace", "undo"])
def test_an_interruption_at_any_time_leaves_no_stage(
    action: str, name: str, tmp_path: Path, figures: Figures
) -> None:
    with (
        quick_case(tmp_path, "with row growth", action) as case,
        serving(tmp_path / "log") as server,
    ):
        interrupt_at_random(command(case), server, name, RANDOM, figures)


def interrupt_at_random(
    case: Case, server: Server, name: str, count: int, figures: Figures
) -> None:
    chance = random.Random(name)
    started = time.monotonic()
    case.reset()
    assert server.one(case.job).code == 0
    longest = time.monotonic() - started
    for _ in range(count):
        case.reset()
        (pid,) = server.begin(case.job)
        server.open()
        time.sleep(chance.uniform(0, longest))
        with suppress(ProcessLookupError):  # it may have ended, and been waited for
            os.kill(pid, getattr(signal, f"SIG{name}"))
        (end,) = server.wait()
        figures.add(f"interruptions by SIG{name} at a random time")
        if end.code == -signal.SIGTERM:  # before or after the command: nothing of it was running
            assert case.state() in ("absent", "older", "complete")
            assert not [left for left in case.left() if STAGE in left]
            continue
        assert end.code in (0, 130), (shlex.join(case.job["words"]), end)
        judge(case, end, server, figures)


@pytest.mark.parametrize("action", ["apply", "apply --replace", "undo"])
def test_a_kill_at_any_time_damages_nothing(action: str, tmp_path: Path, figures: Figures) -> None:
    with (
        quick_case(tmp_path, "two shards, untied", action) as case,
        serving(tmp_path / "log") as server,
    ):
        kill_at_random(case, server, 2 * RANDOM, figures)


def kill_at_random(case: Case, server: Server, count: int, figures: Figures) -> None:
    chance = random.Random(count)
    for _ in range(count):
        case.reset()
        (pid,) = server.begin(case.job)
        server.open()
        time.sleep(chance.uniform(0, 0.03))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        server.wait()
        figures.add("kills by SIGKILL at a random time")
        converge(case, server)
