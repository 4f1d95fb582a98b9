"""`tokengraft demo`."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from tokengraft.cli import next_commands, terminal
from tokengraft.cli.options import a_path, command
from tokengraft.cli.session import Session

if TYPE_CHECKING:
    from tokengraft import flow
    from tokengraft.answers import DemoChapter


@command("demo")
@click.option(
    "-o",
    "--out",
    metavar="DIR",
    type=a_path(),
    help="Where to put what the demo makes.  [default: a new temporary folder]",
)
def demo(session: Session, out: Path | None) -> None:
    """Tell the whole story on the small model that ships with tokengraft: offline, CPU."""
    from tokengraft import flow
    from tokengraft.answers import Demo

    folder = out or Path(tempfile.mkdtemp(prefix="tokengraft-demo-"))
    started = time.monotonic()
    chapters = []
    with session.listening() as listen:
        for number, chapter in enumerate(
            flow.demo(folder, language=session.language, listen=listen), 1
        ):
            chapters.append(_kept(chapter))
            if not session.as_json:
                _tell(session, number, chapter)
    seconds = round(time.monotonic() - started, 3)
    if session.as_json:
        session.show(Demo(folder=str(folder), chapters=tuple(chapters), seconds=seconds))
        return
    from tokengraft.reporting.text import Beside, view

    then = next_commands.command("doctor", folder)
    say = session.words
    took = say("{seconds} s", seconds=say.decimal(f"{seconds:.1f}"))
    terminal.write("\n" + view(f"{folder}  ({took})", session.screen, Beside(next=(then,))))


def _kept(chapter: flow.Chapter) -> DemoChapter:
    from tokengraft.answers import DemoChapter

    value = chapter.value
    answer = value if isinstance(value, str) else cast("dict[str, Any]", value.as_dict())
    return DemoChapter(title=chapter.title, command=chapter.command, answer=answer)


def _tell(session: Session, number: int, chapter: flow.Chapter) -> None:
    from tokengraft.reporting import text

    screen = session.screen
    terminal.write(text.chapter(number, chapter.title, chapter.command, screen))
    # What old rows stand for, where the chapter knows it.
    texts = getattr(chapter, "texts", None) or {}
    terminal.write(text.view(chapter.value, screen, text.Beside(texts=texts)))
