"""Which existing token a plan would take for padding, so that the audit can name it."""

from __future__ import annotations

import re

from tokengraft.auditing.asking import CONFIG, n_rows_of
from tokengraft.checkpoint import Checkpoint

# As in planning/named.py; a test holds the two together until they have one home.
_NAMES = (
    re.compile(
        r"<\|?pad\|?>|\[PAD\]|<\|PAD_TOKEN\|>|<\|finetune_right_pad(_id)?\|>", re.IGNORECASE
    ),
    re.compile(
        r"<\|(reserved_special_token|extra|reserved|unused)_?\d+\|>|<(unused|reserved)_?\d+>"
    ),
    re.compile(r"<\|(vision|image|video)_pad\|>"),
)
_SEEING = ("vision_config", "visual", "image_token_id", "vision_start_token_id")


def unused_pad(checkpoint: Checkpoint) -> tuple[str, int] | None:
    """The existing special token that serves best as padding, with its id."""
    tokenizer, n_rows = checkpoint.tokenizer, n_rows_of(checkpoint)
    if tokenizer is None:
        return None
    sees = any(checkpoint.value(CONFIG, f"/{key}") is not None for key in _SEEING)
    texts = {named.content for named in tokenizer.named}
    ids = {named.token_id for named in tokenizer.named}
    for pattern in _NAMES[: 2 if sees else 3]:
        for token_id, token in tokenizer.added.items():
            if not token.special or not pattern.fullmatch(token.content):
                continue
            used = token.content in texts or token_id in ids
            written = any(token.content in template.text for template in tokenizer.templates)
            if not used and not written and (n_rows is None or token_id < n_rows):
                return token.content, int(token_id)
    return None
