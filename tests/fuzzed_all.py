"""All readers that are fuzzed, by the name of their format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import fuzzed
import fuzzed_requests
import fuzzed_trained
from fuzzed import Reader
from tiny import Tiny

TABLES = ("tokenizer_config.json", "added_tokens.json", "special_tokens_map.json")
FORMATS = (
    *("safetensors header", "index", "tokenizer.json", "added tokens", "configuration"),
    *("chat template", "sentencepiece", "recipe", "plan", "sidecar", "receipt", "undo record"),
    *("manifest", "adapter", "row file"),
)


@contextmanager
def readers(folder: Path) -> Iterator[dict[str, Reader]]:
    """Every reader, with the children that libraries are asked in."""
    with ExitStack() as stack:
        base = Tiny(legacy=True).build(folder / "base")
        yield {
            "safetensors header": fuzzed.header(base),
            "index": fuzzed.index(folder),
            "tokenizer.json": fuzzed.tokenizer_json(base, stack),
            "added tokens": fuzzed.assembled(base, TABLES),
            "configuration": fuzzed.assembled(base, ("config.json", "generation_config.json")),
            "chat template": fuzzed.chat_template(base),
            "sentencepiece": fuzzed.sentencepiece(stack),
            "recipe": fuzzed_requests.recipe(),
            **fuzzed_requests.plans(base, folder),
            **fuzzed_trained.trained(folder),
        }
