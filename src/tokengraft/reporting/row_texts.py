"""What the old rows of a plan stand for, as text that people can read."""

from __future__ import annotations

from typing import Final

from tokengraft.plans import Mix, Plan
from tokengraft.spelling import bytes_of
from tokengraft.vocabulary import Tokenizer

_SENTENCEPIECE_SPACE: Final = "▁"


def row_texts(plan: Plan, tokenizer: Tokenizer | None) -> dict[int, str]:
    """Texts of all rows that new rows are made from; empty where there is no tokenizer."""
    if tokenizer is None:
        return {}
    wanted = {
        parent
        for token in plan.tokens
        for row in token.rows
        if isinstance(row.source, Mix)
        for parent, _ in row.source.parents
    }
    if not wanted:
        return {}
    table = tokenizer.table()
    added = {int(token_id) for token_id in tokenizer.added}
    return {
        token_id: table[token_id] if token_id in added else _spoken(table[token_id], tokenizer)
        for token_id in wanted
        if token_id in table
    }


def id_texts(tokenizer: Tokenizer) -> dict[int, str]:
    """What every id stands for, as text that people can read."""
    added = {int(token_id): token.content for token_id, token in tokenizer.added.items()}
    pieces = {int(i): _spoken(piece, tokenizer) for piece, i in tokenizer.vocab.items()}
    return pieces | added


def _spoken(piece: str, tokenizer: Tokenizer) -> str:
    """A piece of the vocabulary as the text that it is; its own spelling if it is no whole text."""
    if not tokenizer.byte_level:
        return piece.replace(_SENTENCEPIECE_SPACE, " ")
    data = bytes_of(piece)
    try:
        return piece if data is None else data.decode()
    except UnicodeDecodeError:
        return piece
