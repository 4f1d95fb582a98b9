"""`tokengraft plan`."""

from __future__ import annotations

from pathlib import Path

import click

from tokengraft.cli import next_commands
from tokengraft.cli.options import a_path, command, existing_file, set_option
from tokengraft.cli.session import Session


@command("plan")
@click.argument("source", metavar="SRC")
@existing_file("recipe", "RECIPE")
@click.option(
    "-o",
    "--out",
    metavar="PLAN.json",
    type=a_path(),
    help="Write the plan, and its values beside it if it has any.",
)
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there is something to change.")
@set_option
def plan(
    session: Session,
    *,
    source: str,
    recipe: Path,
    out: Path | None,
    exit_code: bool,
    overrides: tuple[str, ...],
) -> int:
    """Say what RECIPE would change in SRC, row by row and file by file.

    Writes nothing but PLAN.json.
    """
    from tokengraft import flow
    from tokengraft.reporting.row_texts import row_texts
    from tokengraft.reporting.text import Beside

    with session.listening() as listen:
        planned = flow.make_plan(source, recipe, overrides=overrides, listen=listen)
        if out is not None:
            flow.write_plan(planned, out)
    if not planned.plan.changes_anything:
        then = next_commands.command("audit", source)
    elif out is not None:
        then = next_commands.apply(out, source)
    else:
        then = next_commands.apply(recipe, source, overrides)
    session.show(
        planned.plan,
        Beside(next=(then,), texts=row_texts(planned.plan, planned.checkpoint.tokenizer)),
    )
    return int(exit_code and planned.plan.changes_anything)
