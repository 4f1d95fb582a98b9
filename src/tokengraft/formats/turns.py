"""The two markers around a chat turn: which token opens every turn, and which ends it.

Found in the template's text alone. Where a template has no such pair, or more than one, that is said
with the names, since a guess would change half of a protocol.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from tokengraft.formats.template_text import Piece, atoms, special_texts, turn_ends
from tokengraft.vocabulary import ChatTemplate, Tokenizer

# What templates call the speakers; only these two must share one marker.
USER = frozenset({"user", "human"})
ASSISTANT = frozenset({"assistant", "model", "chatbot", "bot", "gpt"})
OTHERS = frozenset({"system", "developer", "tool", "ipython", "environment", "functions"})
ANY = "*"
_WORD = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class Turns:
    """The markers of a template's turns, or why there is no telling.

    Attributes:
        start, end: the texts of the two tokens, None where `why_*` says why not.
    """

    start: str | None
    end: str | None
    why_no_start: str = ""
    why_no_end: str = ""


def turns(tokenizer: Tokenizer, template: ChatTemplate) -> Turns:
    """Find the token that opens every turn and the one that ends it."""
    start, why_no_start = _start(tokenizer, template)
    end, why_no_end = _end(tokenizer, template)
    return Turns(start, end, why_no_start, why_no_end)


def _end(tokenizer: Tokenizer, template: ChatTemplate) -> tuple[str | None, str]:
    ends = turn_ends(tokenizer, template)
    if not ends:
        return None, "no special token follows what a message of the assistant says"
    widest = turn_ends(tokenizer, template, eos_first=False)[0]
    if widest != ends[0]:
        return (
            None,
            f"turns end with the eos {ends[0]!r} in some places and with {widest!r} in more",
        )
    return ends[0], ""


def _start(tokenizer: Tokenizer, template: ChatTemplate) -> tuple[str | None, str]:
    pieces = atoms(tokenizer, template)
    agreed, claimed = special_texts(tokenizer)
    for tokens in (agreed, claimed, set(tokenizer.added_ids)):
        opened = _openers(pieces, tokens)
        everywhere = [text for text, roles in opened.items() if _is_general(roles)]
        if len(everywhere) == 1:
            return everywhere[0], ""
        if any(roles & (USER | ASSISTANT) for roles in opened.values()):
            return None, _why_not(opened, everywhere)
    return None, "no token opens turns there"


def _why_not(opened: Iterable[str], everywhere: Sequence[str]) -> str:
    names = ", ".join(repr(text) for text in everywhere or opened)
    if everywhere:
        return f"several tokens open turns of every role: {names}"
    return f"turns of different roles open with different tokens: {names}"


def _is_general(roles: AbstractSet[str]) -> bool:
    """Whether a token opens turns whoever speaks."""
    return ANY in roles or bool(roles & USER and roles & ASSISTANT)


def _openers(pieces: Sequence[Piece], tokens: AbstractSet[str]) -> Mapping[str, AbstractSet[str]]:
    """Tokens that a role follows, or that name a role themselves, with the roles."""
    found: dict[str, set[str]] = {}
    opened = False
    for at, piece in enumerate(pieces):
        if piece.text not in tokens or piece.kind != "text":
            opened = False
            continue
        after = pieces[at + 1] if at + 1 < len(pieces) else None
        roles = set() if after is None else set(_roles(after, tokens))
        own = set(_named(piece.text))
        if roles or (own and not opened):
            found.setdefault(piece.text, set()).update(roles or own)
        opened = bool(roles)
    return found


def _roles(piece: Piece, tokens: AbstractSet[str]) -> Iterator[str]:
    """The roles that a piece right behind a token says to open a turn of."""
    if piece.kind == "value":
        if "role" in piece.text.split():
            yield ANY
    elif piece.text in tokens:
        yield from _named(piece.text)
    else:
        first = _WORD.match(piece.text.lower())
        if first and first.group() in USER | ASSISTANT | OTHERS:
            yield first.group()


def _named(marker: str) -> Iterator[str]:
    """The speakers that a marker names, as `<|user|>` and `<|CHATBOT_TOKEN|>` do."""
    yield from (w for w in _WORD.findall(marker.lower()) if w in USER | ASSISTANT | {"system"})
