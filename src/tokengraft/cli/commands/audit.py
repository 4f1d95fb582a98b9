"""`tokengraft audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from tokengraft.cli import next_commands, terminal
from tokengraft.cli.options import GOALS, PRESETS, a_path, command
from tokengraft.cli.rule_pages import rule_of
from tokengraft.cli.session import Session
from tokengraft.errors import UsageError

if TYPE_CHECKING:
    from tokengraft.findings import Audit
    from tokengraft.reporting.text import Beside

_WORSE = {"error": ("error",), "warning": ("error", "warning"), "never": ()}


@command("audit")
@click.argument("source", metavar="SRC")
@click.option("--goal", type=click.Choice(GOALS), help="Judge for this goal alone.")
@click.option("--deep", is_flag=True, help="Read the embedding rows too, once each.")
@click.option(
    "--fail-on",
    type=click.Choice(tuple(_WORSE)),
    default="error",
    show_default=True,
    help="Exit with 1 if there are findings of this severity or above.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(("text", "json", "sarif", "github")),
    help="How to print the findings.  [default: text]",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Show every finding with its detail, on as many screens as that takes.",
)
@click.option(
    "--write-recipe",
    metavar="FILE",
    type=a_path(),
    help="Write a recipe with the safe fixes of the findings, and with what --goal wants.",
)
def audit(
    session: Session,
    *,
    source: str,
    goal: str | None,
    deep: bool,
    fail_on: str,
    form: str | None,
    everything: bool,
    write_recipe: Path | None,
) -> int:
    """Say whether it makes sense to change anything in SRC, and why.

    Reads the small files and the headers of the weights; with --deep the embedding rows too.
    """
    if session.as_json and form not in (None, "json"):
        raise UsageError(
            f"--json and --format {form} contradict each other", hint="leave one of them out"
        )
    from tokengraft import flow

    if write_recipe is not None:
        _must_be_new(write_recipe)
    with session.listening() as listen:
        found = flow.audit(source, goal=cast("Any", goal), deep=deep, listen=listen)
    written = (
        _write_recipe(session, found, source, write_recipe) if write_recipe is not None else None
    )
    from tokengraft.reporting.text import Beside

    beside = Beside(next=_next(found, source, written), everything=everything)
    _show(session, found, form or "text", beside)
    return int(any(finding.severity in _WORSE[fail_on] for finding in found.findings))


def _must_be_new(path: Path) -> None:
    from tokengraft.cli.writing import must_be_new

    must_be_new(path)


def _write_recipe(session: Session, found: Audit, source: str, path: Path) -> Path:
    from tokengraft import flow
    from tokengraft.cli.writing import write_new
    from tokengraft.reporting.fixes import recipe_of

    wanted = found.goal is not None and found.verdict in ("safe-change", "needs-training")
    preset = found.goal if wanted and found.goal in PRESETS else None
    section = None if preset is None else (preset, flow.preset_section(source, preset))
    write_new(path, recipe_of(found, source, session.words, wish=section))
    return path


def _show(session: Session, found: Audit, form: str, beside: Beside) -> None:
    if form == "sarif":
        from tokengraft import __version__, flow
        from tokengraft.reporting import sarif

        pages = tuple(map(rule_of, flow.rules()))
        folder = _folder_here(found.source)
        log = sarif.findings(
            found, pages, __version__, home=_home(), folder=folder, say=session.words
        )
        terminal.write_data(log)
    elif form == "github":
        from tokengraft.reporting import github

        folder = _folder_here(found.source)
        terminal.write_data(github.findings(found, session.words, folder=folder))
    else:
        session.show(found, beside)


def _home() -> str:
    """Where the installed package says that its documentation is; empty where it does not."""
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = metadata("tokengraft").get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a checkout
        return ""
    named: dict[str, str] = dict(url.split(", ", 1) for url in urls)
    return named.get("Documentation", "")


def _folder_here(source: str) -> str:
    """Where a folder lies below the current one, in which a repository is scanned; else ""."""
    folder = Path(source).expanduser()
    here = Path.cwd()
    if not folder.is_dir() or not folder.resolve().is_relative_to(here):
        return ""
    return folder.resolve().relative_to(here).as_posix().removeprefix(".")


def _next(found: Audit, source: str, written: Path | None) -> tuple[str, ...]:
    if written is not None:
        return (next_commands.command("plan", source, written),)
    if found.next:
        return (found.next,)
    if found.verdict == "leave-as-is":
        return (next_commands.command("show", source),)
    goal = found.goal if found.goal in PRESETS else None
    preset = ("--preset", goal) if goal else ()
    return (next_commands.command("recipe new", source, *preset, "-o", "recipe.toml"),)
