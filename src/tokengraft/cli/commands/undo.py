"""`tokengraft undo`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from tokengraft.cli import next_commands
from tokengraft.cli.options import a_path, command
from tokengraft.cli.session import Session


@command("undo")
@click.argument("out", metavar="OUT", type=a_path())
@click.option(
    "-o",
    "--out",
    "target",
    required=True,
    metavar="BASE",
    type=a_path(),
    help="The folder to make; must not exist.",
)
def undo(session: Session, out: Path, target: Path) -> None:
    """Give the base of OUT back, bit for bit, in the new folder BASE."""
    from tokengraft import flow
    from tokengraft.reporting.text import Beside

    session.watch.writes(target)
    started = time.monotonic()
    with session.listening() as listen:
        receipt = flow.undo(out, target=target, listen=listen)
    seconds = round(time.monotonic() - started, 3)
    then = next_commands.command("diff", target, out)
    beside = Beside(next=(then,), seconds=seconds, place=str(target))
    session.show(receipt, beside, {"seconds": seconds, "undone": []})
