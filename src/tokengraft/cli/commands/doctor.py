"""`tokengraft doctor`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tokengraft.cli import next_commands
from tokengraft.cli.options import command
from tokengraft.cli.session import Session


@command("doctor")
@click.argument(
    "folder",
    metavar="[DIR]",
    default=".",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--clean", is_flag=True, help="Remove what interrupted runs left in DIR.")
def doctor(session: Session, *, folder: Path, clean: bool) -> None:
    """Say what this machine can do, and what interrupted runs left in DIR."""
    from tokengraft import flow
    from tokengraft.reporting.text import Beside

    found = flow.doctor(clean, folder, os.environ)
    left = any(not stage.removed for stage in found.stages)
    where = folder if str(folder) != "." else None
    then = (
        next_commands.command("doctor", where, "--clean") if left else next_commands.command("demo")
    )
    session.show(found, Beside(next=(then,)))
