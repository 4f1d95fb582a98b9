"""Help in the language of the run: click lays it out, and its texts are translated on the way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from tokengraft.cli.session import Watch

if TYPE_CHECKING:
    from tokengraft.reporting.catalogue import Words


class Formatter(click.HelpFormatter):
    """click's formatter, told in another language what it would write in English."""

    words: Words

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, prefix or f"{self.words('Usage')}: ")

    def write_heading(self, heading: str) -> None:
        super().write_heading(self.words(heading))

    def write_text(self, text: str) -> None:
        paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
        super().write_text("\n\n".join(map(self.words.translated, paragraphs)))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        told = [(name, self.words.translated(text)) for name, text in rows]
        super().write_dl(told, col_max, col_spacing)


class Context(click.Context):
    """A context that formats help in the language of the run; English loads nothing for it."""

    def make_formatter(self) -> click.HelpFormatter:
        watch = self.find_object(Watch)
        if watch is None or watch.language == "en":
            return super().make_formatter()
        from tokengraft.reporting.catalogue import BY_LANGUAGE

        made = Formatter(width=self.terminal_width, max_width=self.max_content_width)
        made.words = BY_LANGUAGE[watch.language]
        return made


class Command(click.Command):
    """A command with such help."""

    context_class = Context


class Group(click.Group):
    """A group with such help."""

    context_class = Context
    command_class = Command
