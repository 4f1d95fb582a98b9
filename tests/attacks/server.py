"""Run the command line many times: one process that has imported it, and a limited child a run.

Every child gets limits that the kernel keeps: of its address space and of its processor time; the
children that it starts itself have the same ones at most. Requests and answers are JSON, one a line.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

MEMORY_BYTES = 512 * 2**20
ROOMS = ("cli.app", "applying", "auditing", "flow", "planning", "verifying", "reporting.text")
COMMANDS = tuple(f"cli.commands.{name}" for name in ("apply", "audit", "look", "plan", "verify"))


def main() -> None:
    """Answer requests until standard input ends."""
    _preload()
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)  # noqa: T201 - the answer


def _preload() -> None:
    for name in (*ROOMS, *COMMANDS):
        importlib.import_module(f"tokengraft.{name}")


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _run(asked)
    status, used = _wait(child, asked["seconds"])
    code = os.waitstatus_to_exitcode(status)
    return {
        "exit": code,
        "seconds": time.monotonic() - started,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "memory_bytes": used.ru_maxrss * 1024,
    }


def _wait(child: int, seconds: float) -> tuple[int, resource.struct_rusage]:
    until = time.monotonic() + seconds
    while True:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            return status, used
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            until += 3600
        time.sleep(0.002)


def _run(asked: dict[str, Any]) -> None:
    code = 70
    try:
        os.environ.update(asked["environ"])
        os.chdir(asked["cwd"])
        for number, name in ((1, "stdout"), (2, "stderr")):
            file = os.open(Path(asked["said"], name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, number)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        seconds = int(asked["seconds"])
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        from tokengraft.cli.app import app

        app.main(asked["args"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
