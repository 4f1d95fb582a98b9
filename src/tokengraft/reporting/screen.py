"""Where a view is shown, and the few shapes that all views are made of.

rich lays out lines and tables. Its markup, its highlighting and its emoji codes are off: text of a
checkpoint must not be able to speak to it. Views return text; only the caller knows the stream.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tokengraft.reporting import escape
from tokengraft.reporting.catalogue import ENGLISH, Words

PLAIN_WIDTH = 100
# Stands for the space inside a number while lines are broken: a private character, of one column,
# which `escape` lets nobody write. A no-break space would be a place to break for rich.
_GLUE = "\ue000"
_GROUPS = re.compile(r"(?<=\d) (?=\d{3}(?!\d))")


@dataclass(frozen=True, slots=True)
class Screen:
    """What the place that shows a view can do.

    Attributes:
        unicode: whether ticks, dashes and arrows can be encoded there.
        words: the language of the view's own words.
    """

    width: int = PLAIN_WIDTH
    colour: bool = False
    unicode: bool = True
    words: Words = ENGLISH

    def sign(self, pretty: str, plain: str) -> str:
        return pretty if self.unicode else plain


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell with a style; a bare `str` is a cell without one."""

    text: str
    style: str = ""


class Page:
    """Collects one view; `text` is what was collected."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.say = screen.words
        self._buffer = io.StringIO()
        self._console = Console(
            file=self._buffer,
            width=screen.width,
            height=100,
            color_system="standard" if screen.colour else None,
            force_terminal=screen.colour,
            no_color=not screen.colour,
            force_jupyter=False,
            legacy_windows=False,
            markup=False,
            emoji=False,
            highlight=False,
            _environ={},  # rich reads the environment otherwise; that is the command line's to do
        )

    @property
    def text(self) -> str:
        lines = self._buffer.getvalue().replace(_GLUE, " ").split("\n")
        while lines and not lines[-1].strip():
            lines.pop()
        return "\n".join(line.rstrip() for line in lines) + "\n"

    def line(self, text: str = "", style: str = "", *, indent: int = 0) -> None:
        """A paragraph, wrapped at the width."""
        shown = Text(_block(text), style=style)
        self._console.print(Padding(shown, (0, 0, 0, indent)) if indent else shown)

    def item(self, sign: str, text: str, style: str = "", *, indent: int = 2) -> None:
        """An entry of a list: where it wraps, its lines begin under its text."""
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row(Text(sign, style=style), Text(_block(text), style=style))
        self._console.print(Padding(grid, (0, 0, 0, indent)))

    def exact(self, text: str, style: str = "") -> None:
        """A line that is never wrapped, because somebody will copy it."""
        self._console.print(Text(escape.inline(text), style=style), soft_wrap=True)

    def heading(self, text: str) -> None:
        """The name of a section, set apart by an empty line."""
        if self._buffer.tell():
            self._console.print()
        self.line(text, "bold")

    def banner(self, text: str, style: str) -> None:
        self.line(text, f"bold {style}".strip())

    def pairs(self, rows: Iterable[tuple[str, str | Cell]], *, indent: int = 2) -> None:
        """Names and values in two columns."""
        self.table((), ((Cell(name, "dim"), value) for name, value in rows), indent=indent)

    def table(
        self,
        headers: Sequence[str],
        rows: Iterable[Sequence[str | Cell]],
        *,
        right: frozenset[int] = frozenset(),
        indent: int = 2,
    ) -> None:
        """Columns without lines; `right` are columns of numbers."""
        kept = [tuple(row) for row in rows]
        if not kept:
            return
        table = Table.grid(padding=(0, 2, 0, 0))
        if headers:
            table.show_header = True
            table.header_style = "dim"
        for at in range(len(kept[0])):
            header = Text(headers[at]) if headers else ""
            table.add_column(header, justify="right" if at in right else "left", overflow="fold")
        for row in kept:
            table.add_row(*(_cell(cell) for cell in row))
        self._console.print(Padding(table, (0, 0, 0, indent)))

    def next(self, commands: Sequence[str]) -> None:
        """The last lines of every view: what to type now."""
        shown = [command for command in commands if command]
        if not shown:
            return
        self.heading(self.say("Next"))
        for command in shown:
            self.exact(f"  {command}", "cyan")


def _cell(cell: str | Cell) -> Text:
    if isinstance(cell, str):
        return Text(_block(cell))
    return Text(_block(cell.text), style=cell.style)


def _block(text: str) -> str:
    """Text without anything hostile in it, in which no number is broken at its thousands."""
    return _GROUPS.sub(_GLUE, escape.block(text))
