"""What was measured, kept by method and seed, so that a run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.rows.measure import Result
from benchmarks.rows.strata import Stratum
from benchmarks.rows.subject import TEST


def is_same_run(folder: Path, settings: Mapping[str, Any]) -> bool:
    """Whether what lies in the folder was measured like this; the first run says how."""
    path = folder / "settings.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
    return bool(json.loads(path.read_text("utf-8")) == json.loads(json.dumps(settings)))


def digest(stratum: Stratum) -> str:
    """Of what a stratum is measured on: code that cuts other windows measures something else.

    How much neutral text is fitted on is a setting.
    """
    found = hashlib.sha256()
    for phrase in stratum.phrases:
        found.update(repr((phrase.text, phrase.pieces)).encode())
    for windows in stratum.windows.values():
        found.update(windows.ids_WT.tobytes() + windows.at_W.tobytes())
    background = stratum.backgrounds[TEST]
    found.update(background.ids_ST.tobytes() + background.keep_ST.tobytes())
    return found.hexdigest()


def keep(folder: Path, seed: int, results: Sequence[Result]) -> None:
    """Write what one seed of a method gave, one or two variants.

    That a method was skipped is not kept: it may have what it wants the next time.
    """
    measured = [r for r in results if not r.skipped]
    if not measured:
        return
    folder.mkdir(parents=True, exist_ok=True)
    told = [
        {
            "method": r.method,
            "variant": r.variant,
            "arrays": {key: values.tolist() for key, values in r.arrays.items()},
            "figures": dict(r.figures),
        }
        for r in measured
    ]
    _path(folder, measured[0].method, seed).write_text(json.dumps(told) + "\n", "utf-8")


def kept(folder: Path, method: str, seed: int) -> list[Result] | None:
    """What was kept of one seed of a method; None if it was not measured."""
    path = _path(folder, method, seed)
    if not path.exists():
        return None
    return [
        Result(
            one["method"],
            one["variant"],
            {key: np.array(values, np.float64) for key, values in one["arrays"].items()},
            one["figures"],
        )
        for one in json.loads(path.read_text("utf-8"))
    ]


def every_seed(folder: Path, method: str) -> list[Result]:
    """All that was kept of a method, mean over its seeds."""
    seeds = sorted(int(path.suffixes[-2][1:]) for path in folder.glob(f"{method}.*.json"))
    return averaged([kept(folder, method, seed) or () for seed in seeds])


def forget(folder: Path, method: str) -> None:
    """Throw away what was kept of a method."""
    for path in folder.glob(f"{method}.*.json"):
        path.unlink()


def averaged(seeds: Sequence[Sequence[Result]]) -> list[Result]:
    """Each variant of a method, mean over seeds; figures that only some seeds have, over those."""
    variants: dict[str, list[Result]] = {}
    for results in seeds:
        for result in results:
            variants.setdefault(result.variant, []).append(result)
    return [
        Result(
            runs[0].method,
            variant,
            {key: np.mean([r.arrays[key] for r in runs], axis=0) for key in runs[0].arrays},
            {
                key: float(np.mean([r.figures[key] for r in runs if key in r.figures]))
                for key in runs[0].figures
            },
            seeds=len(runs),
        )
        for variant, runs in variants.items()
    ]


def _path(folder: Path, method: str, seed: int) -> Path:
    return folder / f"{method}.{seed}.json"
