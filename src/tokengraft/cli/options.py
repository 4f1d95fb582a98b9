"""Options that several commands share, and the decorator that makes a command."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

import click

from tokengraft.cli.help import Command
from tokengraft.cli.language import LANGUAGES, VARIABLE
from tokengraft.cli.session import Session, Watch

Body = Callable[..., int | None]

# Spelled out so that `--help` need not import pydantic; a test compares them with `findings`.
GOALS: Final = (
    "inference", "roles", "tools", "thinking", "protocol", "context", "pad", "lora",
)  # fmt: skip
PRESETS: Final = tuple(goal for goal in GOALS if goal not in ("inference", "lora"))
WAYS_OF_COPYING: Final = ("auto", "reflink", "copy", "link")


def common_options(*, hidden: bool = False) -> list[click.Parameter]:
    """The options that stand after any command."""
    return [
        click.Option(["--json", "as_json"], is_flag=True, hidden=hidden,
                     help="One JSON document on stdout, errors included."),
        click.Option(["-q", "--quiet"], is_flag=True, hidden=hidden,
                     help="No progress and no notes on stderr."),
        click.Option(["--color"], type=click.Choice(("auto", "always", "never")), hidden=hidden,
                     help="Colours; auto follows the terminal, NO_COLOR and FORCE_COLOR."),
        click.Option(["--lang"], type=click.Choice(LANGUAGES), envvar=VARIABLE, show_envvar=True,
                     hidden=hidden,
                     help="Language of what people read; the default follows the locale."),
    ]  # fmt: skip


def command(name: str, *, short_help: str | None = None) -> Callable[[Body], click.Command]:
    """Make a command that accepts the common options and is given a `Session`."""

    def decorate(body: Body) -> click.Command:
        @functools.wraps(body)
        def entry(
            *, as_json: bool, quiet: bool, color: str | None, lang: str | None, **values: object
        ) -> int | None:
            del lang  # click has checked it
            return body(session_of(as_json=as_json, quiet=quiet, color=color), **values)

        made = click.command(name, cls=Command, short_help=short_help)(entry)
        made.params.extend(common_options())
        return made

    return decorate


def session_of(*, as_json: bool, quiet: bool, color: str | None) -> Session:
    """Join the command's own options with those that stood before the command.

    The language was found before anything was parsed.
    """
    watch = click.get_current_context().ensure_object(Watch)
    before = watch.defaults
    watch.as_json = watch.as_json or as_json or bool(before.get("as_json"))
    return Session(
        watch=watch,
        as_json=watch.as_json,
        quiet=quiet or bool(before.get("quiet")),
        color=cast("Any", color or before.get("color") or "auto"),
        language=watch.language,
    )


def existing_file(name: str, metavar: str) -> Callable[[Body], Body]:
    """An argument that names a file that is there."""
    kind = click.Path(exists=True, dir_okay=False, path_type=Path)
    return cast("Any", click.argument(name, metavar=metavar, type=kind))  # type: ignore[no-any-return]


def a_path() -> click.Path:
    """A path that may not be there yet."""
    return click.Path(path_type=Path)


set_option = click.option(
    "--set",
    "overrides",
    metavar="A.B=VALUE",
    multiple=True,
    help="Set a value of the recipe, e.g. context.length=65536. May be repeated.",
)
copy_option = click.option(
    "--copy",
    "copy",
    type=click.Choice(WAYS_OF_COPYING),
    default="auto",
    show_default=True,
    help="How unchanged files get into OUT; link shares them with the base.",
)
replace_option = click.option(
    "--replace", is_flag=True, help="Put the result in the place of an existing OUT."
)


@dataclass(frozen=True, slots=True)
class Making:
    """What all commands that make OUT from a plan or a recipe are told."""

    base: str | None
    out: Path
    copy: Literal["auto", "reflink", "copy", "link"]
    replace: bool
    overrides: tuple[str, ...]


def making_options(body: Body) -> Body:
    """Add the options of `Making` and hand them over as one value, `making`."""

    @functools.wraps(body)
    def entry(session: Session, **values: Any) -> int | None:  # noqa: ANN401  as click has parsed
        names = ("base", "out", "copy", "replace", "overrides")
        making = Making(**{name: values.pop(name) for name in names})
        return body(session, making=making, **values)

    options = (
        click.option(
            "--base",
            metavar="SRC",
            help="The checkpoint to start from; wins over the one in the file.",
        ),
        click.option(
            "-o", "--out", required=True, metavar="OUT", type=a_path(), help="The folder to make."
        ),
        copy_option,
        replace_option,
        set_option,
    )
    for option in reversed(options):
        entry = option(entry)
    return entry
