"""Every call that changes or opens something, refused once

A small library in front of the C library refuses one open, write, copy, sync, close, mode, link,
rename, removal or lock after the other: disk full, input/output error, permission denied, too many
open files, interrupted system call; once, or from there on. Also writes that take a few bytes at a
time, and a disk that takes half of a write and then nothing more. An interrupted call (but for the
close of a file that was only read) and a short write must change nothing. Everything else must end with exit code 5, the file and the cause; with
the destination absent, older or complete; with nothing hidden left. Then the same command, given
again, must end with the expected bytes.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from figures import Figures
from needs import needs_compiler
from servers import End, Server, serving
from shapes import SHAPES, Case, quick_case, snapshot
from test_kills import LOCK, converge

ORDER = 2
ONCE, FOREVER, SHORT, TORN = 1, 2, 3, 4
CODES = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE, errno.EINTR)
# A run goes well without them: the lock's file is only a place to hold it, and what closes has
# closed. Where a copy inside the kernel or a shared block is refused, bytes are copied by hand.
NEEDLESS = {"unlinkat", "close", "openat", "copy_file_range"}


def library(folder: Path) -> Path:
    """Compile the library that refuses."""
    compiler = needs_compiler()
    made = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    words = [compiler, "-O1", "-Wall", "-shared", "-fPIC", "-o", str(made), str(source), "-ldl"]
    subprocess.run(words, check=True)
    return made


@contextmanager
def refusing(tmp_path: Path, shape: str, action: str) -> Iterator[tuple[Case, Server]]:
    shim = library(tmp_path)
    with (
        quick_case(tmp_path, shape, action) as case,
        serving(tmp_path / "log", preload=shim) as server,
    ):
        yield case, server


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
@pytest.mark.parametrize("action", ["apply", "apply --replace", "undo"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_refused_call_damages_nothing(
    shape: str, action: str, code: int, tmp_path: Path, figures: Figures
) -> None:
    with refusing(tmp_path, shape, action) as (case, server):
        # Every call on the first shape; on the others every third, beginning elsewhere each time.
        begin, step = (1, 1) if shape == next(iter(SHAPES)) else (1 + CODES.index(code) % 3, 3)
        numbers = range(begin, calls(case, server) + 1, step)
        assert len(numbers) > 15
        refuse_each(case, server, numbers, code, figures)


def calls(case: Case, server: Server) -> int:
    """How many calls a run makes that can be refused."""
    case.reset()
    end = server.one({**case.job, "shim": [ONCE, 0, 0]})
    assert end.code == 0, end
    return int(end.said["calls"])


def refuse_each(
    case: Case, server: Server, numbers: Iterable[int], code: int, figures: Figures
) -> None:
    before = [snapshot(source) for source in case.sources]
    for number in numbers:
        _refuse(case, server, [ONCE, number, code], figures)
        if code != errno.EINTR and number % 8 == 0:
            _refuse(case, server, [FOREVER, number, code], figures)
        assert [snapshot(source) for source in case.sources] == before, number
    figures.add("outputs damaged", 0)
    figures.add("sources changed", 0)


def _refuse(case: Case, server: Server, shim: list[int], figures: Figures) -> None:
    mode, _, code = shim
    case.reset()
    end = server.one({**case.job, "shim": shim})
    figures.add("injected errors")
    figures.add(f"of these {errno.errorcode[code]}")
    call = end.said["failed"]
    state = case.state()
    if code == errno.EINTR and call != "close":
        assert end.code == 0, (shim, end)
    if end.code == 0:
        assert state == "complete"
        assert code == errno.EINTR or call in NEEDLESS, (shim, end)
        assert case.left() in ([], LOCK), (shim, end)
    else:
        judge_error(end, code)
        published = end.said["summary"].startswith("published")
        assert published == (state == "complete"), (shim, end)
        assert mode == FOREVER or published or case.left() in ([], LOCK), (shim, end)
        figures.add("runs that ended with exit code 5, the file and the cause")
    converge(case, server)
    figures.add("reruns that converged")


def judge_error(end: End, code: int) -> None:
    """Exit code 5, a kind that fits, the file, and the system's own words for the cause."""
    assert end.code == 5, end
    assert end.said["subject"], end
    kinds = {"WriteFailed", "ReadFailed"} if code != errno.ENOSPC else {"DiskFull", "ReadFailed"}
    if end.said["summary"].startswith("published"):
        kinds = {"WriteFailed"}
    assert end.said["code"] in kinds, end
    assert os.strerror(code) in end.said["detail"], end


@pytest.mark.parametrize("action", ["apply", "undo"])
@pytest.mark.parametrize("shape", SHAPES)
def test_short_writes_change_nothing(
    shape: str, action: str, tmp_path: Path, figures: Figures
) -> None:
    with refusing(tmp_path, shape, action) as (case, server):
        for limit in (1, 7, 4096):
            write_little(case, server, limit, figures)


def write_little(case: Case, server: Server, limit: int, figures: Figures) -> None:
    case.reset()
    end = server.one({**case.job, "shim": [SHORT, 0, limit]})
    assert end.code == 0, end
    assert case.state() == "complete"
    assert case.left() == []
    figures.add("runs in which every write was short")


@pytest.mark.parametrize("action", ["apply", "apply --replace", "undo"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_disk_that_fills_up_within_a_write_damages_nothing(
    shape: str, action: str, tmp_path: Path, figures: Figures
) -> None:
    with refusing(tmp_path, shape, action) as (case, server):
        for number in range(1, calls(case, server) + 1, 3):
            case.reset()
            end = server.one({**case.job, "shim": [TORN, number, errno.ENOSPC]})
            figures.add("disks that filled up within a write")
            if end.said["failed"]:
                judge_error(end, errno.ENOSPC)
                assert case.state() in ("absent", "older")
                assert case.left() == []
            converge(case, server)
