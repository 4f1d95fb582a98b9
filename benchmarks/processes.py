"""Run a command and say what it cost: seconds, peak memory of the process itself, bytes written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run cost; memory is the largest of the process and each of its children."""

    seconds: float
    peak_mb: float
    code: int
    output: str


def run(command: Sequence[str | Path], *, input_text: str | None = None) -> Cost:
    """Run a command to its end, and fail loudly if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE if input_text is not None else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.stderr.write(output)
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return Cost(seconds, usage.ru_maxrss / 1024, process.returncode, output)


def stopped(command: Sequence[str | Path], when: Callable[[], bool]) -> Cost:
    """Run a command until `when` says so, then end it with SIGTERM; its output is not kept."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    done = 0
    while not done and not when():
        time.sleep(0.2)
        done, status, usage = os.wait4(process.pid, os.WNOHANG)
    if not done:
        process.send_signal(signal.SIGTERM)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(time.perf_counter() - started, usage.ru_maxrss / 1024, process.returncode, "")


def tokengraft(*arguments: str | Path) -> Cost:
    """Run the program as a user does, in a process of its own."""
    return run(tokengraft_command(*arguments))


def tokengraft_command(*arguments: str | Path) -> list[str | Path]:
    """What a user would type."""
    return [sys.executable, "-m", "tokengraft", *arguments, "--quiet"]


def folder_bytes(folder: Path, *, new_only: bool = False) -> int:
    """Bytes of the files of a folder; `new_only` leaves out hard links to other folders."""
    total = 0
    for path in folder.rglob("*"):
        status = path.lstat()
        if path.is_file() and not (new_only and status.st_nlink > 1):
            total += status.st_size
    return total
