"""From measurements to recovery, intervals, verdicts and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from benchmarks.rows.measure import REFERENCE, Result
from benchmarks.rows.strata import FEWEST_TOKENS
from numpy.typing import NDArray

Values = NDArray[np.float64]
DRAWS = 10_000
_COLUMNS = (
    ("R-KL", "read_kl"),
    ("ρ read", "rho_read"),
    ("95 %", "rho_read_ci"),
    ("ρ absent", "rho_absent"),
    ("R-NLL b/B", "read_bits"),
    ("R-HS L/3", "hidden_third"),
    ("R-HS L", "hidden_final"),
    ("W-gap", "write_gap"),
    ("W-abs", "write_abs"),
    ("W-KL", "write_kl"),
    ("ρ write", "rho_write"),
    ("95 %", "rho_write_ci"),
    ("leak", "leak"),
    ("written", "written"),
    ("no-harm", "harm"),
    ("above due", "harm_excess"),
    ("φ", "canonical"),
    ("M", "mass"),
    ("ΔBPB", "bpb_more"),
    ("P50", "p50"),
    ("GEN", "gen"),
    ("as token", "gen_token"),
    ("GEN b/B", "gen_bits"),
    ("hijack", "hijack"),
    ("gold ρ r", "rho_gold_read"),
    ("gold ρ w", "rho_gold_write"),
    ("s", "cpu_seconds"),
    ("MB", "peak_mb"),
    ("rate", "rate"),
    ("seeds", "seeds"),
)


def draws(n: int) -> NDArray[np.int64]:
    """Which tokens each bootstrap draw takes; the same for every method, so that pairs stay pairs."""
    return np.random.default_rng(11).integers(0, n, (DRAWS, n))


def recovery(method: Values, reference: Values) -> float:
    """1 - X(method) / X(reference), X summed over tokens first."""
    return float(1 - np.nansum(method) / np.nansum(reference))


def drawn_recovery(method: Values, reference: Values, taken: NDArray[np.int64]) -> Values:
    """Recovery of each draw."""
    return np.asarray(1 - method[taken].sum(axis=1) / reference[taken].sum(axis=1))


def interval(values: Values) -> tuple[float, float]:
    """The middle 95 %."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def summarise(results: Sequence[Result]) -> list[dict[str, Any]]:
    """One line a method: aggregates over tokens, recovery, intervals."""
    by_name = {(r.method, r.variant): r for r in results}
    lines = []
    for result in results:
        line: dict[str, Any] = {"method": result.method, "variant": result.variant}
        if result.skipped:
            lines.append({**line, "skipped": result.skipped})
            continue
        variants = (result.variant, "tied" if result.variant == "untied" else "")
        reference = next(
            (by_name[REFERENCE, v] for v in variants if (REFERENCE, v) in by_name), None
        )
        line |= {**_aggregates(result), "seeds": result.seeds}
        if reference is not None:
            line |= _recoveries(result, reference)
        lines.append(line)
    return lines


def _aggregates(result: Result) -> dict[str, Any]:
    arrays = result.arrays
    keys = ["read_kl"]
    if is_due(result):
        keys += ["write_gap", "write_abs", "write_kl", "canonical", "mass", "lift"]
    means = {key: float(np.mean(arrays[key])) for key in keys}
    means["read_bits"] = float(arrays["read_nats"].sum() / arrays["read_bytes"].sum() / np.log(2))
    means["taken"] = float(arrays["taken"].mean())
    if is_due(result):
        means["leak"] = float(arrays["taken"].sum() / arrays["due"].sum())
    else:
        means["written"] = means["taken"]
    return {**means, **result.figures}


def _recoveries(result: Result, reference: Result) -> dict[str, Any]:
    found: dict[str, Any] = {}
    n = len(result.arrays["read_kl"])
    taken = draws(n)
    for name, key in (
        ("rho_read", "read_kl"),
        ("rho_write", "write_kl"),
        ("rho_gold_read", "gold_read_kl"),
        ("rho_gold_write", "gold_write_kl"),
    ):
        if key not in result.arrays or (name == "rho_write" and not is_due(result)):
            continue
        mine, theirs = result.arrays[key], reference.arrays[key]
        found[name] = recovery(mine, theirs)
        if n >= FEWEST_TOKENS:
            found[f"{name}_ci"] = interval(drawn_recovery(mine, theirs, taken))
    for key in ("hidden_third", "hidden_final"):
        found[key] = float(result.arrays[key].sum() / reference.arrays[key].sum())
    return found


def is_due(result: Result) -> bool:
    """Whether the tokens are ever to be written: a description's token is not, of its own."""
    return bool(result.arrays["due"].sum() > 0)


def against_peers(
    results: Sequence[Result], ours: Sequence[str], peers: Sequence[str], variant: str
) -> list[dict[str, Any]]:
    """Each of our methods by the best peer in reading and the best in writing, paired.

    A method with one row for both jobs is the same in either variant of a tied subject.
    """
    variants = ("tied", "untied") if variant == "untied" else (variant,)
    here = {r.method: r for v in variants for r in results if r.variant == v and not r.skipped}
    if REFERENCE not in here:
        return []
    reference = here[REFERENCE]
    n = len(reference.arrays["read_kl"])
    taken = draws(n)
    lines = []
    for name in ours:
        if name not in here:
            continue
        line: dict[str, Any] = {"method": name, "variant": variant, "n_tokens": n}
        for job, key in (("read", "read_kl"), ("write", "write_kl")):
            scores = {
                p: recovery(here[p].arrays[key], reference.arrays[key]) for p in peers if p in here
            }
            if not scores or (job == "write" and not is_due(reference)):
                continue
            best = max(scores, key=lambda peer: scores[peer])
            mine = recovery(here[name].arrays[key], reference.arrays[key])
            line[job] = {"peer": best, "theirs": scores[best], "ours": mine}
            if n >= FEWEST_TOKENS:
                difference = drawn_recovery(
                    here[name].arrays[key], reference.arrays[key], taken
                ) - drawn_recovery(here[best].arrays[key], reference.arrays[key], taken)
                line[job]["difference_ci"] = interval(difference)
        lines.append(line)
    return lines


def markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    """The table of one stratum; columns that nothing has are left out."""
    columns = [(h, k) for h, k in _COLUMNS if any(_told(line.get(k)) for line in lines)]
    head = "| method | " + " | ".join(h for h, _ in columns) + " |"
    rule = "|---|" + "---:|" * len(columns)
    rows = [head, rule]
    for line in lines:
        name = line["method"] + (f" ({line['variant']})" if line["variant"] else "")
        if "skipped" in line:
            rows.append(f"| {name} | {line['skipped']} |" + " |" * (len(columns) - 1))
            continue
        rows.append(f"| {name} | " + " | ".join(_cell(line.get(k)) for _, k in columns) + " |")
    return "\n".join(rows)


def _told(value: object) -> bool:
    return isinstance(value, tuple | list | int) or (isinstance(value, float) and value == value)  # noqa: PLR0124


def _cell(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"{_cell(value[0])}…{_cell(value[1])}"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, float) or not np.isfinite(value):
        return "–"
    if value != 0 and (abs(value) < 0.01 or abs(value) >= 1e5):
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
