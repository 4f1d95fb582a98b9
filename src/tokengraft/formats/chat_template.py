"""Read chat templates with Jinja's own lexer: what they write literally, never by running them."""

from __future__ import annotations

from tokengraft.formats.template_jinja import raw_tokens
from tokengraft.formats.template_text import turn_ends
from tokengraft.vocabulary import Tokenizer


def literals(template: str) -> tuple[str, ...]:
    """The texts that a template can write as they stand: its data and its string constants.

    Comments are left out. A template that Jinja cannot lex has none.
    """
    return tuple(
        text[1:-1] if kind == "string" else text
        for _, kind, text in raw_tokens(template)
        if kind in ("data", "string")
    )


def turn_end(tokenizer: Tokenizer) -> str | None:
    """The token that ends the model's turn in the chat template, None if there is no telling."""
    template = tokenizer.template()
    ends = () if template is None else turn_ends(tokenizer, template)
    return ends[0] if ends else None
