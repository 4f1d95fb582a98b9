"""The page of measured rows: its tables are written from results, and only they."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.rows.page import main, pairs_table, shown

LINES = [
    {"method": "mean", "variant": "tied", "read_kl": 0.3, "rho_read": 0.0, "rho_write": 0.0},
    {"method": "fit", "variant": "tied", "read_kl": 0.1, "rho_read": 2 / 3, "rho_write": 0.5},
    {"method": "omp", "variant": "", "skipped": "no donor"},
]
PAIR = {
    "track": "training-free",
    "method": "fit",
    "variant": "tied",
    "read": {"peer": "eeve", "theirs": 0.25, "ours": 0.5, "difference_ci": [0.1, 0.4]},
    "write": {"peer": "bil", "theirs": 0.25, "ours": 0.5},
}


def results(folder: Path, strata: dict[str, object]) -> None:
    folder.mkdir()
    run = {
        "command": "python -m benchmarks.rows",
        "seeds": 1,
        "minutes": 2.0,
        "torch": "2",
        "transformers": "5",
    }
    (folder / "results.json").write_text(json.dumps({**strata, "run": run}), "utf-8")


def test_tables_come_from_results_and_prose_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    prose = "# Rows\n\nBefore.\n\n<!-- table small S2 -->\nold\n<!-- end -->\n\nAfter.\n"
    page.write_text(prose + "<!-- table small S9 -->\nstays\n<!-- end -->\n", "utf-8")
    told = {"sizes": "2 tokens", "lines": LINES, "against_peers": [PAIR]}
    results(tmp_path / "out", {"S2": told})
    monkeypatch.setattr("sys.argv", ["page", f"small={tmp_path / 'out'}", "--page", str(page)])
    main()
    written = page.read_text("utf-8")
    assert written.startswith("# Rows\n\nBefore.\n\n<!-- table small S2 -->\n")
    assert "| **fit** (tied) | 0.100 | 0.667 | 0.500 |" in written
    assert "| omp | no donor |" in written
    assert "old" not in written
    assert written.endswith("After.\n<!-- table small S9 -->\nstays\n<!-- end -->\n")
    assert (tmp_path / "page" / "small-S2.svg").read_text("utf-8").startswith("<svg")
    results(tmp_path / "later", {"S1": told})
    monkeypatch.setattr("sys.argv", ["page", f"small={tmp_path / 'later'}", "--page", str(page)])
    main()
    assert set(json.loads((tmp_path / "page" / "small.json").read_text())) == {"S1", "S2"}
    assert page.read_text("utf-8") == written


def test_a_pair_without_an_interval_shows_none() -> None:
    table = pairs_table([PAIR]).splitlines()
    assert table[2] == (
        "| training-free | fit, tied | 0.500 | eeve (0.250) | +0.100…+0.400 "
        "| 0.500 | bil (0.250) | – |"
    )
    assert pairs_table([]) == ""


def test_a_shown_command_does_not_say_in_how_many_runs_it_ran() -> None:
    told = (
        "python -m benchmarks.rows --model m --methods a,b --seeds 1 --strata S2 --again b -o out"
    )
    run = {"command": told, "seeds": 3}
    assert shown(run) == "python -m benchmarks.rows --model m --seeds 3"
