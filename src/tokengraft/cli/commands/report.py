"""`tokengraft report`."""

from __future__ import annotations

from pathlib import Path

import click

from tokengraft.cli import next_commands
from tokengraft.cli.options import a_path, command
from tokengraft.cli.session import Session
from tokengraft.errors import UsageError


@command("report")
@click.argument("out", metavar="OUT", type=a_path())
@click.option(
    "-o",
    "--out",
    "file",
    required=True,
    metavar="FILE.html",
    type=a_path(),
    help="The file to write.",
)
@click.option("--against", metavar="SRC", help="The base: shows what was there before.")
@click.option(
    "--training",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Records of the training.  [default: OUT.training, if it is there]",
)
@click.option(
    "--text",
    "texts",
    metavar="TEXT",
    multiple=True,
    help="A text to show cut into tokens. May be repeated.",
)
@click.option("--deep", is_flag=True, help="Run base and result too (needs --against and torch).")
@click.option(
    "--texts",
    "long_texts",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Text to encode before and after; --deep reads long texts from it. May be repeated.",
)
@click.option("--no-verify", "unproved", is_flag=True, help="Do not prove OUT again; says so.")
@click.option("--replace", is_flag=True, help="Replace FILE.html even if it is no report of ours.")
def report(
    session: Session,
    *,
    out: Path,
    file: Path,
    against: str | None,
    training: Path | None,
    texts: tuple[str, ...],
    deep: bool,
    long_texts: tuple[Path, ...],
    unproved: bool,
    replace: bool,
) -> None:
    """Tell the whole story of OUT in one HTML file that needs no network.

    What changed, tokens, rows, curves, behaviour, proof, and how to serve, undo and share it.
    """
    from tokengraft import flow
    from tokengraft.reporting.text import Beside

    if unproved and (deep or long_texts):
        raise UsageError(
            "--deep and --texts belong to the proof that --no-verify leaves out",
            hint=next_commands.command("report", out, "-o", file, "--deep"),
        )
    request = flow.ReportRequest(
        out,
        against,
        training,
        proves=not unproved,
        texts=texts,
        deep=deep,
        long_texts=long_texts,
    )
    with session.listening() as listen:
        written = flow.report(
            request, file, language=session.language, replace=replace, listen=listen
        )
    session.show(written, Beside(next=(next_commands.verify(out, against),)))
