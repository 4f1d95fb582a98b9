"""`tokengraft train`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import click

from tokengraft.cli import next_commands
from tokengraft.cli.options import (
    a_path,
    command,
    copy_option,
    existing_file,
    replace_option,
    set_option,
)
from tokengraft.cli.session import Session
from tokengraft.errors import UsageError


@command("train")
@click.argument("source", metavar="SRC")
@existing_file("recipe", "RECIPE")
@click.option("-o", "--out", metavar="OUT", type=a_path(), help="The folder to make.")
@click.option(
    "--estimate", is_flag=True, help="Print memory and time before anything is loaded, and stop."
)
@copy_option
@replace_option
@set_option
def train(
    session: Session,
    *,
    source: str,
    recipe: Path,
    out: Path | None,
    estimate: bool,
    copy: Literal["auto", "reflink", "copy", "link"],
    replace: bool,
    overrides: tuple[str, ...],
) -> int:
    """Train the new tokens as [train] says, and make OUT from the base with the rows that result.

    What is finished is kept in OUT.training, so a second call goes on where the first stopped.
    Exits with 1 if a check of the result fails.
    """
    from tokengraft import flow
    from tokengraft.reporting.text import Beside

    if estimate:
        if flow.is_follower():
            return 0
        with session.listening() as listen:
            needed = flow.estimate(source, recipe, overrides=overrides, listen=listen)
        session.show(needed, Beside(next=(_command(source, recipe, out, overrides),)))
        return 0
    if out is None:
        raise UsageError("OUT is not named", hint=_command(source, recipe, Path("OUT"), overrides))
    session.watch.writes(out)
    started = time.monotonic()
    with session.listening() as listen:
        if flow.follow(listen):
            return 0
        done = flow.train(
            source,
            recipe,
            out=out,
            copy=copy,
            replace=replace,
            overrides=overrides,
            listen=listen,
        )
        proved = flow.verify(out, against=source, listen=listen)
    told = flow.told(done, proved, round(time.monotonic() - started, 3))
    session.show(told, Beside(next=(next_commands.verify(out, source),), place=str(out)))
    return 0 if proved.passed else 1


def _command(source: str, recipe: Path, out: Path | None, overrides: tuple[str, ...]) -> str:
    where = next_commands.beside(source) if out is None else out
    return next_commands.command(
        "train", source, recipe, *next_commands.settings(overrides), "-o", where
    )
