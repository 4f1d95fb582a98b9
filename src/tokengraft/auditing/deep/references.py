"""Which tokens matter, which rows are known to be unused, and which may be taken for trained."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tokengraft.auditing.asking import stop_ids_of, text_of
from tokengraft.auditing.rule import counted
from tokengraft.checkpoint import Checkpoint
from tokengraft.formats.template_text import markers, turn_ends
from tokengraft.padding import PAD_NAMES, in_use
from tokengraft.row_statistics import FEWEST_UNUSED
from tokengraft.vocabulary import NAMED_TOKENS, Tokenizer

SAMPLE = 2000
_LOW = 64  # the sample comes from the lowest quarter of ids, at least from this many
# Pieces whose id says nothing of how often they occur: bytes, and whatever is spelled like a marker.
_NO_PIECE = re.compile(r"<.+>|\[.+\]|.")
_RESERVED = PAD_NAMES[1]


@dataclass(frozen=True, slots=True)
class References:
    """Rows to compare with.

    Attributes:
        told: what the unused rows are, in words.
    """

    unused: tuple[int, ...]
    trained: tuple[int, ...]
    told: str


def references_of(tokenizer: Tokenizer, n_rows: int) -> References:
    """The two references of a matrix with so many rows.

    Unused are rows behind the last token. Where they are too few, tokens that are named as reserves
    and that nothing uses join them. For trained rows stand the lowest ids of the vocabulary: merges
    and scores are sorted by frequency.
    """
    padding = tuple(range(tokenizer.n_tokens, n_rows))
    told = counted(len(padding), "padding row")
    if len(padding) >= FEWEST_UNUSED:
        return References(padding, _frequent(tokenizer), told)
    reserved = tuple(
        int(token_id)
        for token_id, token in tokenizer.added.items()
        if _RESERVED.fullmatch(token.content)
        and token_id < n_rows
        and not in_use(tokenizer, token_id, token.content)
    )
    if reserved:
        told += f" and {counted(len(reserved), 'reserved token')}"
    return References((*reserved, *padding), _frequent(tokenizer), told)


def _frequent(tokenizer: Tokenizer) -> tuple[int, ...]:
    named = {tokenizer.named_id(name) for name in NAMED_TOKENS}
    pieces = sorted(
        token_id
        for text, token_id in tokenizer.vocab.items()
        if not _NO_PIECE.fullmatch(text)
        and token_id not in tokenizer.added
        and token_id not in named
    )
    low = pieces[: max(_LOW, len(pieces) // 4)]
    step = max(1, len(low) // SAMPLE)
    return tuple(int(token_id) for token_id in low[::step][:SAMPLE])


def structural(checkpoint: Checkpoint) -> dict[int, tuple[str, ...]]:
    """Tokens that a conversation needs, by id, with what each is for. Padding is none of them."""
    tokenizer = checkpoint.tokenizer
    if tokenizer is None:
        return {}
    uses: dict[int, list[str]] = {}
    for token_id, use in _uses(checkpoint, tokenizer):
        if use not in uses.setdefault(token_id, []):
            uses[token_id].append(use)
    return {token_id: tuple(uses[token_id]) for token_id in sorted(uses)}


def _uses(checkpoint: Checkpoint, tokenizer: Tokenizer) -> Iterator[tuple[int, str]]:
    template = tokenizer.template()
    if template is not None:
        for text in markers(tokenizer, template):
            if text in tokenizer.added_ids:
                yield tokenizer.added_ids[text], "template"
        for text in turn_ends(tokenizer, template):
            if (token_id := tokenizer.id_of(text)) is not None:
                yield token_id, "turn end"
    for name in NAMED_TOKENS[:2]:
        if (token_id := tokenizer.named_id(name)) is not None:
            yield token_id, name
    for stop in stop_ids_of(checkpoint)[0]:
        if text_of(tokenizer, stop) is not None:
            yield stop, "stop"
