"""`tokengraft recipe new`, `check` and `schema`."""

from __future__ import annotations

from pathlib import Path

import click

from tokengraft.cli import next_commands, terminal
from tokengraft.cli.help import Group
from tokengraft.cli.options import (
    PRESETS,
    a_path,
    command,
    common_options,
    existing_file,
    set_option,
)
from tokengraft.cli.session import Session, Watch


@click.group("recipe", cls=Group)
@click.pass_context
def recipe(ctx: click.Context, /, **options: object) -> None:
    """Write a recipe, check one, or print what a recipe may hold."""
    given = {name: value for name, value in options.items() if value}
    watch = ctx.ensure_object(Watch)
    watch.defaults = {**watch.defaults, **given}


recipe.params.extend(common_options(hidden=True))


@command("new", short_help="Write a commented recipe for a checkpoint.")
@click.argument("source", metavar="SRC")
@click.option(
    "--preset",
    "presets",
    type=click.Choice(PRESETS),
    multiple=True,
    help="Begin with the sections for this goal. May be repeated.",
)
@click.option(
    "-o",
    "--out",
    metavar="FILE",
    type=a_path(),
    help="The file to write; must not exist.  [default: stdout]",
)
def new(session: Session, source: str, presets: tuple[str, ...], out: Path | None) -> None:
    """Write a commented recipe for this checkpoint."""
    from tokengraft import flow
    from tokengraft.answers import RecipeText
    from tokengraft.cli.writing import must_be_new, write_new
    from tokengraft.reporting import recipe_comments
    from tokengraft.reporting.text import Beside

    if out is not None:
        must_be_new(out)
    with session.listening() as listen:
        text = flow.new_recipe(source, presets, listen)
    if not session.as_json:
        text = recipe_comments.translated(text, session.screen.words)
    if out is None and not session.as_json:
        terminal.write_data(text)  # to be redirected: the recipe and nothing else
        return
    if out is not None:
        write_new(out, text)
    then = (next_commands.command("plan", source, out),) if out is not None else ()
    session.show(RecipeText(path=None if out is None else str(out), text=text), Beside(next=then))


@command("check", short_help="Name all that is wrong with a recipe.")
@existing_file("recipe", "FILE")
@click.argument("source", metavar="[SRC]", required=False)
@set_option
def check(session: Session, recipe: Path, source: str | None, overrides: tuple[str, ...]) -> int:
    """Name all that is wrong with a recipe, at once; with SRC also what SRC cannot do."""
    from tokengraft import flow
    from tokengraft.answers import Problems
    from tokengraft.reporting.text import Beside

    with session.listening() as listen:
        problems = flow.check_recipe(recipe, source, overrides, listen)
    given = next_commands.settings(overrides)
    if problems:
        then = next_commands.command("recipe schema")
    elif source is not None:
        then = next_commands.command("plan", source, recipe, *given)
    else:
        then = next_commands.command("run", recipe, *given, "-o", next_commands.beside(None))
    session.show(Problems(recipe=str(recipe), problems=problems), Beside(next=(then,)))
    return 2 if problems else 0


@command("schema", short_help="Print the JSON Schema of recipes.")
def schema(session: Session) -> None:  # noqa: ARG001  the schema is JSON either way
    """Print the JSON Schema of recipes."""
    from tokengraft import flow
    from tokengraft.reporting import json

    terminal.write_data(json.text(flow.recipe_schema()))


for _part in (new, check, schema):
    recipe.add_command(_part)
