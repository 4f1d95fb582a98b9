"""Results of methods that were measured, kept by method, so that a run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.rows.measure import Result


def is_same_run(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether what lies in the folder was measured like this; the first run says how."""
    path = folder / "settings.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
    return bool(json.loads(path.read_text("utf-8")) == json.loads(json.dumps(settings)))


def keep(folder: Path, method: str, results: list[Result]) -> None:
    """Write the results of one method, one or two variants."""
    folder.mkdir(parents=True, exist_ok=True)
    told = [
        {
            "method": r.method,
            "variant": r.variant,
            "arrays": {key: values.tolist() for key, values in r.arrays.items()},
            "figures": dict(r.figures),
            "skipped": r.skipped,
        }
        for r in results
    ]
    (folder / f"{method}.json").write_text(json.dumps(told) + "\n", "utf-8")


def kept(folder: Path, method: str) -> list[Result] | None:
    """What was kept of a method; None if it was not measured."""
    path = folder / f"{method}.json"
    if not path.exists():
        return None
    return [
        Result(
            one["method"],
            one["variant"],
            {key: np.array(values, np.float64) for key, values in one["arrays"].items()},
            one["figures"],
            one["skipped"],
        )
        for one in json.loads(path.read_text("utf-8"))
    ]
