"""Progress of long steps on stderr: bars in a terminal, one line a step elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tokengraft.cli import terminal
from tokengraft.cli.terminal import Colour
from tokengraft.events import Done, Event, Listen, Note, Progress, Started, ignore
from tokengraft.reporting.catalogue import ENGLISH, Words

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

# In the log of a CI run a line now and then shows that something moves.
SECONDS_BETWEEN_LINES: Final = 30.0


@contextmanager
def listening(*, quiet: bool, color: Colour, words: Words = ENGLISH) -> Iterator[Listen]:
    """Listen in the way that stderr permits while the block runs."""
    if quiet:
        yield ignore
    elif terminal.is_terminal(sys.stderr):
        with _bars(color, words) as bars:
            yield BarListener(bars, words)
    else:
        yield LineListener(terminal.complain, words=words)


class LineListener:
    """One line when a step starts, one for each note, and one every half minute."""

    def __init__(
        self,
        write: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        words: Words = ENGLISH,
    ) -> None:
        self._write = write
        self._words = words
        self._clock = clock
        self._said: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self._said[event.step] = self._clock()
                size = f" ({_amount(self._words, event.total, event.unit)})" if event.total else ""
                self._line(event.step, f"{event.subject}{size}")
            case Progress():
                self._moved(event)
            case Note():
                self._line(event.step, self._words.translated(event.text))
            case Done():
                self._said.pop(event.step, None)

    def _moved(self, event: Progress) -> None:
        now = self._clock()
        last = self._said.setdefault(event.step, now)
        if now - last >= SECONDS_BETWEEN_LINES:
            self._said[event.step] = now
            done = _amount(self._words, event.done, event.unit)
            if event.total:
                total = _amount(self._words, event.total, event.unit)
                done = self._words("{done} of {total}", done=done, total=total)
            self._line(event.step, f"{event.subject} {done}")

    def _line(self, step: str, text: str) -> None:
        from tokengraft.reporting import escape

        told = self._words(step)
        self._write(f"{told}: {escape.inline(text.strip())}\n" if text.strip() else f"{told}\n")


def _amount(words: Words, number: int, unit: str) -> str:
    return words.size(number) if unit == "B" else words.number(number)


class BarListener:
    """A bar for each step that is under way; notes stay above the bars."""

    def __init__(self, bars: Bars, words: Words = ENGLISH) -> None:
        self._bars = bars
        self._words = words
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                self._update(event.step, event.subject, 0, event.total, event.unit)
            case Progress():
                self._update(event.step, event.subject, event.done, event.total, event.unit)
            case Note():
                from rich.text import Text

                self._bars.console.print(
                    Text(self._label(event.step, self._words.translated(event.text)))
                )
            case Done():
                task = self._tasks.pop(event.step, None)
                if task is not None:
                    self._bars.remove_task(task)

    def _update(self, step: str, subject: str, done: int, total: int, unit: str) -> None:
        known = total or None
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task("", total=known)
        self._bars.update(
            self._tasks[step],
            completed=done,
            total=known,
            label=self._label(step, subject),
            unit=unit,
        )

    def _label(self, step: str, text: str) -> str:
        from tokengraft.reporting import escape

        told = self._words(step)
        return f"{told}: {escape.inline(text)}" if text else told


def _bars(color: Colour, words: Words) -> Bars:
    """Bars with amount, rate and time left, in bytes or in whatever a step counts."""
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Label(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(str(task.fields.get("label", "")), overflow="ellipsis", no_wrap=True)

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            unit = str(task.fields.get("unit", "B"))
            total = f" / {_amount(words, int(task.total), unit)}" if task.total else ""
            rate = f"  {_amount(words, int(task.speed), unit)}/s" if task.speed else ""
            return Text(f"{_amount(words, int(task.completed), unit)}{total}{rate}")

    console = Console(
        file=sys.stderr,
        color_system="auto" if terminal.wants_colour(color, sys.stderr) else None,
        markup=False,
        emoji=False,
        highlight=False,
    )
    return Bars(
        Label(), BarColumn(), Amount(), TimeRemainingColumn(), console=console, transient=True
    )
