"""The goals of the page beside what was measured: a line for each of our methods on each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.rows.trained_peers import TRAINED

LEAST, LEAKS, HARM, APART, SHARE = -0.01, (0.5, 2.0), 1e-3, 0.02, 0.25
_HEAD = (
    "model, rows",
    "method",
    "reading",
    "writing",
    "leak",
    "no-harm",
    "within 0.02 of two rows",
    "probe",
    "seconds",
)


def reached_table(models: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown of all models' S2 results, by the name of the model."""
    rows = [
        "| " + " | ".join(_HEAD) + " |",
        "|---|---|" + "---|" * (len(_HEAD) - 2),
    ]
    for name, told in models.items():
        lines = {(line["method"], line["variant"]): line for line in told["lines"]}
        for pair in told["against_peers"]:
            if pair["method"] not in ("fit", "distil", "distil+ntp", "distil+fit"):
                continue
            cells = _cells(pair, lines)
            kind = {"tied": ", one", "untied": ", two"}.get(pair["variant"], "")
            rows.append("| " + " | ".join([f"{name}{kind}", pair["method"], *cells]) + " |")
    return "\n".join(rows)


def _cells(
    pair: Mapping[str, Any], lines: Mapping[tuple[str, str], Mapping[str, Any]]
) -> Sequence[str]:
    line = lines[pair["method"], pair["variant"]]
    is_trained = pair["track"] == "trained"
    least = LEAST if is_trained else 0.0
    one_row = pair["variant"] == "tied"
    due = line["harm"] - line["harm_excess"]
    return [
        _apart(pair.get("read"), least),
        _apart(pair.get("write"), 0.0),
        _judged(LEAKS[0] <= line["leak"] <= LEAKS[1], f"{line['leak']:.2f}"),
        _judged(line["harm"] <= HARM, f"{line['harm']:.1e}, due {due:.1e}"),
        _nearness(line, lines[pair["method"], "untied"]) if one_row else "–",
        _probe(line, lines, pair["variant"]) if is_trained else "–",
        _seconds(line, lines) if is_trained else "–",
    ]


def _apart(job: Mapping[str, Any] | None, least: float) -> str:
    if job is None or "difference_ci" not in job:
        return "–"
    low, high = job["difference_ci"]
    return _judged(low >= least and low != 0, f"{low:+.2f}…{high:+.2f}")


def _nearness(one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    lost = [two[key] - one[key] for key in ("rho_read", "rho_write")]
    return _judged(max(lost) <= APART, " and ".join(f"{-value:+.2f}" for value in lost))


def _probe(
    line: Mapping[str, Any], lines: Mapping[tuple[str, str], Mapping[str, Any]], variant: str
) -> str:
    """By the best trained peer; a peer with one row for both jobs stands beside two rows as well."""
    peers = [
        one["p50"]
        for (method, other), one in lines.items()
        if method in TRAINED and other in (variant, "tied") and one.get("p50") is not None
    ]
    if line.get("p50") is None or not peers:
        return "–"
    return _judged(line["p50"] <= min(peers), f"{line['p50']:.4f} by {min(peers):.4f}")


def _seconds(line: Mapping[str, Any], lines: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """CPU seconds by those of distillation of the last layer."""
    theirs = next((one for (method, _), one in lines.items() if method == "td-last"), None)
    if theirs is None or "cpu_seconds" not in theirs:
        return "–"
    share = line["cpu_seconds"] / theirs["cpu_seconds"]
    told = f"{line['cpu_seconds']:.1f} by {theirs['cpu_seconds']:.1f}"
    return _judged(share <= SHARE, told)


def _judged(is_reached: bool, told: str) -> str:  # noqa: FBT001
    return f"**yes** {told}" if is_reached else f"no {told}"
