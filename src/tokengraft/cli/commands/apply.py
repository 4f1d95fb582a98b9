"""`tokengraft apply`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from tokengraft.cli import next_commands
from tokengraft.cli.options import Making, command, existing_file, making_options
from tokengraft.cli.session import Session


@command("apply")
@existing_file("plan", "PLAN|RECIPE")
@making_options
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
def apply(session: Session, *, plan: Path, making: Making, dry_run: bool) -> None:
    """Make OUT exactly as planned; the base is never written to.

    OUT appears complete, or not at all. A recipe's [train] is left undone.
    """
    if dry_run:
        _dry_run(session, plan, making)
        return
    from tokengraft import flow
    from tokengraft.reporting.text import Beside

    session.watch.writes(making.out)
    started = time.monotonic()
    with session.listening() as listen:
        done = flow.apply(
            plan,
            base=making.base,
            out=making.out,
            copy=making.copy,
            replace=making.replace,
            overrides=making.overrides,
            listen=listen,
        )
    seconds = round(time.monotonic() - started, 3)
    then = next_commands.verify(making.out, making.base or next_commands.base_of(done.plan))
    beside = Beside(next=(then,), undone=done.undone, seconds=seconds, place=str(making.out))
    session.show(done.receipt, beside, {"seconds": seconds, "undone": list(done.undone)})


def _dry_run(session: Session, plan: Path, making: Making) -> None:
    from tokengraft import flow
    from tokengraft.reporting.row_texts import row_texts
    from tokengraft.reporting.text import Beside

    with session.listening() as listen:
        planned = flow.dry_run(
            plan,
            base=making.base,
            out=making.out,
            copy=making.copy,
            replace=making.replace,
            overrides=making.overrides,
            listen=listen,
        )
    given = ("--base", making.base) if making.base else ()
    ways = ("--copy", making.copy) if making.copy != "auto" else ()
    replace = ("--replace",) if making.replace else ()
    settings = next_commands.settings(making.overrides)
    then = next_commands.command(
        "apply", plan, *given, *ways, *replace, *settings, "-o", making.out
    )
    session.show(
        planned.plan,
        Beside(next=(then,), texts=row_texts(planned.plan, planned.checkpoint.tokenizer)),
    )
