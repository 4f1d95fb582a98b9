"""Which rows of training data are kept for validation; needs no torch.

A row is on the side that its prompt says: a hash of what the model is given before it first speaks,
and of the seed. So the same question is never both trained on and asked, however often it stands in
the data, and whoever reads the data again (the training, a behaviour check) finds the same division
without a list. Templates are another matter: data made from templates should keep some of them
back, since a held-out prompt of a known template shows little.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

SHARE = 0.05  # the share of prompts that is held out where nobody says another one


def is_held_out(row: Mapping[str, object], *, share: float = SHARE, seed: int = 0) -> bool:
    """Whether a row is kept for validation.

    Args:
        row: with `messages`, with `prompt` (and `completion`), or with `text`; any other row goes by
            all that it holds.
        share: of the prompts, from 0 (none) to 1.
        seed: another one divides otherwise.
    """
    digest = hashlib.sha256(f"{seed}\n{prompt_key(row)}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def prompt_key(row: Mapping[str, object]) -> str:
    """What the model is given before it first speaks, as one text: the same for rows that ask the same."""
    for name in ("messages", "prompt", "text"):
        if name in row:
            given = row[name]
            break
    else:
        given = dict(row)
    if isinstance(given, Sequence) and not isinstance(given, str):
        given = _before_the_answer(given)
    return json.dumps(given, sort_keys=True, ensure_ascii=True)


def _before_the_answer(messages: Sequence[object]) -> list[object]:
    """Roles and contents up to the first message of the model (all of them if none is asked)."""
    found: list[object] = []
    for message in messages:
        if not isinstance(message, Mapping):
            found.append(message)
            continue
        if message.get("role") == "assistant" and found:
            break
        found.append([message.get("role"), message.get("content")])
    return found
