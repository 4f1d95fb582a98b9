"""Write what a change touches so that old and new programs read the same.

transformers 5 saves a list under a key where version 4 expects names and stops, keeps the table of
added tokens in tokenizer.json alone, and spells RoPE in a key that version 4 does not know, which
then takes the frequency 10000 without a word. Each is a spelling; the other one is put beside it or
in its place, with the same values.
Source: transformers 4.57.6 and 5.23.0, measured with both; docs/decisions/0007-portable-output.md.
"""

from __future__ import annotations

from dataclasses import replace

from tokengraft.checkpoint import JsonValue
from tokengraft.planning.draft import Draft
from tokengraft.positions import lacks_older_spelling, older_spelling, rope_config

TOKENIZER, CONFIG = "tokenizer_config.json", "config.json"
MAP = "special_tokens_map.json"
NEW_LIST, OLD_LIST = "/extra_special_tokens", "/additional_special_tokens"


def portable(draft: Draft) -> Draft:
    """Bring spellings that one version alone reads into a form that all read."""
    for file in (TOKENIZER, MAP):
        draft = _old_list(draft, file)
    for prefix in dict.fromkeys((draft.checkpoint.text_config, "")):
        draft = _old_rope(draft, prefix)
    return _full_table(draft)


def _old_list(draft: Draft, file: str) -> Draft:
    """A list of `extra_special_tokens` under the name that both versions read as a list."""
    listed = draft.checkpoint.value(file, NEW_LIST)
    if not isinstance(listed, list):
        return draft
    known = draft.checkpoint.value(file, OLD_LIST)
    both = [*known, *listed] if isinstance(known, list) else listed
    texts = dict.fromkeys(_text(entry) for entry in both)
    if None in texts:
        return draft  # an entry that no version reads; the audit says so
    sentence = (
        f"{file} lists {len(listed)} tokens as extra_special_tokens, which transformers 4 cannot "
        "load: the list is written as additional_special_tokens, which both versions read"
    )
    draft = draft.with_setting(file, OLD_LIST, _first_of_each(both)).without(file, NEW_LIST)
    return replace(draft, reconciled=(*draft.reconciled, sentence))


def _first_of_each(entries: list[JsonValue]) -> list[JsonValue]:
    """The entries as they are, each text once."""
    found: dict[str | None, JsonValue] = {}
    for entry in entries:
        found.setdefault(_text(entry), entry)
    return list(found.values())


def _text(entry: JsonValue) -> str | None:
    text = entry.get("content") if isinstance(entry, dict) else entry
    return text if isinstance(text, str) else None


def _old_rope(draft: Draft, prefix: str) -> Draft:
    """`rope_theta` and `rope_scaling` beside `rope_parameters`, where leaving them out would tell."""
    value = draft.checkpoint.value(CONFIG)
    if not isinstance(value, dict) or (CONFIG, f"{prefix}/rope_scaling") in draft.settings:
        return draft
    config = rope_config(draft.checkpoint.family, value, prefix)
    if not lacks_older_spelling(config):
        return draft
    for pointer, setting in older_spelling(config, config.newer):
        draft = draft.with_setting(CONFIG, prefix + pointer, setting)
    sentence = (
        f"{CONFIG} spells RoPE as transformers 5 alone reads it, and version 4 would take the "
        "frequency 10000 without scaling: rope_theta and rope_scaling are written beside it"
    )
    return replace(draft, reconciled=(*draft.reconciled, sentence))


def _full_table(draft: Draft) -> Draft:
    """The whole table of added tokens in tokenizer_config.json too, where the plan changes it."""
    files = draft.checkpoint.json
    pointer = "/added_tokens_decoder"
    if not draft.planned or TOKENIZER not in files or "tokenizer.json" not in files:
        return draft
    if isinstance(draft.value(TOKENIZER, pointer), dict) or len(draft.added) > MAX_TABLE:
        return draft
    return draft.with_setting(TOKENIZER, pointer, draft.token_table())


# The table is a value of the plan, written out in it; beyond this, tokenizer.json alone has it, which
# both versions read as well (loading 10,000 takes 0.9 s with the table and 1.9 s without).
MAX_TABLE = 2_000
