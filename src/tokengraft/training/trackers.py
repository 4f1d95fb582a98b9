"""Curves in a program that shows them while a training runs, beside the JSON Lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokengraft.errors import MissingExtra
from tokengraft.recipes import Log

PROJECT = "tokengraft"
Track = Callable[[Mapping[str, float], int], None]  # figures, at a step


def require_tracker(log: Log, subject: str) -> None:
    """Refuse a program that is not installed, before anything is read.

    Raises:
        MissingExtra: it is not.
    """
    if log != "jsonl" and not find_spec(log):
        raise MissingExtra(
            f"log = {log!r} needs {log}, which is not installed",
            detail="curves are written as JSON Lines in any case",
            subject=subject,
            hint=f"pip install {log}, or leave log out",
        )


@contextmanager
def tracked(log: Log, folder: Path) -> Iterator[Track]:
    """Send figures to the program, by Accelerate's trackers; `jsonl` sends none.

    Args:
        folder: where it keeps what it is told, if it keeps it in a folder.
    """
    if log == "jsonl":
        yield _nothing
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = LOGGER_TYPE_TO_CLASS[log]
    where = (str(folder),) if kind.requires_logging_directory else ()
    tracker: Any = kind(PROJECT, *where)
    if hasattr(tracker, "start"):  # older versions of Accelerate start one as it is made
        tracker.start()
    try:
        yield lambda figures, step: tracker.log(dict(figures), step=step)
    finally:
        tracker.finish()


def _nothing(_: Mapping[str, float], __: int) -> None:
    """Tell nobody."""
