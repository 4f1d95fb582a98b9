"""What happens to a launch when one of its processes fails, and how it goes on.

pytest tests/slow/test_distil_processes.py
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("accelerate", reason="needs tokengraft[train]")

from test_distilling_processes import BASE, asked, launched, left

# argv: which process fails, in which pass, then the command
SCRIPT = """
import os, sys
from tokengraft.cli import main
from tokengraft.training.distilling import _Run

descend = _Run._pass
rank, after, *command = sys.argv[1:]

def failing(self, number):
    if os.environ["RANK"] == rank and number == int(after):
        raise RuntimeError("this process is broken")
    return descend(self, number)

_Run._pass = failing
sys.argv[:] = ["tokengraft", *command]
main()
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a launch makes that nothing stops."""
    home = tmp_path_factory.mktemp("whole")
    command = ("train", str(BASE), str(asked(home / "asked")), "-o", str(home / "out"))
    done = launched("-m", "tokengraft", *command)
    assert done.returncode == 0, done.stderr[-3000:]
    return home / "out"


@pytest.mark.parametrize("rank", [0, 1])
def test_one_that_fails_ends_all_and_the_next_launch_goes_on(
    tmp_path: Path, rank: int, whole: Path
) -> None:
    recipe = asked(tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    command = ("train", str(BASE), str(recipe), "-o")
    failed = launched(str(tmp_path / "script.py"), str(rank), "2", *command, str(tmp_path / "out"))
    assert failed.returncode != 0  # and it has come to an end
    assert "this process is broken" in failed.stderr
    assert not (tmp_path / "out").exists()
    again = launched("-m", "tokengraft", *command, str(tmp_path / "out"))
    assert again.returncode == 0, again.stderr[-3000:]
    (rows, figures, curve), (expected, _, _) = left(tmp_path / "out"), left(whole)
    assert figures["distil_processes"] == 2
    assert [line["step"] for line in curve] == [1, 2, 3, 4]
    for name in ("input", "output"):
        assert rows[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-4)
