"""The report as one HTML file: no network, no fonts, no images; it can be read with scripts off.

Whatever is put into a page goes through `escape` first and through Jinja's autoescaping then, at
one border (`finalize`), so that no template can forget it. Styles and the small script stand in the
file, and its content security policy names their digests: nothing else may load or run.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tokengraft import __version__
from tokengraft.plans import PlannedToken, RowSource
from tokengraft.reporting import escape
from tokengraft.reporting.catalogue import Words
from tokengraft.reporting.html import charts, told
from tokengraft.reporting.html.contents import contents
from tokengraft.reporting.text_plan import source_words, summary, taken_words
from tokengraft.reporting.text_reports import TITLES
from tokengraft.reports import Report, TextView

__all__ = ["MARK", "contents", "page"]

MARK: Final = '<meta name="generator" content="tokengraft report'
CAP: Final = 200  # rows of a table


def page(report: Report, words: Words) -> str:
    """The report as a page."""
    template = _environment().get_template("report.html")
    style, script = _text("style.css"), _text("tables.js")
    return template.render(
        report=report,
        plan=report.plan,
        parts={part.name: part for part in contents(report)},
        titles={name: words(title) for name, title in TITLES.items()},
        say=words,
        tr=words.translated,
        told=told.Told(words),
        charts=charts.Charts(words),
        summary=lambda: summary(words, report.plan),
        sources=lambda token: _sources(words, token, report.row_texts),
        takes=lambda token: taken_words(words, token.takes),
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704
        mark=Markup(f'{MARK} {__version__}">'),  # noqa: S704
        policy=_policy(style, script),
        labels=_labels(words),
        cap=CAP,
        adapter=sum(bool(tensor.updates) for tensor in report.tensors),
        same=_same,
        shares=told.shares,
        examples=told.examples,
        before=told.before,
        dropped=lambda data, reason: [row for row in data.dropped if row.reason == reason][:12],
        commands=_commands(report),
    )


def _sources(words: Words, token: PlannedToken, texts: Mapping[int, str]) -> list[str]:
    """Where the rows of a token come from; tensors with the same source share a line."""
    by_source: dict[RowSource, list[str]] = {}
    for row in token.rows:
        by_source.setdefault(row.source, []).append(row.tensor)
    lines = []
    for source, tensors in by_source.items():
        where = f" ({', '.join(tensors)})" if len(by_source) > 1 else ""
        lines.append(source_words(words, source, texts) + where)
    return lines


def _same(view: TextView) -> bool:
    """Whether both sides have the same ids."""
    before, after = view.before, view.after
    return (
        before is not None
        and after is not None
        and [piece.id for piece in before] == [piece.id for piece in after]
    )


def _commands(report: Report) -> Mapping[str, str]:
    """Commands that do what is missing."""
    out, source = shlex.quote(report.out), report.source
    against = f" --against {shlex.quote(source)}" if source else ""
    base = shlex.quote(source) if source else "SRC"
    # A recipe's paths start beside it: the copy in OUT finds no data, but one without needs none.
    recipe = shlex.quote(f"{report.out}/tokengraft/recipe.toml")
    suite = "SUITE" if report.training is None else "auto"  # auto: what the training held out
    record = shlex.quote(f"{report.out}.training/behaviour.json")
    if report.training is None:
        record = "behaviour.json"
    fit = f"{recipe} --set 'train.stages=[\"fit\"]'"
    return {
        "verify": f"tokengraft verify {out}{against}",
        "train": f"tokengraft train {base} {'RECIPE' if report.asks_training else fit} -o TRAINED",
        "behaviour": f"tokengraft verify {out}{against} --behaviour {suite} -o {record}",
        "context": f"tokengraft verify {out} --against {base} --deep --texts FILE",
    }


def _labels(say: Words) -> Mapping[str, str]:
    """What the script says, where it runs."""
    return {"filter": say("filter rows"), "none": say("no row matches")}


def _policy(style: str, script: str) -> str:
    """A content security policy under which nothing runs or loads but what stands here."""
    return (
        f"default-src 'none'; style-src 'sha256-{_digest(style)}'; "
        f"script-src 'sha256-{_digest(script)}'; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("tokengraft.reporting.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    made.filters["token"] = escape.quoted
    made.filters["oneline"] = escape.inline
    return made


def _shown(value: Any) -> Any:  # noqa: ANN401 - whatever a template puts out
    """Text that can hide nothing; what is markup already was made by us."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return "" if value is None else value
    return escape.block(value)
