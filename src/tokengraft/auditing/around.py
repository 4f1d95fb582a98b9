"""T: what tokenizer.json does around a text: cutting, padding, and tokens put before and after."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.auditing.asking import (
    TOKENIZER,
    TOKENIZER_CONFIG,
    object_of,
    steps_of,
    trusted_tokenizer,
)
from tokengraft.auditing.rule import Found, listed, place, rule, shown
from tokengraft.auditing.tokens import EVERY_CHANGE
from tokengraft.checkpoint import Checkpoint, JsonValue


@rule("T404", severity="note", title="tokenizer.json cuts and pads nothing by itself")
def cuts_or_pads(checkpoint: Checkpoint) -> Iterator[Found]:
    """A limit that was set for one training run can stay in the file.

    What it checks:
        `truncation` and `padding` in tokenizer.json are null.

    Why it matters:
        transformers turns both off. Programs on the plain library do not: long texts lose their end
        without a word, short ones are filled up.

    Example:
        "truncation": {"max_length": 512, ...} in the file of a model with 32,768 positions.

    Fix and its safety:
        Set both to null by hand. Safe: no id changes.

    Sources:
        tokenizers 0.23, tokenizer/serialization.rs; transformers tokenization_utils_fast.py.
    """
    for key in ("truncation", "padding"):
        value = object_of(checkpoint, TOKENIZER, f"/{key}")
        if value:
            length = value.get("max_length") if key == "truncation" else value.get("strategy")
            yield Found(
                place(TOKENIZER, f"/{key}"),
                f"tokenizer.json has {key} built in: {length!r:.60}",
                "programs on the plain tokenizers library do it to every text",
            )


@rule(
    "T405",
    severity="error",
    title="the post-processor writes ids that its tokens have",
    bears_on=("inference", *EVERY_CHANGE),
)
def post_processor_ids(checkpoint: Checkpoint) -> Iterator[Found]:
    """The step that puts bos and eos around a text keeps their ids beside their texts.

    What it checks:
        Each token that the post-processor names is in the table, with the id that stands beside it; and
        each token in its pattern is among those that it declares.

    Why it matters:
        The id is what counts: after a change of the table the wrong row stands before every text.
        An undeclared token stops the file from loading.

    Example:
        "<s>": {"ids": [1]} while <s> is 2 in the table.

    Fix and its safety:
        None here: which of the two is right is not in the file. Ask the publisher.

    Sources:
        tokenizers 0.23, processors/template.rs.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    if tokenizer is None or not tokenizer.vocab:
        return
    for value, pointer in steps_of(checkpoint, "post_processor"):
        told = [
            f"{shown(text)} has {'no id' if ids is None else ids} there, "
            f"{'none' if known is None else known} in the table"
            for text, ids in _emitted(value)
            if (known := tokenizer.id_of(text)) != ids or ids is None
        ]
        if told:
            yield Found(
                place(TOKENIZER, pointer), "the post-processor writes other ids", listed(told)
            )


def _emitted(value: dict[str, JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    """Texts that a post-processor puts in, with the ids it has for them."""
    for key in ("sep", "cls"):
        pair = value.get(key)
        if isinstance(pair, list) and len(pair) == 2:  # noqa: PLR2004  [text, id]
            yield str(pair[0]), pair[1]
    declared = value.get("special_tokens")
    known = declared if isinstance(declared, dict) else {}
    for entry in known.values():
        if isinstance(entry, dict):
            texts, ids = entry.get("tokens"), entry.get("ids")
            if isinstance(texts, list) and isinstance(ids, list):
                yield from zip(map(str, texts), ids, strict=False)
    for part in (value.get("single"), value.get("pair")):
        for piece in part if isinstance(part, list) else ():
            special = piece.get("SpecialToken") if isinstance(piece, dict) else None
            if isinstance(special, dict) and special.get("id") not in known:
                yield str(special.get("id")), None


@rule("T406", severity="note", title="add_bos_token and add_eos_token do what they say")
def flags_without_effect(checkpoint: Checkpoint) -> Iterator[Found]:
    """What stands around a text is decided by tokenizer.json; two flags of another file look as if.

    What it checks:
        Where `add_bos_token` or `add_eos_token` of tokenizer_config.json is true, the post-processor
        of tokenizer.json writes that token; where it is false, it does not.

    Why it matters:
        Most classes never read these flags, Llama's reads them in transformers 4 alone: whether a text
        begins with bos then depends on the program.

    Example:
        "add_bos_token": true on Qwen3, whose post-processor adds nothing.

    Fix and its safety:
        Set the flag to what happens, by hand. Safe: nothing else changes.

    Sources:
        transformers 4.57 tokenization_llama_fast.py, 5.23 drops both keys; SGLang re-adds them.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    if tokenizer is None or TOKENIZER not in checkpoint.json or not tokenizer.vocab:
        return
    written = {
        text for value, _ in steps_of(checkpoint, "post_processor") for text, _ in _emitted(value)
    }
    for name in ("bos", "eos"):
        flag = checkpoint.value(TOKENIZER_CONFIG, f"/add_{name}_token")
        text = tokenizer.named_content(name)
        if isinstance(flag, bool) and flag != (text in written) and (text is not None or flag):
            yield Found(
                place(TOKENIZER_CONFIG, f"/add_{name}_token"),
                f"add_{name}_token is {str(flag).lower()}, and tokenizer.json "
                f"{'does not write' if flag else 'writes'} {name}",
            )


@rule(
    "T407",
    severity="warning",
    title="control tokens are read as control tokens",
    bears_on=("inference", "lora"),
)
def special_tokens_are_split(checkpoint: Checkpoint) -> Iterator[Found]:
    """One switch makes transformers cut special tokens into ordinary pieces.

    What it checks:
        `split_special_tokens` in tokenizer_config.json is not true.

    Why it matters:
        A chat template writes its markers as text. With the switch on they are cut into letters, and
        the model sees no turn at all. transformers 5 and other programs ignore it or obey it.

    Example:
        "split_special_tokens": true, meant to protect against forged markers.

    Fix and its safety:
        Set it to false by hand; encode what users write apart from the frame instead. Safe.

    Sources:
        transformers 4.57, tokenization_utils_fast.py, `encode_special_tokens`.
    """
    if checkpoint.value(TOKENIZER_CONFIG, "/split_special_tokens") is True:
        yield Found(
            place(TOKENIZER_CONFIG, "/split_special_tokens"),
            "special tokens are cut into ordinary pieces when a text is read",
        )
