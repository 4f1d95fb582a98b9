"""One child process: started with nothing, limited, asked line by line, and always ended.

Questions and answers are JSON, one a line, on pipes. The child limits its own memory and processor
time before it imports anything heavy (see `serving`); the time on the clock is kept here, because a
process that hangs cannot be trusted to notice. Where the system has no such limits (Windows), the
clock alone holds.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Self

from tokengraft.checkpoint import JsonValue
from tokengraft.errors import ChildFailed

MAX_ANSWER_BYTES = 256 * 2**20
STDERR_BYTES = 16 * 2**10
_PACKAGE = Path(__file__).resolve().parents[1]
# Without these an interpreter of Windows, or one that is not in the system's folders, cannot start.
_NEEDED = ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
# The packages stand in as empty ones: their own `__init__` would import what the child must not.
_BOOT = """
import json, sys, types
config = json.loads(sys.argv[1])
sys.path[:] = config["path"]
for name, folder in config["packages"].items():
    package = types.ModuleType(name)
    package.__path__ = [folder]
    sys.modules[name] = package
from tokengraft.sandbox.serving import serve
serve(config["module"], config["limits"])
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may use.

    Attributes:
        memory_bytes: address space of the process.
        cpu_seconds: processor time of one request.
        clock_seconds: time on the clock of one request; the first includes the start.
    """

    memory_bytes: int
    cpu_seconds: int
    clock_seconds: float


class Child:
    """A limited process that runs one module of this package and answers questions.

    Use it as a context manager. After a `ChildFailed` that ended the process, every further
    question fails in the same way.
    """

    def __init__(self, module: str, *, title: str, limits: Limits) -> None:
        self._module = module
        self._title = title
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._drain: threading.Thread | None = None
        self._stderr = bytearray()
        self._is_late = False
        self._has_failed = False

    def __enter__(self) -> Self:
        config = {
            "module": self._module,
            "limits": asdict(self._limits),
            "path": [entry for entry in sys.path if os.path.isabs(entry)],  # noqa: PTH117
            "packages": {
                "tokengraft": str(_PACKAGE),
                "tokengraft.sandbox": str(_PACKAGE / "sandbox"),
            },
        }
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT, json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(sys.executable).anchor or None,
            env={name: os.environ[name] for name in _NEEDED if name in os.environ}
            | {"TOKENIZERS_PARALLELISM": "false", "MALLOC_ARENA_MAX": "1"},
            start_new_session=os.name == "posix",  # a Ctrl-C is ours to hand on
        )
        assert self._process.stderr is not None
        self._drain = threading.Thread(target=self._read_stderr, args=(self._process.stderr,))
        self._drain.daemon = True
        self._drain.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def ask(self, op: str, **arguments: JsonValue) -> JsonValue:
        """Ask one question and wait for its answer.

        Raises:
            ChildFailed: the child raised, panicked, died, or ran out of its memory or time.
        """
        process = self._process
        assert process is not None, "a child is a context manager"
        assert process.stdin is not None
        assert process.stdout is not None
        if self._has_failed:
            raise self._failure(f"{self._title} has ended after an earlier failure")
        line = json.dumps({"op": op, "arguments": arguments}).encode() + b"\n"
        answer = b""
        with self._clock(process), suppress(OSError, ValueError):
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline(MAX_ANSWER_BYTES + 1)
        if not answer.endswith(b"\n"):
            self._end()
            raise self._failure(self._ending(answer))
        return self._read(answer)

    def _read(self, answer: bytes) -> JsonValue:
        told = json.loads(answer)
        if "value" in told:
            value: JsonValue = told["value"]
            return value
        kind, text = told["error"]["kind"], told["error"]["text"]
        if told["error"]["fatal"]:
            self._end()
        mib = self._limits.memory_bytes >> 20
        said = {
            "PanicException": f"{self._title} aborted on this file",
            "MemoryError": f"{self._title} needs more than its {mib} MiB of memory",
        }.get(kind, f"{self._title} refused this file")
        raise self._failure(said, f"{kind}: {text}")

    @contextmanager
    def _clock(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        def too_late() -> None:
            self._is_late = True
            process.kill()

        timer = threading.Timer(self._limits.clock_seconds, too_late)
        timer.daemon = True
        timer.start()
        try:
            yield
        except BaseException:
            # An answer may still be on its way, and would be taken for that to the next question.
            self._end()
            raise
        finally:
            timer.cancel()

    def _ending(self, answer: bytes) -> str:
        """Say how the child came to its end."""
        code = self._process.returncode if self._process else 0
        if self._is_late:
            return f"{self._title} took longer than its {self._limits.clock_seconds:g} seconds"
        if len(answer) > MAX_ANSWER_BYTES:
            return f"{self._title} gave an answer that is too large"
        if os.name == "posix" and code == -signal.SIGXCPU:
            seconds = self._limits.cpu_seconds
            return f"{self._title} used more than its {seconds} seconds of processor time"
        if os.name == "posix" and code < 0:
            with suppress(ValueError):
                name = signal.Signals(-code).name
                return f"{self._title} was ended by the signal {name}"
        return f"{self._title} ended with exit code {code}"

    def _failure(self, summary: str, detail: str = "") -> ChildFailed:
        lines = self._stderr.decode("utf-8", "replace").splitlines()[-8:]
        return ChildFailed(
            summary,
            detail="\n".join(visible(line)[:500] for line in [*detail.splitlines()[:20], *lines]),
            hint="the file may be damaged or hostile; nothing was written",
        )

    def _read_stderr(self, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError):
            while piece := stream.read1(4096):  # type: ignore[attr-defined]
                self._stderr += piece
                del self._stderr[:-STDERR_BYTES]

    def _end(self) -> None:
        process, self._has_failed = self._process, True
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            with suppress(OSError, ValueError):
                if stream is not None:
                    stream.close()
        if self._is_late or process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.0 if self._is_late else 1.0)
            process.kill()
        process.wait()
        if self._drain is not None:
            self._drain.join(1.0)
        if process.stderr is not None:
            process.stderr.close()


def visible(text: str) -> str:
    """Show what a terminal would obey or hide as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
