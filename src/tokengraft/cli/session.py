"""What every command is given: how to speak, and where."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tokengraft.cli import terminal
from tokengraft.cli.terminal import Colour

if TYPE_CHECKING:
    from tokengraft.documents import Document
    from tokengraft.events import Listen
    from tokengraft.reporting.catalogue import Words
    from tokengraft.reporting.screen import Screen
    from tokengraft.reporting.text import Beside


@dataclass
class Watch:
    """What the end of a run must know, however it ends; one for each run of the command line."""

    as_json: bool = False
    language: str = "en"
    target: Path | None = None
    found: tuple[int, int] | None = None
    defaults: dict[str, object] = field(default_factory=dict)

    def writes(self, target: Path) -> None:
        """Remember what stood at a destination before anything was done to it."""
        self.target, self.found = target, _identity(target)

    def published(self) -> Path | None:
        """The destination, if something else stands there now."""
        if self.target is None or _identity(self.target) in (None, self.found):
            return None
        return self.target


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@dataclass(frozen=True, slots=True)
class Session:
    """The common options of one command, and what they mean."""

    watch: Watch
    as_json: bool
    quiet: bool
    color: Colour
    language: str

    @property
    def words(self) -> Words:
        from tokengraft.reporting.catalogue import BY_LANGUAGE

        return BY_LANGUAGE[self.language]

    @property
    def screen(self) -> Screen:
        return terminal.screen(self.color, self.language, sys.stdout)

    def show(
        self,
        value: Document,
        beside: Beside | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        """Print the answer of a command: the one JSON document, or the view for people."""
        if self.as_json:
            from tokengraft.reporting import json

            terminal.write_data(json.document(value, extra))
            return
        from tokengraft.reporting.text import view

        terminal.write(view(value, self.screen, beside))

    @contextmanager
    def listening(self) -> Iterator[Listen]:
        """Show progress on stderr while the block runs; the value is what steps report to."""
        from tokengraft.cli import progress

        with progress.listening(quiet=self.quiet, color=self.color, words=self.words) as listen:
            yield listen
