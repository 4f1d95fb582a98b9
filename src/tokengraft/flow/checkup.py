"""`doctor`: what this machine and this installation can do, and what killed runs left."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from tokengraft import __version__
from tokengraft.answers import Ability, DeadStage, Doctor
from tokengraft.applying.abilities import abilities
from tokengraft.applying.clearing import clear, leftovers
from tokengraft.errors import UsageError
from tokengraft.hub import hub_cache

CORE = ("tokenizers", "safetensors", "numpy", "ml_dtypes", "pydantic", "huggingface_hub", "jinja2")
EXTRAS = ("torch", "transformers", "peft", "trl", "accelerate", "gguf", "starlette")
OFFLINE_SWITCHES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")


def doctor(clean: bool, folder: Path, environ: Mapping[str, str]) -> Doctor:  # noqa: FBT001
    """Look around, and remove dead stages in `folder` if asked to."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", subject=str(folder))
    stages = []
    for leftover in leftovers(folder):
        removed = clean and clear(leftover)
        stages.append(
            DeadStage(path=str(leftover.path), size_bytes=leftover.size_bytes, removed=removed)
        )
    return Doctor(
        tool=f"tokengraft {__version__}",
        folder=str(folder),
        versions=_versions(),
        abilities=(*_machine(), *abilities(folder)),
        stages=tuple(stages),
        cache=str(hub_cache()) if hub_cache().is_dir() else None,
        offline={name: environ[name] for name in OFFLINE_SWITCHES if name in environ},
    )


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in (*CORE, *EXTRAS):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _machine() -> Iterator[Ability]:
    tested = sys.platform == "linux"
    system = f"{platform.system()} {platform.release()}"
    yield Ability(
        name="operating system",
        status="yes" if tested else "unknown",
        evidence=system if tested else f"{system}: expected to work, tested on Linux only",
    )
    try:
        import resource
    except ImportError:
        yield Ability(
            name="limited children", status="no", evidence="limited by time alone, not by memory"
        )
    else:
        del resource
        yield Ability(name="limited children", status="yes", evidence="memory and CPU time limits")
