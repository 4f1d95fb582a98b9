"""Read chat templates with Jinja's own lexer: what they write literally, never by running them."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from jinja2 import Environment
from jinja2.exceptions import TemplateSyntaxError

from tokengraft.vocabulary import Tokenizer

MAX_TEMPLATE = 1 << 20  # characters; the longest real template met has 26,000

# What ends a turn in published templates, the one that ends the model's own turn first.
TURN_ENDS = (
    "<|return|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eot|>",
    "<end_of_turn>",
    "<turn|>",
    "<|end|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|end_of_role|>",
    "<|end_of_text|>",
    "<｜end▁of▁sentence｜>",
    "</s>",
    "<|endoftext|>",
)


@functools.cache
def _environment() -> Environment:
    # The same settings as transformers' `_compile_jinja_template`; only the lexer is used.
    return Environment(trim_blocks=True, lstrip_blocks=True, autoescape=True)


def literals(template: str) -> tuple[str, ...]:
    """The texts that a template can write as they stand: its data and its string constants.

    Comments are left out. A template that Jinja cannot lex has none.
    """
    return tuple(text for kind, text in _lexed(template) if kind in ("data", "string"))


def names(template: str) -> frozenset[str]:
    """The variable names that a template mentions."""
    return frozenset(text for kind, text in _lexed(template) if kind == "name")


@functools.lru_cache(maxsize=64)
def _lexed(template: str) -> tuple[tuple[str, str], ...]:
    if len(template) > MAX_TEMPLATE:
        return ()
    try:
        return tuple(_tokens(template))
    except TemplateSyntaxError:
        return ()


def _tokens(template: str) -> Iterator[tuple[str, str]]:
    for _, kind, text in _environment().lex(template):
        yield kind, text[1:-1] if kind == "string" else text


def writes(template: str, text: str) -> bool:
    """Whether a template can write a text literally."""
    return text in template and any(text in literal for literal in literals(template))


def turn_end(tokenizer: Tokenizer) -> str | None:
    """The token that ends the model's turn in the chat template, None if there is no telling."""
    template = tokenizer.template()
    if template is None:
        return None
    for text in TURN_ENDS:
        if text in tokenizer.added_ids and writes(template.text, text):
            return text
    if "eos_token" in names(template.text):
        return tokenizer.named_content("eos")
    return None


def rename_in_template(template: str, old: str, new: str) -> str | None:
    """Replace a token's text in a template, None if it cannot be done safely.

    It is safe if Jinja's lexer finds each occurrence in data, a string constant or a comment: a
    token's text inside an expression would be code.
    """
    found = sum(
        text.count(old) for kind, text in _lexed(template) if kind in ("data", "string", "comment")
    )
    if found != template.count(old) or any(char in new for char in "'\"\\\n"):
        return None
    return template.replace(old, new)
