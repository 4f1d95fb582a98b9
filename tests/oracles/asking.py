"""Ask other people's libraries, in environments of their own; many questions a process."""

from __future__ import annotations

import atexit
import fcntl
import functools
import json
import os
import select
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
Json = dict[str, Any]
MOST_SECONDS = 500


def ask(python: Path, script: str, jobs: Sequence[Json], *, home: Path) -> list[Json]:
    """Run a script of this folder over all jobs; an answer for each."""
    home.mkdir(parents=True, exist_ok=True)
    wish = {"script": script}
    wish |= {name: str(home / f"{name}.json") for name in ("jobs", "answers")}
    wish |= {"said": str(home / "said.txt")}
    Path(wish["jobs"]).write_text(json.dumps(jobs), encoding="utf-8")
    status = _fork(python).ask(wish)
    assert status == 0, Path(wish["said"]).read_text(encoding="utf-8")[-5000:]
    found: list[Json] = json.loads(Path(wish["answers"]).read_text(encoding="utf-8"))
    return found


class Forking:
    """A process that has imported what is asked again and again, and forks for each question."""

    def __init__(self, python: Path) -> None:
        self.home = tempfile.TemporaryDirectory(prefix="asked-")
        quiet = {
            "HF_HOME": self.home.name,
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "TOKENIZERS_PARALLELISM": "false",
        }
        self.process = subprocess.Popen(
            [str(python), str(HERE / "forking.py")],
            env={**os.environ, **quiet},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, wish: dict[str, str]) -> int:
        """The exit status of a script."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], MOST_SECONDS)
        assert ready, f"{wish['script']} gave no answer"
        return int(self.process.stdout.readline() or 1)

    def close(self) -> None:
        """It ends when nobody can ask any more."""
        self.process.kill()
        self.process.communicate()
        self.home.cleanup()


@functools.cache
def _fork(python: Path) -> Forking:
    made = Forking(python)
    atexit.register(made.close)
    return made


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that is made once, also where several processes run the tests."""
    own = factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder, done = root / name, root / f"{name}.done"
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            folder.mkdir()
            make(folder)
            done.touch()
    return folder


def remembered(folder: Path, name: str, make: Callable[[], Any]) -> Any:
    """A JSON value that is found out once for a folder, also by several processes."""
    place = folder / f"{name}.json"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            place.write_text(json.dumps(make()), encoding="utf-8")
    return json.loads(place.read_text(encoding="utf-8"))
