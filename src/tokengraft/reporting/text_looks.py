"""The answers of the commands that look at things, as people read them."""

from __future__ import annotations

import json
from typing import Final

from pydantic import JsonValue

from tokengraft.answers import (
    Diff,
    DiffFile,
    DiffKey,
    DiffTensor,
    DiffToken,
    Doctor,
    Folder,
    Piece,
    Problems,
    RecipeText,
    Rule,
    Rules,
    Tokens,
)
from tokengraft.recipes import Recipe
from tokengraft.reporting import escape
from tokengraft.reporting.fixes import toml_value
from tokengraft.reporting.screen import Cell, Page
from tokengraft.reporting.text_audit import STYLES, facts

# A terminal is no place for more; `--json` has all of them.
SHOWN: Final = 60
VALUE_SHOWN: Final = 60
CHANGES: Final[dict[str, tuple[str, str]]] = {
    "added": ("+", "green"),
    "removed": ("-", "red"),
    "changed": ("~", "yellow"),
    "unknown": ("?", "yellow"),
}


def diff(page: Page, value: Diff) -> None:
    """What differs, and how much does not."""
    say = page.say
    if not (value.files or value.tokens or value.config or value.tensors):
        page.banner(say("nothing differs"), "green")
    _section(page, say("Files"), [_file_row(page, file) for file in value.files])
    _section(page, say("Tokens"), [_token_row(page, token) for token in value.tokens])
    _section(page, say("Keys"), [_key_row(page, key) for key in value.config])
    _section(page, say("Tensors"), [_tensor_row(page, tensor) for tensor in value.tensors])
    counted = (
        (value.files_same, "file"),
        (value.tokens_same, "token"),
        (value.tensors_same, "tensor"),
    )
    same = ", ".join(say.count(number, noun) for number, noun in counted)
    page.line()
    page.line(say("the same in both: {counts}", counts=same), "dim")


Row = tuple[Cell, str, str]


def _file_row(page: Page, file: DiffFile) -> Row:
    sizes = ["" if size is None else page.say.size(size) for size in (file.bytes_a, file.bytes_b)]
    return _sign(file.change), file.path, _pair(page, *sizes)


def _token_row(page: Page, token: DiffToken) -> Row:
    change = "added" if token.a is None else "removed" if token.b is None else "changed"
    return _sign(change), str(token.id), _pair(page, _text(token.a), _text(token.b))


def _key_row(page: Page, key: DiffKey) -> Row:
    before = "" if key.change == "added" else _json(page, key.a)
    after = "" if key.change == "removed" else _json(page, key.b)
    return _sign(key.change), f"{key.file}#{key.pointer}", _pair(page, before, after)


def _tensor_row(page: Page, tensor: DiffTensor) -> Row:
    shapes = [
        "" if shape is None else "x".join(map(str, shape))
        for shape in (tensor.shape_a, tensor.shape_b)
    ]
    shown = shapes[0] if shapes[0] == shapes[1] else _pair(page, *shapes)
    if tensor.rows is not None:
        rows = page.say.count(tensor.rows, "row")
        shown += " " + page.say("({rows} differ)", rows=rows)
    return _sign(tensor.change), tensor.name, shown


def _section(page: Page, title: str, rows: list[Row]) -> None:
    if not rows:
        return
    page.heading(title)
    page.table((), rows[:SHOWN])
    if len(rows) > SHOWN:
        more = page.say.number(len(rows) - SHOWN)
        page.line(
            page.say("... and {number} more: --json has all of them", number=more), "dim", indent=2
        )


def _sign(change: str) -> Cell:
    return Cell(*CHANGES[change])


def _text(text: str | None) -> str:
    return "" if text is None else escape.quoted(text)


def _json(page: Page, value: JsonValue) -> str:
    """A JSON value, or how much of it there is where it would fill the screen."""
    shown = json.dumps(value, ensure_ascii=False)
    if len(shown) <= VALUE_SHOWN:
        return shown
    if isinstance(value, list | dict):
        return page.say.count(len(value), "entry")
    return shown[:VALUE_SHOWN] + " ..."


def _pair(page: Page, a: str, b: str) -> str:
    return f"{a} {page.screen.sign('→', '->')} {b}" if a and b else a or b


def tokens(page: Page, value: Tokens) -> None:
    """One line for each token of a text."""
    say = page.say
    page.banner(say.count(len(value.ids), "token"), "")
    headers = (say("id"), say("token"), say("text"), say("from"), say("to"), "")
    page.table(headers, (_piece(page, piece) for piece in value.pieces), right=frozenset({0, 3, 4}))
    if value.round_trip is False:
        page.line()
        page.line(say("decoding does not give the text back"), "yellow")


def _piece(page: Page, piece: Piece) -> tuple[Cell | str, ...]:
    say = page.say
    kind = say("special") if piece.special else say("added token") if piece.added else ""
    marks = ", ".join(filter(None, (kind, *piece.names)))
    shown = _text(piece.text) if piece.text != piece.token else ""
    style = "magenta" if piece.special else "cyan" if piece.added else ""
    return (
        str(piece.id),
        Cell(escape.quoted(piece.token), style),
        shown,
        str(piece.start),
        str(piece.end),
        marks,
    )


def doctor(page: Page, value: Doctor) -> None:
    """Versions, abilities, and what is left of interrupted runs."""
    say = page.say
    page.banner(value.tool, "")
    page.heading(say("Versions"))
    page.pairs((name, version or say("not installed")) for name, version in value.versions.items())
    page.heading(say("This machine"))
    styles = {"yes": "green", "no": "yellow", "unknown": "dim"}
    page.table(
        (),
        (
            (
                say.translated(item.name),
                Cell(say(item.status), styles[item.status]),
                say.translated(item.evidence),
            )
            for item in value.abilities
        ),
    )
    page.heading(say("Left by interrupted runs"))
    if not value.stages:
        page.line(say("nothing"), indent=2)
    for stage in value.stages:
        size = "" if stage.size_bytes is None else f" ({page.say.size(stage.size_bytes)})"
        removed = f" {say('removed')}" if stage.removed else ""
        page.exact(f"  {stage.path}{size}{removed}")
    page.heading(say("Hugging Face Hub"))
    page.pairs([(say("cache"), value.cache or say("unknown")), *value.offline.items()])


def rule(page: Page, value: Rule) -> None:
    """The page of one rule, its lines as wide as the screen."""
    told = page.say.rule(value)
    page.banner(f"{told.code}  {told.title}", STYLES[told.severity])
    page.line(page.say(told.severity), "dim")
    for part in told.text.strip().split("\n\n"):
        page.line()
        page.line(" ".join(part.removeprefix("## ").split()), "bold" if part[:3] == "## " else "")


def rules(page: Page, value: Rules) -> None:
    """All rules, one a line."""
    known = map(page.say.rule, value.rules)
    page.table(
        (),
        (
            (Cell(one.code, STYLES[one.severity]), page.say(one.severity), one.title)
            for one in known
        ),
        indent=0,
    )


def problems(page: Page, value: Problems) -> None:
    """What is wrong with a recipe, each with its place."""
    say = page.say
    if not value.problems:
        page.banner(say("the recipe is sound"), "green")
        return
    page.banner(say.count(len(value.problems), "problem"), "red")
    for problem in value.problems:
        page.exact(f"  {problem.where}", "bold")
        page.line(say.translated(problem.what), indent=4)
        if problem.suggestion:
            page.line(say.translated(problem.suggestion), "green", indent=4)


def recipe_text(page: Page, value: RecipeText) -> None:
    """A recipe that was written: where, or the text itself."""
    if value.path is None:
        for line in value.text.splitlines():
            page.exact(line)
        return
    page.banner(page.say("written: {path}", path=value.path), "green")


def recipe(page: Page, value: Recipe) -> None:
    """A parsed recipe: what it sets, section by section."""
    page.banner(page.say("RECIPE"), "")
    kept = value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    page.pairs((name, _toml(item)) for name, item in kept.items() if not _is_section(item))
    for name, item in kept.items():
        if not _is_section(item):
            continue
        for part in item if isinstance(item, list) else [item]:
            page.heading(f"[[{name}]]" if isinstance(item, list) else f"[{name}]")
            page.pairs((key, _toml(setting)) for key, setting in part.items())


def _is_section(item: JsonValue) -> bool:
    return isinstance(item, dict) or (isinstance(item, list) and isinstance(item[0], dict))


def _toml(item: JsonValue) -> str:
    if isinstance(item, str | int):
        return toml_value(item)
    return json.dumps(item, ensure_ascii=False)


def folder(page: Page, value: Folder) -> None:
    """The facts and files of a model folder."""
    say = page.say
    page.banner(value.source, "")
    page.heading(say("Facts"))
    page.pairs(facts(say, value.facts))
    page.heading(say("Files"))
    page.table(
        (),
        ((file.path, say(file.kind), say.size(file.size_bytes)) for file in value.files),
        right=frozenset({2}),
    )
    if value.plan is not None:
        page.line(say("made by a plan: {digest}", digest=value.plan))
