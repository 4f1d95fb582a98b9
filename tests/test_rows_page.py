"""The page of measured rows: its tables are written from results, and only they."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.rows.page import main, pairs_table, shown, take_in
from benchmarks.rows.reached import reached_table

LINES = [
    {"method": "mean", "variant": "tied", "read_kl": 0.3, "rho_read": 0.0, "rho_write": 0.0},
    {
        "method": "fit",
        "variant": "tied",
        "read_kl": 0.1,
        "rho_read": 2 / 3,
        "rho_write": 0.5,
        "leak": 1.5,
        "harm": 2e-3,
        "harm_excess": 1e-3,
    },
    {"method": "fit", "variant": "untied", "rho_read": 0.7, "rho_write": 0.6},
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
    end = "<!-- reached small none -->\nold\n<!-- end -->\n"
    page.write_text(prose + "<!-- table small S9 -->\nstays\n<!-- end -->\n" + end, "utf-8")
    told = {"sizes": "2 tokens", "lines": LINES, "against_peers": [PAIR]}
    results(tmp_path / "out", {"S2": told})
    monkeypatch.setattr("sys.argv", ["page", f"small={tmp_path / 'out'}", "--page", str(page)])
    main()
    written = page.read_text("utf-8")
    assert written.startswith("# Rows\n\nBefore.\n\n<!-- table small S2 -->\n")
    assert "| **fit** (tied) | 0.100 | 0.667 | 0.500 |" in written
    assert "| omp | no donor |" in written
    assert "old" not in written
    assert "After.\n<!-- table small S9 -->\nstays\n<!-- end -->\n<!-- reached" in written
    assert "| small, one | fit | **yes** +0.10…+0.40 | – |" in written
    assert (tmp_path / "page" / "small-S2.svg").read_text("utf-8").startswith("<svg")
    results(tmp_path / "later", {"S1": told})
    monkeypatch.setattr("sys.argv", ["page", f"small={tmp_path / 'later'}", "--page", str(page)])
    main()
    assert set(json.loads((tmp_path / "page" / "small.json").read_text())) == {"S1", "S2"}
    assert page.read_text("utf-8") == written
    fewer = {**told, "lines": [{**LINES[0], "read_kl": 0.25}], "against_peers": []}
    results(tmp_path / "again", {"S2": fewer})
    take_in(
        "small", json.loads((tmp_path / "again" / "results.json").read_text()), tmp_path / "page"
    )
    kept = json.loads((tmp_path / "page" / "small.json").read_text())["S2"]
    assert [line["method"] for line in kept["lines"]] == ["mean", "fit", "fit", "omp"]
    assert kept["lines"][0]["read_kl"] == 0.25
    assert kept["against_peers"] == [PAIR]
    other = {**fewer, "sizes": "3 tokens"}
    results(tmp_path / "other", {"S2": other})
    take_in(
        "small", json.loads((tmp_path / "other" / "results.json").read_text()), tmp_path / "page"
    )
    kept = json.loads((tmp_path / "page" / "small.json").read_text())["S2"]
    assert [line["method"] for line in kept["lines"]] == ["mean"]


def test_a_pair_without_an_interval_shows_none() -> None:
    table = pairs_table([PAIR]).splitlines()
    assert table[2] == (
        "| training-free | fit, tied | 0.500 | eeve (0.250) | +0.100…+0.400 "
        "| 0.500 | bil (0.250) | – |"
    )
    assert pairs_table([]) == ""


def line_of(method: str, variant: str, **figures: float) -> dict[str, object]:
    usual = {"rho_read": 0.5, "rho_write": 0.5, "leak": 1.0, "harm": 2e-3, "harm_excess": 5e-4}
    return {"method": method, "variant": variant, **usual, "p50": 0.05, **figures}


def test_goals_stand_beside_what_was_measured() -> None:
    apart = {"peer": "td-last", "theirs": 0.5, "ours": 0.5, "difference_ci": [-0.005, 0.1]}
    pair = {"track": "trained", "method": "distil", "read": apart, "write": apart}
    lines = [
        line_of("td-last", "tied", cpu_seconds=8.0),
        line_of("distil", "tied", rho_read=0.49, rho_write=0.45, leak=2.5, cpu_seconds=2.0),
        line_of("distil", "untied", p50=0.06, harm=9e-4, cpu_seconds=2.0),
    ]
    pairs = [{**pair, "variant": "tied"}, {**pair, "variant": "untied"}]
    one, two = reached_table({"small": {"lines": lines, "against_peers": pairs}}).splitlines()[2:]
    # Reading may be below by 0.01, writing must be above.
    assert one == (
        "| small, one | distil | **yes** -0.01…+0.10 | no -0.01…+0.10 | no 2.50 "
        "| no 2.0e-03, due 1.5e-03 | no -0.01 and -0.05 | **yes** 0.0500 by 0.0500 "
        "| **yes** 2.0 by 8.0 |"
    )
    assert "**yes** 1.00 | **yes** 9.0e-04, due 4.0e-04 | – | no 0.0600 by 0.0500" in two
    free = {**pair, "track": "training-free", "method": "fit", "variant": ""}
    fitted = {"lines": [line_of("fit", "")], "against_peers": [free]}
    row = reached_table({"small": fitted}).splitlines()[2]
    assert row.startswith("| small | fit | no -0.01…+0.10 | no -0.01…+0.10 | **yes** 1.00 |")
    assert row.endswith("| – | – | – |")


def test_a_shown_command_does_not_say_in_how_many_runs_it_ran() -> None:
    told = (
        "python -m benchmarks.rows --model m --methods a,b --seeds 1 --strata S2 --again b -o out"
    )
    run = {"command": told, "seeds": 3}
    assert shown(run) == "python -m benchmarks.rows --model m --seeds 3"
