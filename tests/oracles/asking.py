"""Ask other people's libraries, in environments of their own; many questions a process."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
Json = dict[str, Any]


def ask(python: Path, script: str, jobs: Sequence[Json], *, home: Path) -> list[Json]:
    """Run a script of this folder over all jobs; an answer for each."""
    home.mkdir(parents=True, exist_ok=True)
    questions, answers = home / "jobs.json", home / "answers.json"
    questions.write_text(json.dumps(jobs), encoding="utf-8")
    quiet = {
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(
        [str(python), str(HERE / script), str(questions), str(answers)],
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    found: list[Json] = json.loads(answers.read_text(encoding="utf-8"))
    return found


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
