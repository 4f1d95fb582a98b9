"""Progress as values: steps emit, views listen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Started:
    """A step begins; `total` is in `unit`, 0 where it is not known."""

    step: str
    subject: str = ""
    total: int = 0
    unit: str = "B"


@dataclass(frozen=True, slots=True)
class Progress:
    """A step has done `done` of `total` `unit`s in all (not since the last event)."""

    step: str
    subject: str
    done: int
    total: int
    unit: str = "B"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the user should read, one line."""

    step: str
    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """A step has ended well."""

    step: str
    subject: str = ""


Event = Started | Progress | Note | Done
Listen = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""
