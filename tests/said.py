"""Every template of a text for people that the source code holds, found in its syntax tree.

Whatever reads as words is taken to be said to somebody, so that nothing can be forgotten; what is not
said is named in `tests/unsaid.py`, with the reason.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tokengraft.cli.table import COMMANDS
from tokengraft.reporting import recipe_comments

SOURCE: Final = Path(__file__).resolve().parents[1] / "src" / "tokengraft"
# Packages that share a file of translations; modules of the root are nouns.
ROOMS: Final = {"rows": "planning"}
# The views' own words and the grammar have tables and tests of their own.
# The corpus is encoded, and never said; lines of Jinja are a template's.
ELSEWHERE: Final = ("reporting/", "verifying/ingredients.py", "planning/chat/turn_lines.py")
# What these say of a function, a title, has its Russian in the page of the rule, `ru/rules/CODE.md`.
PAGED: Final = frozenset({"rule", "row_rule"})
COUNTING: Final = frozenset({"counted"})
ALTERNATIVES: Final = 64
_WORDS: Final = re.compile(r"(?<![A-Za-z<|])[A-Za-z]{2,}(?![A-Za-z|>])")
_NAMES: Final = "|".join((*COMMANDS, "new", "check", "schema", "upload", "auth", "login"))
_COMMAND: Final = re.compile(
    rf"(tokengraft|hf)( ({_NAMES}))*( (\{{\}}|[A-Z./\[\]]+|--?[\w-]+|[a-z]+\.\w+|[>&]+ .+))*"
    r"|(pip install|mkdir|cat)( \S+)*|\{\} --help"
)
# Calls whose arguments are for programs and programmers.
_MUTE_CALLS: Final = frozenset(
    {"say", "compile", "cast", "getattr", "setattr", "TypeVar", "AssertionError", "AttributeError"}
)
_MUTE_METHODS: Final = frozenset({"say", "compile", "fullmatch", "sub", "search", "encode"})


@dataclass
class Said:
    """The templates and counted nouns of one room, each with a place where it is said.

    `halves` pairs the whole sentences of a text with the parts that it is put together from: it may be
    translated in either way.
    """

    templates: dict[str, str] = field(default_factory=dict)
    nouns: dict[str, str] = field(default_factory=dict)
    halves: list[tuple[frozenset[str], frozenset[str]]] = field(default_factory=list)

    def missing(self, known: Iterable[str]) -> list[str]:
        """Templates that nothing translates, neither as they are nor by their parts."""
        there = frozenset(known)
        by_parts = [whole for whole, parts in self.halves if parts <= there]
        covered = there.union(*by_parts)
        return [text for text in self.templates if text not in covered]

    def all(self) -> set[str]:
        return set(self.templates).union(*(parts for _, parts in self.halves))


def rooms() -> dict[str, Said]:
    """All that is said, by room."""
    found: dict[str, Said] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith(ELSEWHERE):
            continue
        first = name.split("/")[0] if "/" in name else "nouns"
        room = found.setdefault(ROOMS.get(first, first), Said())
        reader = Reader(name)
        reader.visit(ast.parse(path.read_text(encoding="utf-8")))
        room.templates.update({**reader.templates, **room.templates})
        room.nouns.update({**reader.nouns, **room.nouns})
        room.halves += reader.halves
    for path in sorted((SOURCE / "families").glob("*.toml")):
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        said = [table.get(key, "") for key in ("trained_length_source", "second_matrix_caution")]
        said += table.get("notes", ())
        said += table.get("refuse", {}).values()
        found["families"].templates.update({doubled(t): path.name for t in said if is_prose(t)})
    return found


class Reader(ast.NodeVisitor):
    """Collects what one module says.

    A local name that is bound once, to a text, and used in other texts alone is read as if it stood
    there: whole sentences are what can be translated.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.templates: dict[str, str] = {}
        self.nouns: dict[str, str] = {}
        self.parts: dict[str, ast.AST] = {}
        self.halves: list[tuple[frozenset[str], frozenset[str]]] = []

    def visit(self, node: ast.AST) -> None:
        if is_text(node):
            whole = self._take(self._alternatives(node), node)
            used = _used(node, self.parts)
            if used:
                loose = [*alternatives(node, {})]
                loose += [text for name in used for text in alternatives(self.parts[name], {})]
                self.halves.append((frozenset(whole), frozenset(_prose(loose))))
            self._inside(node)
        else:
            super().visit(node)

    def _inside(self, node: ast.AST) -> None:
        for value in values_of(node):
            if not (isinstance(value, ast.Name) and value.id in self.parts):
                self.visit(value)

    def _alternatives(self, node: ast.AST) -> list[str]:
        return alternatives(node, self.parts)

    def _take(self, texts: Iterable[str], node: ast.AST) -> list[str]:
        found = _prose(texts)
        for text in found:
            self.templates.setdefault(text, f"{self.name}:{getattr(node, 'lineno', 0)}")
        return found

    def visit_Module(self, node: ast.Module) -> None:
        self._body(node.body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._body(node.body)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        doc = ast.get_docstring(node, clean=False)
        named = {
            _name(d.func) if isinstance(d, ast.Call) else _name(d) for d in node.decorator_list
        }
        if doc is not None and named & {"command", "group"}:
            self._take(paragraphs(doc), node)
        for decorator in node.decorator_list:
            if not (isinstance(decorator, ast.Call) and _name(decorator.func) in PAGED):
                self.visit(decorator)
        for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(default)
        outer, self.parts = self.parts, _parts_of(node)
        self._body(node.body)
        self.parts = outer

    def _body(self, body: list[ast.stmt]) -> None:
        for statement in body:
            bare = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
            if not bare:  # docstrings are for readers of the code
                self.visit(statement)

    def visit_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id in self.parts:
            self._inside(node.value)
        else:
            self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Assert(self, node: ast.Assert) -> None:
        """A broken assertion is a bug of ours, told as its traceback."""

    def visit_Compare(self, node: ast.Compare) -> None:
        """Texts that are compared with are not said."""
        for part in (node.left, *node.comparators):
            if not is_text(part):
                self.visit(part)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        name = _name(node.func)
        if name in (_MUTE_METHODS if isinstance(node.func, ast.Attribute) else _MUTE_CALLS):
            return
        self.visit(node.func)
        arguments = node.args
        if name in COUNTING:
            for noun in self._alternatives(node.args[1]):
                self.nouns.setdefault(noun, f"{self.name}:{node.lineno}")
            arguments = node.args[:1]
        for argument in (*arguments, *(keyword.value for keyword in node.keywords)):
            self.visit(argument)


def _used(node: ast.AST, parts: Mapping[str, ast.AST]) -> list[str]:
    """The parts that a text is put together from, those of parts too."""
    names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in parts]
    inner = [deep for name in names for deep in _used(parts[name], parts)]
    return list(dict.fromkeys((*names, *inner)))


def _prose(texts: Iterable[str]) -> list[str]:
    bare = map(bare_of, itertools.chain.from_iterable(map(spoken, texts)))
    return [text for text in bare if is_prose(text)]


def spoken(text: str) -> list[str]:
    """What is said in a text: the comments where it is a part of a recipe, or else all of it."""
    if re.search("^# ", text, re.MULTILINE) is None:
        return [text]
    return [said for _, said in recipe_comments.comments(text)]


def _parts_of(function: ast.FunctionDef) -> dict[str, ast.AST]:
    """Local names that are parts of texts and nothing else, with what they are bound to."""
    bound: dict[str, list[ast.AST | None]] = {}
    parts: dict[str, int] = {}
    loads: dict[str, int] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            bound.setdefault(node.targets[0].id, []).append(node.value)
        elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr) and isinstance(
            node.target, ast.Name
        ):
            bound.setdefault(node.target.id, []).append(None)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            loads[node.id] = loads.get(node.id, 0) + 1
        elif isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
            if node.conversion < 0 and node.format_spec is None:
                parts[node.value.id] = parts.get(node.value.id, 0) + 1
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and is_text(node):
            for side in (node.left, node.right):
                if isinstance(side, ast.Name):
                    parts[side.id] = parts.get(side.id, 0) + 1
    return {
        name: values[0]
        for name, values in bound.items()
        if len(values) == 1
        and values[0] is not None
        and is_text(values[0])
        and loads.get(name, 0) == parts.get(name, 0) > 0
    }


def bare_of(text: str) -> str:
    """A template without what only joins it to others."""
    bare = text.strip(" ,;\n")
    inside = bare.startswith("(") and bare.endswith(")") and bare.count("(") == 1
    return bare[1:-1] if inside else bare


def is_prose(text: str) -> bool:
    """Whether a template reads as words, and not as code, a name, a number or a command."""
    wordy = _WORDS.search(text.replace("{}", " 0 ")) is not None
    is_code = text.startswith("import ") or _COMMAND.fullmatch(text) is not None
    return " " in text and wordy and not is_code


def paragraphs(doc: str) -> list[str]:
    """A help text as click wraps it."""
    parts = inspect.cleandoc(doc).split("\n\n")
    return [doubled(" ".join(part.split())) for part in parts]


def doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def alternatives(node: ast.AST, parts: Mapping[str, ast.AST]) -> list[str]:
    """Every template that an expression can be; what is computed is `{}`."""
    match node:
        case ast.Constant(value=str(text)):
            found: Iterable[str] = [doubled(text)]
        case ast.JoinedStr(values=values):
            each = itertools.product(*(alternatives(value, parts) for value in values))
            found = map("".join, itertools.islice(each, ALTERNATIVES))
        case ast.FormattedValue(value=ast.Name(id=name)) if name in parts:
            return alternatives(parts[name], {k: v for k, v in parts.items() if k != name})
        case ast.FormattedValue(value=value) if is_text(value) and node.conversion < 0:
            return alternatives(value, parts)
        case ast.IfExp(body=body, orelse=orelse):
            found = [*alternatives(body, parts), *alternatives(orelse, parts)]
        case ast.BoolOp(values=values):
            found = [text for value in values for text in alternatives(value, parts)]
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            pairs = itertools.product(alternatives(left, parts), alternatives(right, parts))
            found = map("".join, itertools.islice(pairs, ALTERNATIVES))
        case ast.Call(func=ast.Attribute(value=value, attr=("strip" | "rstrip" | "removesuffix"))):
            return alternatives(value, parts)
        case ast.Name(id=name) if name in parts:
            return alternatives(parts[name], {k: v for k, v in parts.items() if k != name})
        case _:
            found = ["{}"]
    return list(dict.fromkeys(found))


def is_text(node: ast.AST) -> bool:
    """Whether an expression is a text that is partly written out here."""
    match node:
        case ast.Constant(value=value):
            return isinstance(value, str)
        case ast.JoinedStr():
            return True
        case ast.IfExp(body=body, orelse=orelse):
            return is_text(body) or is_text(orelse)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return is_text(left) or is_text(right)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(map(is_text, values))
        case ast.Call(func=ast.Attribute(value=value, attr=("strip" | "rstrip"))):
            return is_text(value)
    return False


def values_of(node: ast.AST) -> Iterator[ast.AST]:
    """The computed parts of a text, which may say something themselves."""
    match node:
        case ast.Constant():
            return
        case ast.JoinedStr(values=values):
            for value in values:
                yield from values_of(value)
        case ast.FormattedValue(value=value) | ast.Call(func=ast.Attribute(value=value)) if (
            not isinstance(node, ast.Call) or is_text(node)
        ):
            yield from values_of(value)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield test
            yield from values_of(body)
            yield from values_of(orelse)
        case ast.BinOp(op=ast.Add(), left=left, right=right) if is_text(node):
            yield from values_of(left)
            yield from values_of(right)
        case ast.BoolOp(op=ast.Or(), values=values) if is_text(node):
            for value in values:
                yield from values_of(value)
        case _:
            yield node


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
