"""What an attack is, how it is run through the command line, and what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

HERE = Path(__file__).resolve().parent
# What a run may take: the promise is 2 seconds of processor time and 512 MB. The clock is there for
# what sleeps; machines that others work on too are slow.
CPU_SECONDS, MEMORY_BYTES, CLOCK_SECONDS = 2.0, 512 * 2**20, 60.0
ENVIRON: Final = {
    "NO_COLOR": "1",
    "TERM": "dumb",
    "LANG": "C.UTF-8",
    "COLUMNS": "100",
    "HF_HUB_OFFLINE": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

Build = Callable[[Path], list[str]]


@dataclass(frozen=True, slots=True)
class Attack:
    """One hostile input.

    Attributes:
        build: makes the files in an empty folder, and gives the arguments of the command line.
        exit: the exit code that is promised.
        expects: the code of an error (`UnsafePath`), or of a rule that must find something (`S104`);
            empty where the input must simply do nothing.
        says: what the answer must contain.
        environ: variables of the run.
        as_json: whether the answer is asked for as JSON, in which codes are looked for.
        cpu_seconds: more than usual where an honest input takes as long.
    """

    name: str
    build: Build
    exit: int
    expects: str
    says: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    cpu_seconds: float = CPU_SECONDS
    as_json: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, what it said, and what it took."""

    exit: int
    stdout: bytes
    stderr: bytes
    seconds: float
    cpu_seconds: float
    memory_bytes: int


class Runner:
    """The command line in limited children of one process that has imported it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(
        self,
        args: list[str],
        folder: Path,
        *,
        seconds: float = CLOCK_SECONDS,
        environ: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run one command in a folder."""
        said = folder / ".said"
        said.mkdir(exist_ok=True)
        asked = {
            "args": args,
            "cwd": str(folder),
            "said": str(said),
            "seconds": seconds,
            "environ": {"HF_HOME": str(folder / ".hub"), **(environ or {})},
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        stdout, stderr = (said / name for name in ("stdout", "stderr"))
        return Outcome(
            told["exit"],
            stdout.read_bytes(),
            stderr.read_bytes(),
            told["seconds"],
            told["cpu_seconds"],
            told["memory_bytes"],
        )


@contextmanager
def running() -> Iterator[Runner]:
    """Start the process that runs commands, and end it."""
    command = [sys.executable, "-P", str(HERE / "server.py")]
    pipe = subprocess.PIPE
    environ = {**os.environ, **ENVIRON}
    # Leaving the block closes its pipes, whereupon it ends.
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environ) as process:
        yield Runner(process)


def carry_out(attack: Attack, runner: Runner, folder: Path) -> tuple[Outcome, list[str]]:
    """Make an attack in an empty folder; say what is not as promised."""
    args = attack.build(folder)
    given = ["--json"] if attack.as_json else []
    outcome = runner.run([*given, *args], folder, environ=attack.environ)
    return outcome, list(_complaints(attack, outcome))


def _complaints(attack: Attack, outcome: Outcome) -> Iterator[str]:
    text = outcome.stdout.decode("utf-8", "backslashreplace")
    if outcome.exit != attack.exit:
        told = (text + outcome.stderr.decode("utf-8", "backslashreplace"))[-1500:]
        yield f"exit code {outcome.exit}, not {attack.exit}: {told}"
    if attack.expects and attack.expects not in codes_in(text):
        yield f"{attack.expects} is not among {sorted(codes_in(text))}"
    if attack.says and attack.says not in text + outcome.stderr.decode("utf-8", "replace"):
        yield f"it does not say {attack.says!r}: {text[:600]}"
    if outcome.cpu_seconds > attack.cpu_seconds:
        yield f"it takes {outcome.cpu_seconds:.2f} seconds of processor time"
    if outcome.memory_bytes > MEMORY_BYTES:
        yield f"it takes {outcome.memory_bytes >> 20} MiB"
    if b"Traceback" in outcome.stderr or b"Traceback" in outcome.stdout:
        yield f"a traceback: {outcome.stderr[-1500:].decode('utf-8', 'replace')}"
    for name, said in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
        shown = raw_in(said.decode("utf-8", "surrogateescape"))
        if shown:
            yield f"{name} holds {shown!r} raw"
        commands = [line for line in said.split(b"\n") if line.startswith(b"::")]
        if any(b"owned" in line.split(b"::")[1] or b"set-output" in line[:12] for line in commands):
            yield f"{name} gives GitHub a command: {commands[0]!r}"


def codes_in(text: str) -> set[str]:
    """The codes that an answer names: of an error, of findings, of checks that failed."""
    try:
        answer = json.loads(text)
    except ValueError:
        return set()
    if not isinstance(answer, dict):
        return set()
    found = {str(answer.get("code", ""))}
    found |= {finding["rule"] for finding in answer.get("findings", ())}
    return found | {
        check["name"] for check in answer.get("checks", ()) if check.get("status") == "fail"
    }


def raw_in(text: str) -> str:
    """Characters that a terminal would obey, or that nobody sees, and that are there raw."""
    return "".join(sorted({c for c in text if not c.isprintable() and c != "\n"}))
