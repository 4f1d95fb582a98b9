"""Read chat templates with Jinja's own lexer: what they write literally, never by running them."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from jinja2.exceptions import TemplateSyntaxError

from tokengraft.formats.template_text import MAX_TEMPLATE, environment, turn_ends
from tokengraft.vocabulary import Tokenizer


def literals(template: str) -> tuple[str, ...]:
    """The texts that a template can write as they stand: its data and its string constants.

    Comments are left out. A template that Jinja cannot lex has none.
    """
    return tuple(text for kind, text in _lexed(template) if kind in ("data", "string"))


@functools.lru_cache(maxsize=64)
def _lexed(template: str) -> tuple[tuple[str, str], ...]:
    if len(template) > MAX_TEMPLATE:
        return ()
    try:
        return tuple(_tokens(template))
    except TemplateSyntaxError:
        return ()


def _tokens(template: str) -> Iterator[tuple[str, str]]:
    for _, kind, text in environment().lex(template):
        yield kind, text[1:-1] if kind == "string" else text


def turn_end(tokenizer: Tokenizer) -> str | None:
    """The token that ends the model's turn in the chat template, None if there is no telling."""
    template = tokenizer.template()
    ends = () if template is None else turn_ends(tokenizer, template)
    return ends[0] if ends else None
