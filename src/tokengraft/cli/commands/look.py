"""`tokengraft diff`, `show`, `tokens` and `explain`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tokengraft.cli import next_commands
from tokengraft.cli.options import command
from tokengraft.cli.rule_pages import rule_of
from tokengraft.cli.session import Session

if TYPE_CHECKING:
    from tokengraft.documents import Document


@command("diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
def diff(session: Session, a: str, b: str) -> None:
    """Say what differs between two checkpoints: files, tokens, configuration, tensors."""
    from tokengraft import flow
    from tokengraft.reporting.text import Beside

    with session.listening() as listen:
        found = flow.diff(a, b, listen)
    session.show(found, Beside(next=(next_commands.command("audit", b),)))


@command("show")
@click.argument("path", metavar="FILE|DIR", type=click.Path(exists=True, path_type=Path))
def show(session: Session, path: Path) -> None:
    """Show a document of ours or a model folder, for people or with --json for programs."""
    from tokengraft import flow
    from tokengraft.reporting.text import Beside

    with session.listening() as listen:
        value = flow.show(path, listen)
    session.show(value, Beside(next=(_after(value, path),)))


def _after(value: Document, path: Path) -> str:
    from tokengraft.plans import Plan
    from tokengraft.recipes import Recipe
    from tokengraft.results import Receipt

    match value:
        case Plan():
            return next_commands.apply(path, next_commands.base_of(value))
        case Recipe():
            return next_commands.command("recipe check", path)
        case Receipt() if path.is_dir():
            return next_commands.command("verify", path)
        case _:
            return next_commands.command(
                "audit" if path.is_dir() else "explain", path if path.is_dir() else None
            )


@command("tokens")
@click.argument("source", metavar="SRC")
@click.argument("text", metavar="TEXT")
def tokens(session: Session, source: str, text: str) -> None:
    """Show how the tokenizer of SRC cuts TEXT (- reads it from stdin)."""
    from tokengraft import flow
    from tokengraft.reporting.text import Beside

    given = sys.stdin.buffer.read().decode("utf-8", "replace") if text == "-" else text
    with session.listening() as listen:
        cut = flow.tokens(source, given, listen)
    session.show(cut, Beside(next=(next_commands.command("audit", source),)))


@command("explain")
@click.argument("code", metavar="[RULE]", required=False)
def explain(session: Session, code: str | None) -> None:
    """Say what an audit rule checks, why it matters and how to mend it; without RULE, list all."""
    from tokengraft import flow
    from tokengraft.answers import Rules
    from tokengraft.reporting.text import Beside

    if code is not None:
        page = rule_of(flow.explain(code))
        session.show(page, Beside(next=(next_commands.command("explain"),)))
        return
    pages = tuple(map(rule_of, flow.rules()))
    then = (next_commands.command("explain", pages[0].code),) if pages else ()
    session.show(Rules(rules=pages), Beside(next=then))
