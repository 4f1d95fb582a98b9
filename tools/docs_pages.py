"""Pages of docs/reference that repeat what the code says: commands, initializers, errors, recipe."""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from click.formatting import HelpFormatter
from pydantic import BaseModel

from tokengraft import errors, recipes
from tokengraft.cli import errors as cli_errors
from tokengraft.cli.app import app
from tokengraft.cli.table import COMMANDS, LATER
from tokengraft.rows.choosing import AUTO
from tokengraft.rows.initializers import INITIALIZERS

NOTES = Path(__file__).resolve().parents[1] / "docs" / "reference" / "recipe-notes.toml"
COMMON = ("as_json", "quiet", "color", "lang")


def cell(text: str) -> str:
    """A text as one cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table, cells made harmless."""
    lines = [heads, ("---",) * len(heads), *(tuple(map(cell, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def paragraph(text: str) -> str:
    """Docstring text as Markdown prose: one paragraph a line, names in brackets left alone."""
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def escaped(text: str) -> str:
    """Prose in which angle brackets are text and not HTML; code in backticks stays."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part if part.startswith("`") else part.replace("<", "&lt;").replace("*", "\\*")
        for part in parts
    )


# ── pages ────────────────────────────────────────────────────────────────────────────────────────


def cli_page() -> str:
    """All commands, from click."""
    context = click.Context(app, info_name="tokengraft")
    parts = [
        "# Commands\n\n",
        "`SRC` is a folder, a repo id (`org/name`) or `hf://org/name@revision`.\n\n",
        "After any command:\n\n",
        table(
            ("option", ""),
            [option_row(p, context) for p in app.params if p.name in COMMON],
        ),
        "\nExit codes are listed with the [errors](errors.md).\n",
    ]
    for name in COMMANDS:
        command = app.get_command(context, name)
        assert command is not None
        parts += command_section(command, click.Context(command, context, info_name=name))
    parts.append("\n## Not there yet\n\nThese names are kept for what is planned, and say so:\n\n")
    rows = [(f"`tokengraft {name}`", why, f"`{hint}`") for name, (_, why, hint) in LATER.items()]
    return "".join(parts) + table(("command", "why", "until then"), rows)


def command_section(command: click.Command, context: click.Context) -> Iterator[str]:
    """A command: help, usage, options."""
    yield f"\n## {context.command_path}\n\n{escaped(paragraph(inspect.cleandoc(command.help or '')))}\n"
    if isinstance(command, click.Group):
        for name, part in command.commands.items():
            yield from command_section(part, click.Context(part, context, info_name=name))
        return
    formatter = HelpFormatter(width=1000)
    formatter.write_usage(context.command_path, " ".join(command.collect_usage_pieces(context)))
    usage = formatter.getvalue().strip().removeprefix("Usage: ")
    yield f"\n```\n{usage}\n```\n"
    options = [p for p in command.params if isinstance(p, click.Option) and p.name not in COMMON]
    shown = [option_row(p, context) for p in options if not p.hidden]
    if shown:
        yield "\n" + table(("option", ""), shown)
    promised = [f"`{p.opts[0]}`" for p in options if p.hidden]
    if promised:
        yield f"\nPromised and not there yet: {', '.join(promised)}.\n"


def option_row(option: click.Parameter, context: click.Context) -> tuple[str, ...]:
    """An option as `--help` shows it, hidden ones too."""
    assert isinstance(option, click.Option)
    hidden, option.hidden = option.hidden, False
    record = option.get_help_record(context)
    option.hidden = hidden
    assert record is not None
    name, said = record
    return f"`{name}`", escaped(said)


def initializers_page() -> str:
    """All initializers, from their docstrings."""
    by_use: dict[tuple[str, ...], list[str]] = {}
    for use, names in AUTO.items():
        by_use.setdefault(names, []).append(use)
    auto = [
        (", ".join(uses), ", then ".join(f"`{name}`" for name in names))
        for names, uses in by_use.items()
    ]
    head = (
        "# Initializers\n\n"
        "Where the rows of a new token start: `init` in an `[[add]]`. None makes a token mean anything\n"
        "without training ([why](../why.md)). A row that is read (input embeddings) and a row that is\n"
        "written (output embeddings) may have different rules; *tied* is where one row does both.\n\n"
        "`auto`, the default, goes by `use` and takes the first that has something to go on; the plan\n"
        "gives the reason.\n\n" + table(("use", "`auto` tries"), auto) + "\n"
        "What a token takes from the probability of old ones when it is written, before training, is\n"
        "in the plan (`takes`): `bounded` holds in every context; `parents` is g / (1 + g), with g the\n"
        "weighted geometric mean of its parents' probabilities, so no more than the likeliest of them\n"
        "has; `unknown` has to be measured.\n\n"
        "Rows that were found untrained (as `audit --deep` finds them) are no parents, unless `like` asks for\n"
        "one: then the plan warns. Only `mean` goes over all used rows. No two new tokens get a row of the same\n"
        "bits: what would be equal is mixed with a sixteenth of its own pieces, or drawn around its place.\n"
        "Copies that the recipe asks for stay equal, with a warning in the plan.\n"
    )
    parts = [head]
    for name, function in sorted(INITIALIZERS.items()):
        parts.append(f"\n## {name}\n\n{escaped(paragraph(inspect.getdoc(function) or ''))}\n")
    return "".join(parts)


def errors_page() -> str:
    """Exit codes and every exception."""
    codes = [
        ("0", "done; audit below `--fail-on`; verify passed"),
        ("1", "the answer is no: findings, a failed check, or `plan --exit-code` has changes"),
        ("2", "usage or recipe error"),
        ("3", "input refused: unsafe, malformed, unsupported"),
        ("4", "precondition: stale plan, destination exists, another run holds it"),
        ("5", "environment: disk full, permission, offline, missing extra"),
        ("70", "a bug of ours, with its traceback"),
        ("130", "interrupted; nothing was published unless the message says so"),
    ]
    kinds = [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.TokengraftError) and kind is not errors.TokengraftError
    ]
    kinds.sort(key=lambda kind: (kind.exit_code, len(kind.__mro__), kind.__name__))
    rows = [
        (
            str(k.exit_code),
            f"`{k.__name__}`",
            f"`{k.__mro__[1].__name__}`",
            (k.__doc__ or "").strip(),
        )
        for k in kinds
    ]
    others = [
        ("5", f"`{code}`", "the machine refuses")
        for code in sorted(set(cli_errors._MACHINE.values()))  # noqa: SLF001
        if code not in {kind.__name__ for kind in kinds}
    ]
    others += [("5", "`BrokenPipe`", "the reader of our output has gone away")]
    others += [
        ("5", "`OutOfMemory`", "there is not enough memory"),
        ("70", "`Bug`", "please report it"),
    ]
    return (
        "# Errors\n\n## Exit codes\n\n"
        + table(("code", "meaning"), codes)
        + "\n## Exceptions\n\nAll are `TokengraftError` with `summary`, `detail`, `subject` and `hint`; "
        "the hint is the next command\nor action. With `--json` stdout holds them as a "
        "`tokengraft/error` document whose `code` is the name here.\n"
        "A bad checkpoint is no error: the audit reports it as findings.\n\n"
        + table(("exit code", "name", "kind of", "meaning"), rows)
        + "\nWhat the command line adds, under the same key:\n\n"
        + table(("exit code", "code", "meaning"), others)
    )


def recipe_page() -> str:
    """All keys of a recipe, from its models, with the notes beside them."""
    notes = tomllib.loads(NOTES.read_text(encoding="utf-8"))
    head = (
        "# Recipe\n\nA recipe is TOML 1.0 with `version = 1`. Unknown keys and wrong types are refused, "
        "all at once, each\nwith its place. `--set section.key=value` changes a value from the command line.\n"
        "`tokengraft recipe schema` prints the JSON Schema, `tokengraft recipe new SRC` writes a "
        "recipe to start from.\n"
    )
    parts = [head]
    for name, keys in notes.items():
        model: type[BaseModel] = getattr(recipes, name)
        section = SECTION_OF.get(name, name.lower())
        parts.append(f"\n## {section}\n\n{escaped(inspect.getdoc(model) or '')}\n")
        if name in ("Train", "Distillation", "Supervised"):
            parts.append(f"\n{NOT_YET_TRAIN}\n")
        rows = []
        for key, field in model.model_fields.items():
            shown = field.alias or key
            default = "required" if field.is_required() else default_of(field.default)
            rows.append((f"`{shown}`", type_of(field.annotation), default, keys[shown]))
        parts.append("\n" + table(("key", "value", "default", ""), rows))
    return "".join(parts)


NOT_YET_TRAIN = "`tokengraft train` and `run` carry it out; `apply` leaves it undone and says so."
SECTION_OF = {
    "Recipe": "The whole",
    "Add": "[[add]]",
    "Rename": "[[rename]]",
    "RoleToken": "[roles.NAME]",
    "Extend": "[[extend]]",
    "Distillation": "[train.distil]",
    "Supervised": "[train.sft]",
    **{name: f"[{name.lower()}]" for name in ("Protocol", "Tools", "Thinking", "Pad", "Stop")},
    **{name: f"[{name.lower()}]" for name in ("Context", "Train", "Rows", "Lora")},
}


def default_of(value: object) -> str:
    """A default in words."""
    if (
        value is None
        or (isinstance(value, tuple | dict) and not value)
        or "Undefined" in repr(value)
    ):
        return "none"
    if isinstance(value, BaseModel):
        return "its own defaults"
    return f"`{str(value).lower() if isinstance(value, bool) else repr(value).replace(chr(39), chr(34))}`"


def type_of(annotation: Any) -> str:  # noqa: ANN401  whatever pydantic keeps there
    """A type in words; literals as their values."""
    if hasattr(annotation, "__metadata__"):  # Annotated: the limits are said by errors
        return type_of(annotation.__origin__)
    if isinstance(annotation, type) and not getattr(annotation, "__args__", ()):
        named = {
            str: "text",
            int: "whole number",
            float: "number",
            bool: "true or false",
            type(None): "",
        }
        return named.get(annotation, "section")
    arguments = getattr(annotation, "__args__", ())
    origin = str(getattr(annotation, "__origin__", "union"))
    if "Literal" in origin:
        return ", ".join(f"`{value}`" for value in arguments)
    if "tuple" in origin:
        one = type_of(arguments[0])
        return f"list of {({'section': 'sections', 'number': 'numbers', 'text': 'texts'}).get(one, one)}"
    if "dict" in origin:
        return "names with " + type_of(arguments[1])
    return " or ".join(dict.fromkeys(filter(None, map(type_of, arguments))))
