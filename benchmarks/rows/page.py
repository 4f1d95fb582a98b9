"""Write the tables of docs/explanation/rows-measured.md from results: nothing in them is typed by hand.

    python -m benchmarks.rows.page NAME=FOLDER… [--page PAGE]

FOLDER is what `python -m benchmarks.rows -o FOLDER` wrote. What is kept of it goes to PAGE's own folder as
NAME.json, its plots as NAME-STRATUM.svg; without an argument, tables are written from what is there.
Tables stand between `<!-- table NAME STRATUM -->` and `<!-- end -->`; goals and what was reached of them on S2
between `<!-- reached NAME NAME… -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rows.ours import OURS
from benchmarks.rows.ours_trained import OURS_TRAINED
from benchmarks.rows.plots import recovery_plot
from benchmarks.rows.reached import reached_table
from benchmarks.rows.tables import markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "rows-measured.md"
_REACHED = re.compile(r"(<!-- reached ([^>]+) -->\n).*?<!-- end -->", re.DOTALL)
_MARK = re.compile(r"(<!-- table (\S+) (\S+) -->\n).*?<!-- end -->", re.DOTALL)


def main() -> None:
    """Take results in, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="*", help="NAME=FOLDER")
    parser.add_argument("--page", type=Path, default=PAGE)
    wish = parser.parse_args()
    kept = wish.page.with_suffix("")
    kept.mkdir(exist_ok=True)
    for given in wish.results:
        name, folder = given.split("=", 1)
        take_in(name, json.loads((Path(folder) / "results.json").read_text("utf-8")), kept)
    text = wish.page.read_text("utf-8")
    text = _MARK.sub(lambda mark: _block(kept, mark), text)
    wish.page.write_text(_REACHED.sub(lambda mark: _goals(kept, mark), text), "utf-8")


def take_in(name: str, told: dict[str, Any], kept: Path) -> None:
    """Keep the lines of a run.

    Strata that were run before and not now stay as they were; methods too, where all else is the same.
    """
    known = _known(kept, name)
    run = told.pop("run")
    for stratum, one in told.items():
        lines = [_rounded(line) for line in one["lines"]]
        pairs = _rounded(one["against_peers"])
        before = known.get(stratum)
        if before and before["sizes"] == one["sizes"] and _is_same(before["run"], run):
            new = {line["method"] for line in lines}
            lines += [line for line in before["lines"] if line["method"] not in new]
            pairs += [pair for pair in before["against_peers"] if pair["method"] not in new]
        known[stratum] = {
            "run": run,
            "sizes": one["sizes"],
            "lines": lines,
            "against_peers": pairs,
        }
        plot = recovery_plot(f"{name} {stratum}", lines)
        (kept / f"{name}-{stratum}.svg").write_text(plot, "utf-8")
    text = json.dumps(known, indent=1, ensure_ascii=False) + "\n"
    (kept / f"{name}.json").write_text(text, "utf-8")


def _known(kept: Path, name: str) -> dict[str, Any]:
    path = kept / f"{name}.json"
    told: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return told


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return sorted(shown(one).split()) == sorted(shown(other).split())


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _block(kept: Path, mark: re.Match[str]) -> str:
    name, stratum = mark[2], mark[3]
    known = _known(kept, name)
    if stratum not in known:
        return mark[0]
    told = known[stratum]
    run = told["run"]
    parts = [
        f"`{shown(run)}`",
        (
            f"{told['sizes']}; {run['seeds']} seed{'s' if run['seeds'] > 1 else ''}, "
            f"torch {run['torch']}, transformers {run['transformers']}, float32."
        ),
        f"![Recovery]({kept.name}/{name}-{stratum}.svg)",
        markdown([_bold(line) for line in told["lines"]]),
    ]
    pairs = pairs_table(told["against_peers"])
    if pairs:
        parts.append(pairs)
    gains = {
        f"{line['method']} {line['variant']}".strip(): line["nonce_gain_bits"]
        for line in told["lines"]
        if line.get("nonce_gain_bits") is not None
    }
    if gains:
        told_gains = ", ".join(f"{name} {gain:+.3f}" for name, gain in gains.items())
        parts.append(
            "Bits a byte by which text behind a nonce word is predicted better with the row than "
            f"with the word left out (above 0 would be a leak of test text): {told_gains}."
        )
    return f"{mark[1]}\n" + "\n\n".join(parts) + "\n\n<!-- end -->"


def _goals(kept: Path, mark: re.Match[str]) -> str:
    found = {}
    for name in mark[2].split():
        told = _known(kept, name)
        if "S2" in told:
            found[name] = told["S2"]
    return f"{mark[1]}\n{reached_table(found)}\n\n<!-- end -->"


def shown(run: Mapping[str, Any]) -> str:
    """The command without what only says in how many runs the table was measured."""
    left = re.sub(r" (--methods|--again|--strata|-o) \S+", "", run["command"])
    return re.sub(r"--seeds \d+", f"--seeds {run['seeds']}", left)


def _bold(line: Mapping[str, Any]) -> dict[str, Any]:
    shown = f"**{line['method']}**" if line["method"] in {*OURS, *OURS_TRAINED} else line["method"]
    return {**line, "method": shown}


def pairs_table(pairs: Sequence[Mapping[str, Any]]) -> str:
    """Each of our methods by the best peer of its track, with paired intervals."""
    if not pairs:
        return ""
    rows = [
        (
            "| track | method | reading | best peer | difference, 95 % | writing | best peer "
            "| difference, 95 % |"
        ),
        "|---|---|---:|---|---:|---:|---|---:|",
    ]
    for line in pairs:
        name = f"{line['method']}, {line['variant']}" if line["variant"] else line["method"]
        cells = [line["track"], name]
        for job in ("read", "write"):
            one = line.get(job)
            if one is None:
                cells += ["–"] * 3
                continue
            low, high = one.get("difference_ci", (None, None))
            apart = "–" if low is None else f"{low:+.3f}…{high:+.3f}"
            cells += [f"{one['ours']:.3f}", f"{one['peer']} ({one['theirs']:.3f})", apart]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
