"""The command `tokengraft`: a group whose commands are loaded when they are asked for."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NoReturn, cast

import click

from tokengraft import __version__
from tokengraft.cli import terminal
from tokengraft.cli.errors import guarded
from tokengraft.cli.help import Group
from tokengraft.cli.language import language
from tokengraft.cli.options import common_options
from tokengraft.cli.session import Watch
from tokengraft.cli.table import COMMANDS, LATER
from tokengraft.errors import UsageError


class Tokengraft(Group):
    """A group that knows its commands by a table."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's form
        return list(COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002  click's form
        cmd_name: str,
    ) -> click.Command | None:
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        module = importlib.import_module(place.module)
        return cast("click.Command", getattr(module, place.attribute))

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002  click's form
        formatter: click.HelpFormatter,
    ) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.help) for name, place in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            raise _no_such_command(name)
        return super().resolve_command(ctx, args)

    def main(  # type: ignore[override]  # click's overloads serve standalone_mode alone
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        **extra: Any,  # noqa: ANN401, ARG002  click's form
    ) -> NoReturn:
        """Run, tell what went wrong, and end the process with the code of the contract."""
        given = list(sys.argv[1:] if args is None else args)
        name = prog_name or "tokengraft"
        if os.environ.get(complete_var or "_TOKENGRAFT_COMPLETE"):
            super().main(given, name, complete_var)
        watch = Watch(as_json=_wants_json(given), language=language(given, os.environ, sys.stdout))
        sys.exit(guarded(lambda: self._answer(given, name, watch), watch))

    def _answer(self, arguments: list[str], name: str, watch: Watch) -> int:
        """Run without click's own handling of errors, which hides broken pipes and bugs."""
        try:
            with self.make_context(name, arguments, obj=watch) as context:
                answer = self.invoke(context)
        except click.exceptions.Exit as end:
            return end.exit_code
        return answer if isinstance(answer, int) else 0


def _no_such_command(name: str) -> UsageError:
    if name in LATER:
        summary, detail, hint = LATER[name]
        return UsageError(summary, detail=detail, hint=hint)
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"tokengraft {near[0]}" if near else "tokengraft --help"
    return UsageError(f"there is no command {name!r}", hint=hint)


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether errors must be JSON, asked before anything was parsed."""
    options = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    pairs = pairwise(options)
    return "--json" in options or "--format=json" in options or ("--format", "json") in pairs


def _version(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001  click's form
    if not value or ctx.resilient_parsing:
        return
    if ctx.ensure_object(Watch).as_json:
        from tokengraft.reporting import json

        answer = {"schema": "tokengraft/version", "version": 1, "tool": __version__}
        terminal.write_data(json.text(answer))
    else:
        terminal.write(f"tokengraft {__version__}\n")
    ctx.exit()


@click.group(
    cls=Tokengraft,
    name="tokengraft",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command takes --json, -q, --color and --lang. Start with: tokengraft demo",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Print the version.",
)
@click.pass_context
def app(ctx: click.Context, /, **options: object) -> None:
    """Change the vocabulary of a language model, and prove that nothing else moved.

    SRC is a folder, a repo id, or hf://org/name@revision. Sources are never written to.
    """
    ctx.ensure_object(Watch).defaults = options


app.params.extend(common_options(hidden=True))
