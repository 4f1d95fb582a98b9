"""F: files that one version or program reads and another does not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokengraft.auditing.asking import (
    CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    TOKENS_MAP,
    config_levels,
    object_of,
    trusted_tokenizer,
)
from tokengraft.auditing.named import content_of
from tokengraft.auditing.rule import Found, counted, listed, place, rule, shown
from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import MalformedFile
from tokengraft.formats.sentencepiece_file import is_sentencepiece, read_sentencepiece
from tokengraft.vocabulary import NAMED_TOKENS

_CLASS = re.compile(
    r"[A-Z]\w*(Tokenizer|TokenizerFast|TokenizersBackend|SentencePieceBackend|Backend)"
)


@rule("F202", severity="note", title="the tokenizer's class is one that transformers 4 knows")
def class_is_new(checkpoint: Checkpoint) -> Iterator[Found]:
    """Transformers 5 gave the general class a new name.

    What it checks:
        `tokenizer_class` is not TokenizersBackend.

    Why it matters:
        transformers 4, and llama.cpp's converter with it, know no such class and stop.

    Example:
        "tokenizer_class": "TokenizersBackend", written by transformers 5.

    Fix and its safety:
        Write "PreTrainedTokenizerFast" by hand, with "model_input_names" beside it: both versions
        read it. No id changes.

    Sources:
        transformers 5.23, tokenization_utils_tokenizers.py; marin#8163.
    """
    if checkpoint.value(TOKENIZER_CONFIG, "/tokenizer_class") == "TokenizersBackend":
        yield Found(
            place(TOKENIZER_CONFIG, "/tokenizer_class"),
            "the class TokenizersBackend is unknown to transformers 4",
        )


@rule("F203", severity="warning", title="the tokenizer's class is a class", bears_on=("inference",))
def class_is_none(checkpoint: Checkpoint) -> Iterator[Found]:
    """The class decides which code reads the other files.

    What it checks:
        `tokenizer_class`, where it is there, looks like the name of a tokenizer's class, or is made by
        code of the folder (`auto_map`).

    Why it matters:
        transformers stops, or falls back to another class with other defaults.

    Example:
        "tokenizer_class": "qwen2"

    Fix and its safety:
        Write the class of the publisher's file again. No id changes.

    Sources:
        transformers 4.57 and 5.23, models/auto/tokenization_auto.py.
    """
    config = object_of(checkpoint, TOKENIZER_CONFIG)
    kind = config.get("tokenizer_class")
    if kind is None or "auto_map" in config:
        return
    if not isinstance(kind, str) or not _CLASS.fullmatch(kind):
        yield Found(
            place(TOKENIZER_CONFIG, "/tokenizer_class"), f"{kind!r:.60} is no class of tokenizers"
        )


_KINDS: dict[str, type | tuple[type, ...]] = {
    **{f"{name}_token": (str, dict) for name in NAMED_TOKENS},
    **dict.fromkeys(("additional_special_tokens", "model_input_names"), list),
    "extra_special_tokens": (str, list, dict),
    **dict.fromkeys(("add_bos_token", "add_eos_token", "add_prefix_space", "legacy"), bool),
    **dict.fromkeys(("clean_up_tokenization_spaces", "split_special_tokens"), bool),
    "model_max_length": (int, float),
    "added_tokens_decoder": dict,
    "padding_side": str,
}


@rule(
    "F208",
    severity="warning",
    title="tokenizer_config.json has values of the right kinds",
    bears_on=("inference",),
)
def config_values_are_odd(checkpoint: Checkpoint) -> Iterator[Found]:
    """Names are texts, lists are lists, switches are true or false.

    What it checks:
        The keys of tokenizer_config.json that loaders read have values of the kind that they expect; null
        is always fine. Entries of `additional_special_tokens` are texts or tokens with a content.

    Why it matters:
        transformers stops, or takes any text for true.

    Example:
        "additional_special_tokens": false

    Fix and its safety:
        Correct the value by hand. Safe: no row changes.

    Sources:
        transformers 4.57 and 5.23, tokenization_utils_base.py, `__init__`.
    """
    config = object_of(checkpoint, TOKENIZER_CONFIG)
    told = []
    for key, kinds in _KINDS.items():
        value = config.get(key)
        odd = value is not None and not isinstance(value, kinds)
        odd |= isinstance(value, bool) and key == "model_max_length"
        odd |= isinstance(value, dict) and key.endswith("_token") and content_of(value) is None
        if odd:
            told.append(f"{key} is {value!r:.40}")
    more = config.get("additional_special_tokens")
    if isinstance(more, list):
        told += [
            f"{entry!r:.40} is listed as special" for entry in more if content_of(entry) is None
        ]
    sides = config.get("padding_side")
    if isinstance(sides, str) and sides not in ("left", "right"):
        told.append(f"padding_side is {sides!r:.40}")
    if told:
        yield Found(place(TOKENIZER_CONFIG), f"in tokenizer_config.json {told[0]}", listed(told))


@rule("F204", severity="warning", title="config.json counts experts once", bears_on=("inference",))
def experts_in_new_spelling(checkpoint: Checkpoint) -> Iterator[Found]:
    """Transformers 5 renames the number of experts when it saves.

    What it checks:
        `num_local_experts` does not stand alone in a config of Qwen's mixtures, and does not contradict
        `num_experts`.

    Why it matters:
        transformers 4 and mlx-lm read `num_experts` there, and take 128 or stop where it is missing.

    Example:
        A qwen3_moe config with "num_local_experts": 64 alone.

    Fix and its safety:
        Write both keys with the same number, by hand. Safe: all versions accept it.

    Sources:
        transformers 5.23 saved configs, measured; mlx-lm models/qwen3_moe.py.
    """
    for base, config in config_levels(checkpoint):
        old, new = config.get("num_experts"), config.get("num_local_experts")
        is_qwen = str(config.get("model_type")).startswith("qwen")
        if new is not None and ((old is None and is_qwen) or (old is not None and old != new)):
            yield Found(
                place(CONFIG, f"{base}/num_local_experts"),
                f"num_local_experts is {new}, num_experts {'missing' if old is None else old}",
            )


@rule("F205", severity="note", title="special_tokens_map.json can be read by older programs")
def map_has_flags(checkpoint: Checkpoint) -> Iterator[Found]:
    """Entries of the map may have flags; one of them breaks older readers.

    What it checks:
        No entry of special_tokens_map.json has the key `special`.

    Why it matters:
        Older programs add that flag themselves and stop: "got multiple values for keyword argument".

    Example:
        {"eos_token": {"content": "</s>", "special": true}}

    Fix and its safety:
        Take the key out by hand. Safe: every entry of this file is special.

    Sources:
        transformers#44062, casper-hansen/AutoAWQ#436.
    """
    values = object_of(checkpoint, TOKENS_MAP)
    named = [key for key, value in values.items() if isinstance(value, dict) and "special" in value]
    if named:
        yield Found(
            place(TOKENS_MAP),
            f"{counted(len(named), 'entry').replace('entrys', 'entries')} "
            "of special_tokens_map.json with the key special",
            listed(named),
        )


@rule("F206", severity="note", title="tokens that are listed as special are special")
def listed_and_not_special(checkpoint: Checkpoint) -> Iterator[Found]:
    """A token can be called special in a list, and be ordinary in the table.

    What it checks:
        The texts of `additional_special_tokens` are special in the table of added tokens.

    Why it matters:
        transformers makes them special when it loads; programs on the plain library do not. One hides
        them in answers, the other shows them.

    Example:
        "<think>" in the list, and "special": false in the table.

    Fix and its safety:
        Decide which one is meant and correct the other by hand. No id changes.

    Sources:
        transformers 4.57, tokenization_utils_base.py; measured: edits in one file alone.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    value = checkpoint.value(TOKENIZER_CONFIG, "/additional_special_tokens")
    if tokenizer is None or not isinstance(value, list):
        return
    plain = {token.content for token in tokenizer.added.values() if not token.special}
    told = [shown(text) for entry in value if (text := content_of(entry)) in plain and text]
    if told:
        yield Found(
            place(TOKENIZER_CONFIG, "/additional_special_tokens"),
            f"{counted(len(told), 'token')} of the list {'is' if len(told) == 1 else 'are'} not special "
            f"in the table: {listed(told, limit=3)}",
        )


@rule("F207", severity="note", title="the SentencePiece file has every added token")
def sentencepiece_beside(checkpoint: Checkpoint) -> Iterator[Found]:
    """A SentencePiece file beside tokenizer.json is the older copy, and may lack added tokens.

    What it checks:
        tokenizer.model, where there is one, has a piece for each added token.

    Why it matters:
        Ollama and llama.cpp read tokenizer.model first, and find added tokens only in other files, or
        not at all.

    Example:
        A fine-tune of Llama 2 with four new tokens, and its base's tokenizer.model.

    Fix and its safety:
        Display only. A plan that adds tokens writes all of them behind the last piece, where their
        ids follow it without a gap.

    Sources:
        Ollama convert/tokenizer.go, `parseVocabulary`; llama.cpp conversion/base.py.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    data = checkpoint.small_files.get("tokenizer.model", b"")
    if tokenizer is None or TOKENIZER not in checkpoint.json or not is_sentencepiece(data):
        return
    try:
        pieces = {piece.text for piece in read_sentencepiece(data, file="tokenizer.model").pieces}
    except MalformedFile as error:
        yield Found(
            place("tokenizer.model"),
            "tokenizer.model is no SentencePiece model",
            error.detail,
            safety="display-only",
            severity="warning",
        )
        return
    more = [shown(t.content) for t in tokenizer.added.values() if t.content not in pieces]
    if more and tokenizer.vocab:
        yield Found(
            place("tokenizer.model"),
            f"tokenizer.model lacks {counted(len(more), 'added token')}",
            listed(more),
            safety="display-only",
        )


@rule("F209", severity="note", title="some file says which class the tokenizer has", bears_on=())
def no_class(checkpoint: Checkpoint) -> Iterator[Found]:
    """AutoTokenizer takes the class from one of two files, and guesses where neither names it.

    What it checks:
        tokenizer_config.json has `tokenizer_class`, or config.json has `model_type`.

    Why it matters:
        transformers stops, or takes the generic class: other defaults, and in version 5 another
        splitting of text for some families.

    Example:
        A folder with tokenizer files alone, whose tokenizer_config.json has no `tokenizer_class`.

    Fix and its safety:
        Write the class of the publisher's file, or put config.json beside it. No id changes.

    Sources:
        transformers 4.57 and 5.23, models/auto/tokenization_auto.py.
    """
    if checkpoint.tokenizer is None or checkpoint.value(CONFIG, "/model_type") is not None:
        return
    config = object_of(checkpoint, TOKENIZER_CONFIG)
    if config.get("tokenizer_class") is None and "auto_map" not in config:
        yield Found(
            place(TOKENIZER_CONFIG, "/tokenizer_class"),
            "neither tokenizer_config.json nor config.json says which class the tokenizer has",
        )
