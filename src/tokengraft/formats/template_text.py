"""What a chat template writes, read from its text with Jinja's own lexer. Nothing is rendered.

The template is seen as a row of pieces in the order of its text: literal text, computed values, and
edges of blocks. Each piece knows whether it can belong to a turn of the assistant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple

from jinja2.lexer import Token

from tokengraft.formats.template_jinja import MAX_NESTING, tokens
from tokengraft.vocabulary import ChatTemplate, Tokenizer

Speaker = Literal["assistant", "other", "any"]
# Spellings of markers: <...> and [...] without white space inside.
MARKER = re.compile(r"<[^<>\s]{1,64}>|\[[^\[\]\s]{1,64}\]")
_ASSISTANT = frozenset({"assistant", "model"})
_COMPARES = frozenset({"eq", "ne", "lt", "lteq", "gt", "gteq"})
_OPENERS = {"lparen": "group", "lbracket": "list", "lbrace": "dict"}
_CLOSERS = frozenset({"rparen", "rbracket", "rbrace"})
_OPERANDS = frozenset({"name", "string", "rparen", "rbracket"})


class Piece(NamedTuple):
    """A part of what the template writes.

    Attributes:
        kind: `text` is literal, `value` is computed, `edge` is the border of a block.
        text: the literal text; of a value, the names and keys in it.
        speaker: whose turn it can belong to.
        depth: how many blocks it lies in.
    """

    kind: Literal["text", "value", "edge"]
    text: str
    speaker: Speaker
    depth: int


def turn_ends(
    tokenizer: Tokenizer, template: ChatTemplate, *, eos_first: bool = True
) -> tuple[str, ...]:
    """Tokens that can end a turn of the assistant, the most certain first.

    A turn end is a special token that follows what a message holds and that nothing of the same
    turn follows. The tokenizer's eos comes first if it is one; then the one in the fewest blocks:
    it ends every turn, the others end turns of one kind (a tool call, say). Without `eos_first`,
    eos only wins a tie.
    """
    found = atoms(tokenizer, template)
    agreed, claimed = special_texts(tokenizer)
    # Where files give different flags, those that all agree on come first.
    ends = _turn_ends(tokenizer, found, agreed) or _turn_ends(tokenizer, found, claimed)
    eos = tokenizer.named_content("eos")

    def rank(text: str) -> tuple[bool, int, bool, int]:
        depth, at = ends[text]
        return eos_first and text != eos, depth, text != eos, -at

    return tuple(sorted(ends, key=rank))


def atoms(tokenizer: Tokenizer, template: ChatTemplate) -> list[Piece]:
    """The pieces of a template with the literal text cut into markers and what lies between."""
    pieces = written(template.text, _names(tokenizer))
    return [atom for piece in pieces for atom in _atoms(piece)]


def special_texts(tokenizer: Tokenizer) -> tuple[set[str], set[str]]:
    """The special tokens by every file, and those by any."""
    claimed = {t.content for t in tokenizer.added.values() if t.special}
    plain: set[str] = set()
    for table in tokenizer.declared:
        for _, token in table.tokens if table.complete else ():  # others give no flags
            (claimed if token.special else plain).add(token.content)
    named = {named.content for named in tokenizer.named if named.content}
    return (claimed - plain) | named, claimed | named


def _turn_ends(
    tokenizer: Tokenizer, atoms: list[Piece], special: set[str]
) -> dict[str, tuple[int, int]]:
    """Tokens that end turns: the fewest blocks that one lies in, and its last place."""
    eos, bos = tokenizer.named_content("eos"), tokenizer.named_content("bos")
    opens = {a.text for a, b in pairwise(atoms) if b.kind != "edge" and b.text not in special}
    found: dict[str, tuple[int, int]] = {}
    for at, atom in enumerate(atoms):
        if atom.text not in special or atom.text in opens or (atom.text == bos != eos):
            continue
        if atom.speaker != "other" and _closes(atoms, at, special):
            known = found.get(atom.text)
            found[atom.text] = (atom.depth if known is None else min(known[0], atom.depth), at)
    return found


def markers(tokenizer: Tokenizer, template: ChatTemplate) -> tuple[str, ...]:
    """Everything in the template's literal text that is spelled like a marker, once each."""
    return tuple(
        dict.fromkeys(
            match.group()
            for piece in written(template.text, _names(tokenizer))
            if piece.kind == "text"
            for match in MARKER.finditer(piece.text)
        )
    )


def _names(tokenizer: Tokenizer) -> tuple[tuple[str, str], ...]:
    """The variables that transformers gives to a template, as eos_token is."""
    named = {f"{n.name}_token": n.content for n in reversed(tokenizer.named) if n.content}
    return tuple(sorted(named.items()))


def _atoms(piece: Piece) -> Iterator[Piece]:
    """Cut literal text into markers and what stands between them; white space goes."""
    if piece.kind != "text":
        yield piece
        return
    at = 0
    for match in MARKER.finditer(piece.text):
        if piece.text[at : match.start()].strip():
            yield piece._replace(text=piece.text[at : match.start()].strip())
        yield piece._replace(text=match.group())
        at = match.end()
    if piece.text[at:].strip():
        yield piece._replace(text=piece.text[at:].strip())


def _closes(atoms: list[Piece], at: int, special: set[str]) -> bool:
    """Whether the token there ends what a message says."""
    after = atoms[at + 1] if at + 1 < len(atoms) else None
    if after is not None and after.kind != "edge" and after.text not in special:
        return False
    for before in reversed(atoms[:at]):
        if before.kind == "value":
            words = before.text.split()
            return not any(word in ("role", "tools") or word[:6] == "system" for word in words)
        if before.kind == "text" and before.text in special:
            return False
    return False


@lru_cache(maxsize=32)
def written(text: str, names: tuple[tuple[str, str], ...] = ()) -> tuple[Piece, ...]:
    """The pieces of a template; none if Jinja cannot read it."""
    try:
        return tuple(_Reader(dict(names)).read(tokens(text)))
    except RecursionError:
        return ()


@dataclass(slots=True)
class _Frame:
    """One open block: who speaks in it, and whether an earlier branch was the assistant's."""

    tag: str
    speaker: Speaker = "any"
    had_assistant: bool = False


@dataclass(slots=True)
class _Reader:
    """Turns tokens of the lexer into pieces. `given` are variables that hold literal text.

    A variable of the template's own holds literal text while nothing else is put into it.
    """

    given: dict[str, str]
    own: dict[str, str | None] = field(default_factory=dict)
    frames: list[_Frame] = field(default_factory=list)

    def read(self, stream: Iterable[Token]) -> Iterator[Piece]:
        statement: list[Token] = []
        for token in stream:
            if token.type == "data":
                yield self._piece("text", token.value)
            elif token.type in ("variable_begin", "block_begin"):
                statement = []
            elif token.type == "variable_end":
                yield from self._expression(statement)
            elif token.type == "block_end":
                yield from self._block(statement)
            else:
                statement.append(token)

    def _piece(self, kind: Literal["text", "value", "edge"], text: str) -> Piece:
        speakers = {frame.speaker for frame in self.frames}
        speaker: Speaker = "any"
        if speakers - {"any"}:
            speaker = "other" if "other" in speakers else "assistant"
        return Piece(kind, text, speaker, len(self.frames))

    def _block(self, tokens: list[Token]) -> Iterator[Piece]:
        tag = tokens[0].value if tokens else ""
        if tag == "set":
            yield from self._set(tokens)
            return
        if tag in ("if", "for", "macro", "call", "filter"):
            if len(self.frames) == MAX_NESTING:
                raise RecursionError
            self.frames.append(_Frame(tag))
            if tag == "if":
                self._branch(tokens[1:])
        elif tag in ("elif", "else") and self.frames:
            self._branch(tokens[1:])
        elif tag in ("endif", "endfor", "endmacro", "endcall", "endfilter") and self.frames:
            self.frames.pop()
        if tag not in ("generation", "endgeneration"):
            yield self._piece("edge", tag)

    def _branch(self, condition: list[Token]) -> None:
        frame = self.frames[-1]
        if condition:
            frame.speaker = _speaker(condition)
            exact = not any(token.value == "and" for token in condition if token.type == "name")
            frame.had_assistant |= frame.speaker == "assistant" and exact
        else:
            frame.speaker = "other" if frame.had_assistant else "any"

    def _set(self, tokens: list[Token]) -> Iterator[Piece]:
        """Remember a variable that holds literal text; take any other as if it were written here.

        Templates build a turn in a variable and print it right away (Llama 3 does).
        """
        at = next((n for n, token in enumerate(tokens) if token.type == "assign"), len(tokens))
        right, target = tokens[at + 1 :], tokens[1:at]
        if len(target) == 1 and len(right) == 1 and right[0].type == "string":
            self.own.setdefault(target[0].value, right[0].value)
            return
        if len(target) == 1:
            self.own[target[0].value] = None
        pieces = list(self._expression(right))
        if any(piece.kind == "text" for piece in pieces):
            yield self._piece("edge", "set")
            yield from pieces
            yield self._piece("edge", "set")

    def _expression(self, tokens: list[Token]) -> Iterator[Piece]:
        """The operands of what is printed, in order; conditions and arguments are left out."""
        if tokens and tokens[0].value == "raise_exception":
            return
        value: list[str] = []
        for token, brackets, plain in _operands(tokens):
            text = self._literal(token) if plain else None
            if (token.type in ("add", "tilde") and not brackets) or text is not None:
                if value:
                    yield self._piece("value", " ".join(value))
                    value = []
                if text is not None:
                    yield self._piece("text", text)
            elif token.type in ("name", "string", "integer"):
                value.append(str(token.value))
        if value:
            yield self._piece("value", " ".join(value))

    def _literal(self, token: Token) -> str | None:
        if token.type == "string":
            return str(token.value)
        if token.type != "name":
            return None
        return self.own.get(token.value, self.given.get(token.value))


def _operands(tokens: list[Token]) -> Iterator[tuple[Token, bool, bool]]:
    """Tokens with: inside call, index or list brackets; a plain operand of `+`, `~` or printing."""
    stack: list[str] = []
    skipped: int | None = None  # the depth at which a condition `if ... else` is being left out
    for at, token in enumerate(tokens):
        before = tokens[at - 1] if at else None
        after = tokens[at + 1] if at + 1 < len(tokens) else None
        if token.type in _OPENERS:
            called = before is not None and before.type in _OPERANDS and before.value != "else"
            stack.append("inner" if called or token.type != "lparen" else "group")
        elif token.type in _CLOSERS:
            if stack:
                stack.pop()
            if skipped is not None and len(stack) < skipped:
                skipped = None
        elif token.type == "name" and token.value in ("if", "else"):
            skipped = len(stack) if token.value == "if" else None
        elif skipped is None:
            brackets = "inner" in stack
            yield token, brackets, not brackets and _is_plain(token, before, after)


def _is_plain(token: Token, before: Token | None, after: Token | None) -> bool:
    """Whether an operand is written as it stands: not compared, indexed, called or filtered."""
    if before is not None and (before.type in _COMPARES or before.type in ("dot", "pipe")):
        return False
    if before is not None and before.type == "name" and before.value in ("in", "is", "not"):
        return False
    if after is None:
        return True
    if after.type in _COMPARES or after.type in ("dot", "lbracket", "lparen"):
        return False
    if after.type == "pipe" and token.type == "name":
        return False
    return not (after.type == "name" and after.value in ("in", "is", "not"))


def _speaker(condition: list[Token]) -> Speaker:
    """Who speaks where a condition holds, as far as it compares a role with literal names."""
    words = {str(token.value) for token in condition if token.type in ("name", "string")}
    if "add_generation_prompt" in words and "not" not in words:
        return "other"  # a generation prompt opens a turn; it never ends one
    if "role" not in words:
        return "any"
    same, different = _compared(condition)
    if condition[0].value == "not":
        same, different = different, same
    if same & _ASSISTANT:
        return "assistant"
    return "other" if same or different & _ASSISTANT else "any"


def _compared(condition: list[Token]) -> tuple[set[str], set[str]]:
    """The literal names that a role is said to equal, and those it is said to differ from."""
    same: set[str] = set()
    different: set[str] = set()
    operator = "eq"
    for at, token in enumerate(condition):
        after = condition[at + 1] if at + 1 < len(condition) else None
        if token.type in ("eq", "ne"):
            operator = token.type
        elif token.type == "name" and token.value in ("in", "and", "or"):
            negated = at > 0 and condition[at - 1].value == "not"
            operator = "ne" if token.value == "in" and negated else "eq"
        elif token.type == "string" and token.value != "role":
            compared = after is not None and after.type in ("eq", "ne")
            kind = after.type if compared and after is not None else operator
            (same if kind == "eq" else different).add(str(token.value))
    return same, different


def own_templates(tokenizer: Tokenizer) -> Mapping[str, ChatTemplate]:
    """The templates by name, each as transformers would take it (a .jinja file wins)."""
    chosen: dict[str, ChatTemplate] = {}
    for template in tokenizer.templates:
        if template.name not in chosen or template.pointer == "":
            chosen[template.name] = template
    return chosen


def chosen_template(tokenizer: Tokenizer, *, with_tools: bool) -> ChatTemplate | None:
    """The template that transformers takes: `tool_use` where there are tools, if there is one."""
    own = own_templates(tokenizer)
    return (own.get("tool_use") if with_tools else None) or own.get("default")
