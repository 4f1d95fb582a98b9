"""Hostile files and requests, and what is opened because of them

Headers, indexes, links, pipes, devices, tokenizers, configurations, templates, recipes, plans, sidecars and records that
were made to do harm go through the command line. Each must end with the exit code and the error or rule that its
fixture names, within two seconds of processor time and 512 MB of address space, without a traceback and without a character
on the screen that a terminal obeys. A sample is run once more as a real process under strace: every file that it or a child of it
opens must lie in the folder of the attack, or belong to Python and the system.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from attacks import registry
from attacks.every import every_attack
from attacks.registry import ENVIRON, Attack, Runner
from figures import REPO, Figures
from needs import needs_strace

ORDER = 21
ATTACKS = {attack.name: attack for attack in every_attack()}
TRACED = (
    "an index with a step up",
    "an index with an absolute path",
    "weights that are a link to /etc/passwd",
    "a configuration that is a link out",
    "a link to a folder",
    "a link to a device",
    "weights that are a pickle",
    "plan: a step up",
    "plan: an absolute path",
    "output: a receipt that leads out",
    "output: a record folder that is a link",
    "rendered: an include",
)
# Where Python, its packages and the system lie.
ALLOWED = (
    *(sys.prefix, sys.base_prefix, str(REPO / "src"), *filter(None, sys.path)),
    *("/usr", "/lib", "/lib64", "/bin", "/proc", "/sys", "/dev/null", "/dev/urandom"),
    *(
        "/etc/ld.so.cache",
        "/etc/locale.alias",
        "/etc/localtime",
        "/etc/ssl",
        "/etc/mime.types",
        "/etc/magic",
    ),
)
_OPEN = re.compile(r'(?:openat|open|openat2)\((?:(AT_FDCWD|\d+)(?:<([^>]*)>)?, )?"([^"]*)"')


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with registry.running() as made:
        yield made


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_ends_as_promised(
    attack: Attack, runner: Runner, tmp_path: Path, figures: Figures
) -> None:
    _, complaints = registry.carry_out(attack, runner, tmp_path)
    assert complaints == []
    figures.add("attacks")
    figures.add("attacks that ended as promised")


@pytest.mark.parametrize("name", TRACED)
def test_nothing_outside_the_folder_is_opened(name: str, tmp_path: Path, figures: Figures) -> None:
    needs_strace()
    folder = tmp_path / "attack"
    folder.mkdir()
    args = ATTACKS[name].build(folder)
    log = tmp_path / "log"
    command = [sys.executable, "-m", "tokengraft", "--json", *args]
    traced = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-s",
        "4096",
        "-e",
        "trace=open,openat,openat2",
        "-o",
        str(log),
    ]
    environ = {**os.environ, **ENVIRON, "HF_HOME": str(tmp_path / "hub")}
    ended = subprocess.run(
        [*traced, *command], cwd=folder, env=environ, capture_output=True, check=False
    )
    assert ended.returncode == ATTACKS[name].exit, ended.stderr[-2000:]
    opened = list(_opened(log.read_text("utf-8", "replace"), folder))
    assert len(opened) > 100
    allowed = (str(folder), str(tmp_path / "hub"), *ALLOWED)
    outside = [path for path in opened if not any(_lies_in(path, place) for place in allowed)]
    assert outside == []
    assert not any(path.endswith(".bin") for path in opened)
    figures.add("processes traced")
    figures.add("files opened in them", len(opened))
    figures.add("opened outside the folder", 0)
    figures.add("pickles opened", 0)


def _opened(log: str, folder: Path) -> Iterator[str]:
    """Every path that was asked for, links resolved as the kernel would."""
    for _, at, path in _OPEN.findall(log):
        asked = Path(at or folder, path)
        yield os.path.realpath(asked)


def _lies_in(path: str, place: str) -> bool:
    real = os.path.realpath(place)
    return path == real or path.startswith(real.rstrip("/") + "/")
