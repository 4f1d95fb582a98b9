"""What config.json says about rows, ties and context. Nothing here looks at a tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from tokengraft.checkpoint import JsonValue
from tokengraft.layout import Family

TIE_KEY = "/tie_word_embeddings"
# Keys whose number is an id or a count of tokens, so that it equals vocab_size for a good reason
# (LLaVA's image_token_index is the vocabulary size of the text model it started from).
_TOKEN_KEYS = ("vocab", "token", "_id", "_index")
# Products of config numbers that fused projections have as an axis: q, k, v in one matrix (3 x
# hidden), gate and up in one (2 x intermediate), the classic feed-forward (4 x hidden).
_FUSED = (1, 2, 3, 4)
_WIDTH_KEYS = ("size", "dim", "embd", "d_model", "d_ff", "inner", "ffn")


@dataclass(frozen=True, slots=True)
class Claims:
    """What the config says.

    Attributes:
        n_rows: the vocabulary size; None where no key holds one.
        n_rows_pointer: where it stands in config.json.
        ties: what each `tie_word_embeddings` says, by its pointer.
        vocab_sizes: other numbers that may be a count of rows, `n_rows` not among them.
        other_sizes: sizes of the model that have nothing to do with the vocabulary.
    """

    n_rows: int | None
    n_rows_pointer: str
    ties: Mapping[str, bool]
    vocab_sizes: frozenset[int]
    other_sizes: frozenset[int]


def read_claims(family: Family, config: Mapping[str, JsonValue], text_config: str) -> Claims:
    """Collect what the config says about the vocabulary axis; the text config is asked first."""
    n_rows, pointer = _first_size(family.vocab_keys, config, text_config)
    ties = {
        base + TIE_KEY: value
        for base in _bases(text_config)
        if isinstance(value := value_at(config, base + TIE_KEY), bool)
    }
    return Claims(
        n_rows=n_rows,
        n_rows_pointer=pointer or "",
        ties=ties,
        vocab_sizes=frozenset(_vocab_sizes(config, text_config, n_rows)),
        other_sizes=frozenset(_other_sizes(config, text_config)),
    )


def context_of(
    family: Family, config: Mapping[str, JsonValue], text_config: str = ""
) -> tuple[int | None, str | None]:
    """The context length that config.json names, and the pointer to it from the top of the file.

    The text config is asked first, then the top level, each in the order of the family's keys.
    """
    return _first_size(family.length_keys, config, text_config)


def trained_length(family: Family, length: int | None) -> tuple[int | None, str]:
    """The context length that was really trained where the config names `length`, and who says so.

    None where nobody certain says it: a config's number is no proof of training (Qwen3's 40960 is
    32768 trained positions and room for an answer).
    """
    trained = dict(family.trained_length).get(length or 0)
    return (None, "") if trained is None else (trained, family.trained_length_source)


def value_at(config: Mapping[str, JsonValue], pointer: str) -> JsonValue:
    """The value at a JSON pointer through objects only, None where it is missing."""
    value: JsonValue = dict(config)
    for part in pointer.split("/")[1:]:
        if not isinstance(value, dict):
            return None
        value = value.get(part.replace("~1", "/").replace("~0", "~"))
    return value


def _first_size(
    keys: tuple[str, ...], config: Mapping[str, JsonValue], text_config: str
) -> tuple[int | None, str | None]:
    for base in _bases(text_config):
        for key in keys:
            value = value_at(config, base + key)
            if _is_size(value):
                return value, base + key
    return None, None


def _bases(text_config: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((text_config, "")))


def _is_size(value: JsonValue) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _sizes(config: Mapping[str, JsonValue], text_config: str) -> Iterator[tuple[str, int]]:
    """Every positive whole number of the text config and of the top level, with its key."""
    for base in _bases(text_config):
        level = value_at(config, base)
        for key, value in level.items() if isinstance(level, dict) else ():
            if _is_size(value):
                yield key, value


def _vocab_sizes(
    config: Mapping[str, JsonValue], text_config: str, n_rows: int | None
) -> Iterator[int]:
    """Numbers of rows that are not vocab_size and still count tokens.

    Mllama has 8 rows more, Moshi 1 more, Molmo2 `additional_vocab_size` more; Gemma3n's per-layer
    table has `vocab_size_per_layer_input` (formats research, 2.1).
    """
    for key, value in _sizes(config, text_config):
        if "vocab" in key and value != n_rows and n_rows is not None:
            yield from (size for size in (value, n_rows + value) if size > n_rows // 2)
    if n_rows is not None:
        yield from (n_rows + 1, n_rows + 8)


def _other_sizes(config: Mapping[str, JsonValue], text_config: str) -> Iterator[int]:
    named = dict(_sizes(config, text_config))
    for key, value in named.items():
        if not any(part in key for part in _TOKEN_KEYS):
            is_width = any(part in key for part in _WIDTH_KEYS)
            yield from (value * factor for factor in (_FUSED if is_width else (1,)))
    heads, head_dim = named.get("num_attention_heads", 0), named.get("head_dim", 0)
    kv_heads = named.get("num_key_value_heads", heads)
    yield from (n * head_dim for n in (heads, kv_heads, heads + 2 * kv_heads) if n and head_dim)
