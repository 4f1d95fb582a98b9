"""`tokengraft verify`."""

from __future__ import annotations

from pathlib import Path

import click

from tokengraft.cli import next_commands
from tokengraft.cli.options import a_path, command
from tokengraft.cli.session import Session
from tokengraft.errors import UsageError


@command("verify")
@click.argument("out", metavar="OUT", type=a_path())
@click.option("--against", metavar="SRC", help="The base: proves that nothing else has moved.")
@click.option("--deep", is_flag=True, help="Run base and result too (needs --against and torch).")
@click.option(
    "--with",
    "witnesses",
    metavar="NAME,...",
    multiple=True,
    help="More witnesses, e.g. transformers.",
)
@click.option(
    "--texts",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Text to encode before and after; --deep reads long texts from it. May be repeated.",
)
@click.option(
    "--behaviour",
    metavar="SUITE",
    help="Ask the model: a suite of prompts, or auto for the rows that its training held out.",
)
@click.option("--before", metavar="OTHER", help="With --behaviour: a model to compare with.")
@click.option(
    "-o",
    "--record",
    "record",
    metavar="FILE",
    type=a_path(),
    help="With --behaviour: where to write what was measured.",
)
def verify(
    session: Session,
    *,
    out: Path,
    against: str | None,
    deep: bool,
    witnesses: tuple[str, ...],
    texts: tuple[Path, ...],
    behaviour: str | None,
    before: str | None,
    record: Path | None,
) -> int:
    """Prove what can be proved of OUT, and say what was skipped.

    Exits with 1 if a check fails. Behaviour is measured; it fails only where the suite sets a bound.
    """
    from tokengraft import flow
    from tokengraft.reporting.text import Beside

    named = tuple(name.strip() for given in witnesses for name in given.split(",") if name.strip())
    if behaviour is None and (before is not None or record is not None):
        raise UsageError(
            "--before and --record belong to --behaviour",
            hint=next_commands.command("verify", out, "--behaviour", "SUITE"),
        )
    with session.listening() as listen:
        proved = flow.verify(
            out,
            against=against,
            deep=deep,
            witnesses=named,
            texts=texts,
            behaviour=behaviour,
            before=before,
            record=record,
            listen=listen,
        )
    session.show(proved, Beside(next=(after(out, against, passed=proved.passed),)))
    return 0 if proved.passed else 1


def after(out: Path, against: str | None, *, passed: bool) -> str:
    """What to do with a result that was or was not verified."""
    if against is not None:
        return next_commands.command("diff", against, out)
    return next_commands.command("show" if passed else "audit", out)
