"""Give a slow folder the table that tokens can be added to.

Without tokenizer.json, transformers reads added tokens from `added_tokens_decoder`, and from
added_tokens.json only where no file has that key. Once the key is there, it also stops reading
special_tokens_map.json, so the names that stand there alone are written beside it.
Source: transformers 4.57.6 and 5.23.0, `_from_pretrained`.
"""

from __future__ import annotations

import json

from tokengraft.checkpoint import JsonValue
from tokengraft.formats.slow_tokenizers import is_slow, refuse_unknown_class
from tokengraft.planning.draft import Draft
from tokengraft.planning.mentions import Renamer

CONFIG = "tokenizer_config.json"
MAP = "special_tokens_map.json"
TABLE = "added_tokens_decoder"


def with_table(draft: Draft) -> Draft:
    """Write the one table of added tokens into a folder that has none.

    Raises:
        UnsupportedFormat: what ids the folder's class gives is not known.
    """
    if not is_slow(draft.checkpoint) or not draft.planned:
        return draft
    refuse_unknown_class(draft.checkpoint)
    if any(declared.file == CONFIG for declared in draft.tokenizer.declared):
        return draft
    table, names = draft.token_table(), _names(draft)
    if CONFIG in draft.checkpoint.json:
        draft = draft.with_setting(CONFIG, f"/{TABLE}", table)
        for key, value in names.items():
            draft = draft.with_setting(CONFIG, f"/{key}", value)
    else:
        renamed = Renamer.of(draft).value(names)
        assert isinstance(renamed, dict)
        document = {TABLE: table, **renamed}
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        draft = draft.with_file(CONFIG, text)
    return draft.with_note(
        f"{CONFIG} gets the table of added tokens, which the folder lacks: programs that find it no "
        f"longer read added_tokens.json and {MAP}, so what stands there alone is written into it too"
    )


def _names(draft: Draft) -> dict[str, JsonValue]:
    """What the special tokens map alone says, by key, in the texts of the base."""
    listed = draft.checkpoint.value(MAP)
    names = listed if isinstance(listed, dict) else {}
    return {
        key: value
        for key, value in names.items()
        if draft.checkpoint.value(CONFIG, f"/{key}") is None
    }
