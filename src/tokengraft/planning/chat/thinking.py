"""Learn where a chat template puts thoughts, and what a generation prompt writes of that already."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from tokengraft.formats.template_text import MARKER
from tokengraft.planning.chat.probing import (
    REASONING_KEYS,
    SAID,
    WHY,
    NotUnderstoodError,
    Seen,
)
from tokengraft.planning.chat.shapes import Around, JsonObject, Thinking

# Where a template has no thinking block: the one of Qwen and DeepSeek, which servers know.
OPEN_THINKING, CLOSE_THINKING = "<think>", "</think>"
THINKING = Around(f"{OPEN_THINKING}\n", f"\n{CLOSE_THINKING}\n\n")
Prompt = tuple[
    JsonObject, str
]  # what a template is given beside messages, and its generation prompt


def learn_thinking(
    found: Mapping[str, Seen | None], early: str, late: str, prompts: tuple[Prompt, ...]
) -> tuple[str, Thinking | None]:
    """What opens every turn of the assistant, and the thinking block that can follow it.

    Args:
        found: what the message loop wrote.
        early, late: what stands before the content of a turn, and of the last turn.
        prompts: the generation prompts, the usual one first.
    Raises:
        NotUnderstoodError: turns and generation prompt have nothing in common.
    """
    head = common([early, late, prompts[0][1]])
    if prompts[0][1] and not head:
        raise NotUnderstoodError("", "its generation prompt does not begin a turn of the assistant")
    key, filled = _filled(found)
    opening = [text for _, text in prompts if _opens(text)]
    if key is not None and filled.open.startswith(common([head, filled.open])):
        head = _before_block(common([head, filled.open]), filled.close)
        block = Around(filled.open[len(head) :], filled.close)
    elif opening:
        head = common([head, opening[0]])
        block = _closed(opening[0][len(head) :], early[len(head) :])
    else:
        return head, None
    if not block.open.strip():
        return head, None
    modes = [mode for mode, text in prompts if text[len(head) :] in ("", block.open)]
    mode = modes[0] if modes else None
    prompted = mode is not None and (mode, head + block.open) in prompts
    return head, Thinking(block, key, late[len(head) :], prompted, mode)


def common(texts: list[str]) -> str:
    """What texts begin with alike, without splitting a marker or a word of any of them."""
    head = texts[0]
    for other in texts[1:]:
        same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(head, other, strict=False))
        head = head[: sum(1 for _ in same)]
    for text in texts:
        for match in MARKER.finditer(text):
            if match.start() < len(head) < match.end():
                head = head[: match.start()]
        while head and head[-1].isalnum() and text[len(head) : len(head) + 1].isalnum():
            head = head[:-1]
    return head


def _filled(found: Mapping[str, Seen | None]) -> tuple[str | None, Around]:
    """The message key that a template fills its block from, and what stands around it."""
    for key in REASONING_KEYS:
        seen = found[key]
        body = "" if seen is None or not seen.bodies else seen.bodies[-1]
        before, there, after = body.partition(WHY)
        close, said, _ = after.partition(SAID)
        if there and said and close.strip():
            return key, Around(before, close)
    return None, Around("", "")


def _opens(prompt: str) -> bool:
    """Whether a prompt ends with a marker such as <think>."""
    found = list(MARKER.finditer(prompt.rstrip()))
    if not found or found[-1].end() < len(prompt.rstrip()):
        return False
    name = found[-1].group()
    return name.startswith("<") and "think" in name and not name.startswith("</")


def _before_block(head: str, close: str) -> str:
    """Cut a marker off that the block's end closes: it belongs to the block."""
    found = list(MARKER.finditer(head))
    if found and not head[found[-1].end() :].strip():
        name = found[-1].group()
        if f"</{name[1:]}" in close:
            return head[: found[-1].start()]
    return head


def _closed(opening: str, written: str) -> Around:
    """The block that a prompt opens; a turn without thoughts may show how it is closed."""
    close = f"</{opening.strip()[1:]}"
    return Around(opening, written if written.startswith(close) else f"\n{close}\n\n")
