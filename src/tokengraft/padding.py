"""Which existing token may serve as padding: one that nothing uses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokengraft.checkpoint import Checkpoint
from tokengraft.vocabulary import TokenId, Tokenizer

# Existing tokens that may serve as padding, best first. Fill-in-the-middle tokens are left out: base
# models are trained on them. Vision tokens serve only where the model sees no pictures.
PAD_NAMES = (
    re.compile(
        r"<\|?pad\|?>|\[PAD\]|<\|PAD_TOKEN\|>|<\|finetune_right_pad(_id)?\|>", re.IGNORECASE
    ),
    re.compile(
        r"<\|(reserved_special_token|extra|reserved|unused)_?\d+\|>|<(unused|reserved)_?\d+>"
    ),
    re.compile(r"<\|(vision|image|video)_pad\|>"),
)
SEEING = ("vision_config", "visual", "image_token_id", "vision_start_token_id")


def unused_pads(checkpoint: Checkpoint) -> Iterator[tuple[TokenId, str]]:
    """Existing special tokens that nothing uses and that have a row, best name first."""
    tokenizer, layout = checkpoint.tokenizer, checkpoint.layout
    if tokenizer is None:
        return
    n_rows = layout.n_rows if layout is not None and layout.n_rows else None
    sees = any(checkpoint.value("config.json", f"/{key}") is not None for key in SEEING)
    for pattern in PAD_NAMES[: 2 if sees else 3]:
        for token_id, token in tokenizer.added.items():
            fits = token.special and pattern.fullmatch(token.content)
            if not fits or (n_rows is not None and token_id >= n_rows):
                continue
            if not in_use(tokenizer, token_id, token.content):
                yield token_id, token.content


def in_use(tokenizer: Tokenizer, token_id: TokenId, text: str) -> str:
    """Why a token must not be given away; empty if nothing speaks for its use."""
    for named in tokenizer.named:
        if named.content == text or named.token_id == token_id:
            return f"{named.file} names it {named.name}"
    for template in tokenizer.templates:
        if text in template.text:
            return f"the chat template in {template.file} writes it"
    return ""
