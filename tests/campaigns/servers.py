"""Asks the worker for jobs, whole batches at once, and kills or refuses what they do through strace."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Job = dict[str, Any]
# Calls that change a disk; the question mark lets strace pass over those a machine does not have.
CHANGING = (
    *("?write", "?pwrite64", "?writev", "?copy_file_range", "?sendfile", "?fsync", "?fdatasync"),
    *("?fchmod", "?fchmodat", "?chmod", "?mkdir", "?mkdirat", "?unlink", "?unlinkat", "?rmdir"),
    *("?link", "?linkat", "?rename", "?renameat", "?renameat2", "?ftruncate", "?flock", "?ioctl"),
)
ASKING = ("?open", "?openat", "?close")
CALL = re.compile(r"^(\w+)\((.*)")
MAKES = re.compile(r"O_CREAT|O_WRONLY|O_RDWR|O_TMPFILE")


@dataclass(frozen=True)
class End:
    """How a job ended: an exit code or minus the signal, and what it said."""

    code: int
    said: Mapping[str, Any]

    @property
    def was_killed(self) -> bool:
        return self.code == -9


@dataclass(frozen=True)
class Point:
    """The n-th call of a name in the main thread of a job."""

    call: str
    number: int
    text: str

    @property
    def changes(self) -> bool:
        """Whether it changes the disk; other points only ask it something, or close a file."""
        match self.call:
            case "close":
                return False
            case "open" | "openat":
                return MAKES.search(self.text) is not None
            case "ioctl":
                return "FICLONE" in self.text
            case _:
                return True


def strace() -> str | None:
    return shutil.which("strace")


@dataclass
class Server:
    """One worker process; use `with serving() as server`."""

    process: subprocess.Popen[str]
    log: Path
    last_pids: list[int] = field(default_factory=list)

    def begin(self, *jobs: Job) -> list[int]:
        """Fork the children; each waits at the gate."""
        self._say(json.dumps(jobs))
        self.last_pids = self._hear()
        return self.last_pids

    def end(self) -> list[End]:
        """Open the gate, if it is not open, and wait."""
        self.open()
        return self.wait()

    def open(self) -> None:
        self._say("go")

    def wait(self) -> list[End]:
        return [End(code, said) for code, said in self._hear()]

    def do(self, *jobs: Job) -> list[End]:
        self.begin(*jobs)
        return self.end()

    def one(self, job: Job) -> End:
        return self.do(job)[0]

    def points(self, job: Job, folder: Path) -> list[Point]:
        """Every call of a job's main thread that changes or opens something below `folder`."""
        calls = ",".join((*CHANGING, *ASKING))
        end = self._traced(job, ["-y", "-s", "8", "-e", f"trace={calls}"])
        assert end.code == 0, end
        return list(_points(self.log.read_text(errors="replace"), folder))

    def injected(self, job: Job, point: Point, what: str, *, forever: bool = False) -> End:
        """Do a job with one call replaced; `what` is strace's: `signal=KILL`, `error=EIO`."""
        when = f"{point.number}{'+' if forever else ''}"
        inject = f"inject={point.call}:{what}:when={when}"
        return self._traced(job, ["-e", f"trace={point.call}", "-e", inject])

    def _traced(self, job: Job, options: Sequence[str]) -> End:
        (pid,) = self.begin(job)
        words = [strace() or "", "-qq", "-o", str(self.log), *options, "-p", str(pid)]
        tracer = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        _until_traced(pid, tracer)
        (end,) = self.end()
        _, complaint = tracer.communicate(timeout=60)
        assert "strace:" not in complaint, complaint
        return end

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def _hear(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the worker has died"
        return json.loads(line)


def _until_traced(pid: int, tracer: subprocess.Popen[str]) -> None:
    for _ in range(5_000):
        status = Path(f"/proc/{pid}/status").read_text()
        if "TracerPid:\t0\n" not in status:
            time.sleep(0.004)  # it is seized; stopping at system calls comes a moment after
            return
        assert tracer.poll() is None, tracer.communicate()
        time.sleep(0.001)
    message = "strace did not attach in five seconds"
    raise AssertionError(message)


def _points(log: str, folder: Path) -> Iterator[Point]:
    counts: dict[str, int] = {}
    for line in log.splitlines():
        found = CALL.match(line)
        if found is not None:
            counts[found[1]] = counts.get(found[1], 0) + 1
            if str(folder) in found[2]:
                yield Point(found[1], counts[found[1]], found[2])


@contextmanager
def serving(log: Path, preload: Path | None = None) -> Iterator[Server]:
    """Start a worker; `preload` is a library that stands before the C library."""
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), *sys.path]),
        "PYTHONDONTWRITEBYTECODE": "1",
        **({"LD_PRELOAD": str(preload)} if preload else {}),
    }
    process = subprocess.Popen(
        [sys.executable, str(HERE / "worker.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environ,
    )
    try:
        yield Server(process, log)
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=60)
