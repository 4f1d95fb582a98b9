"""R: tokens that files give a name: bos, eos, pad, unk and the rest."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.auditing.asking import (
    CONFIG,
    GENERATION,
    TOKENIZER_CONFIG,
    TOKENS_MAP,
    ids_at,
    knows_every_token,
    n_rows_of,
    object_of,
    text_of,
    trusted_tokenizer,
)
from tokengraft.auditing.padding import PAD_AUTO
from tokengraft.auditing.rule import Found, listed, place, rule, shown
from tokengraft.auditing.stopping import STOP_AUTO
from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.findings import Fix
from tokengraft.vocabulary import NAMED_TOKENS, Tokenizer


def content_of(value: JsonValue) -> str | None:
    """The text of a token that a file writes as a text or as an object with flags."""
    found = value.get("content") if isinstance(value, dict) else value
    return found if isinstance(found, str) else None


@rule(
    "R101",
    severity="warning",
    title="special_tokens_map.json names the same tokens as tokenizer_config.json",
    bears_on=("pad", "lora"),
)
def maps_differ(checkpoint: Checkpoint) -> Iterator[Found]:
    """special_tokens_map.json repeats names of tokenizer_config.json, and is easily left behind.

    What it checks:
        Each of bos, eos, pad, unk, sep, cls and mask that both files name is the same text in
        both. A name that one of them lacks is not compared.

    Why it matters:
        transformers reads the map wherever tokenizer_config.json has no `added_tokens_decoder`,
        and then the map wins: a pad or eos token that was changed is silently changed back. With
        that key the map is ignored, and only people and older programs are misled.

    Example:
        tokenizer_config.json: "pad_token": "<|pad|>"; special_tokens_map.json, from an earlier
        version: "pad_token": "<|endoftext|>".

    Fix and its safety:
        A plan that sets the token writes it into both files. To keep what is in force now, delete
        special_tokens_map.json or correct it by hand.

    Sources:
        transformers 4.57 and 5.23, tokenization_utils_base.py; measured.
    """
    config = object_of(checkpoint, TOKENIZER_CONFIG)
    for name in NAMED_TOKENS:
        here = content_of(config.get(f"{name}_token"))
        there = content_of(checkpoint.value(TOKENS_MAP, f"/{name}_token"))
        if here is None or there is None or here == there:
            continue
        wins = "added_tokens_decoder" not in config
        effect = (
            f"{TOKENIZER_CONFIG} has no added_tokens_decoder, so transformers takes {shown(there)}"
            if wins
            else f"transformers takes {shown(here)} and ignores the map; other programs may not"
        )
        yield Found(
            place(TOKENS_MAP, f"/{name}_token"),
            f"{name} is {shown(there)} in {TOKENS_MAP}, {shown(here)} in {TOKENIZER_CONFIG}",
            effect,
            severity="error" if wins else None,
        )


@rule(
    "R102",
    severity="warning",
    title="config.json and generation_config.json give named tokens the tokenizer's ids",
    bears_on=("inference", "pad", "lora"),
)
def named_ids_differ(checkpoint: Checkpoint) -> Iterator[Found]:
    """The tokenizer names tokens by text, the configs name them by id; both must mean the same.

    What it checks:
        The id of the tokenizer's bos, eos and pad is the id that config.json and
        generation_config.json give that name; where a file lists several, it must be in the list.
        A name that one side lacks is not compared. Ids without a row are left to R203.

    Why it matters:
        Generation stops at the ids of the configs, batches are padded with their pad id, training
        reads the tokenizer. If they differ, a model is trained with one token and run with another.

    Example:
        tokenizer_config.json names <|im_end|> (151645) as eos, config.json says 151643.

    Fix and its safety:
        For eos, `[stop] tokens = "auto"` adds the tokenizer's id to the stop list and takes none
        away. For pad, `[pad]` writes one token into every file. Both are safe: no row changes.

    Sources:
        transformers 4.57 and 5.23, trainer_utils.align_special_tokens; QwenLM/Qwen3#927.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    for name in ("bos", "eos", "pad") if tokenizer is not None else ():
        assert tokenizer is not None
        token_id, text = tokenizer.named_id(name), tokenizer.named_content(name)
        if token_id is None or text is None:
            continue
        for file in (GENERATION, CONFIG):
            if name == "eos" and file == CONFIG and ids_at(checkpoint, GENERATION, "/eos_token_id"):
                continue  # the list of generation_config.json is what counts
            pointer, ids = _ids_in(checkpoint, name, file)
            if not ids or token_id in ids or _without_row(checkpoint, ids):
                continue
            yield Found(
                place(file, pointer),
                f"{name} is {listed(map(str, ids))} in {file}, and {token_id} "
                f"({shown(text)}) in the tokenizer",
                f"{listed(_spoken(tokenizer, ids))}",
                fix={"eos": STOP_AUTO, "pad": PAD_AUTO}.get(name),
                safety="safe" if name in ("eos", "pad") else None,
            )


def _ids_in(checkpoint: Checkpoint, name: str, file: str) -> tuple[str, tuple[int, ...]]:
    """The ids that a file gives a name, the language model's part of config.json first."""
    bases = dict.fromkeys((checkpoint.text_config, "")) if file == CONFIG else {"": None}
    for base in bases:
        pointer = f"{base}/{name}_token_id"
        ids = tuple(i for i in ids_at(checkpoint, file, pointer) if i >= 0)
        if ids:
            return pointer, ids
    return "", ()


def _spoken(tokenizer: Tokenizer, ids: tuple[int, ...]) -> list[str]:
    texts = ((token_id, text_of(tokenizer, token_id)) for token_id in ids)
    return [f"{i} is {shown(t) if t is not None else 'no added token'}" for i, t in texts]


def _without_row(checkpoint: Checkpoint, ids: tuple[int, ...]) -> bool:
    n_rows = n_rows_of(checkpoint)
    return n_rows is not None and any(token_id >= n_rows for token_id in ids)


@rule(
    "R103",
    severity="error",
    title="every named token is in the table of tokens",
    bears_on=("inference", "roles", "tools", "thinking", "protocol", "pad", "lora"),
)
def named_is_no_token(checkpoint: Checkpoint) -> Iterator[Found]:
    """A name for a text that is no token creates that token, without a word.

    What it checks:
        The texts of bos, eos, pad, unk, sep, cls, mask and of `additional_special_tokens` in
        tokenizer_config.json are added tokens or pieces of the vocabulary. Without the model's own
        vocabulary at hand the rule says nothing.

    Why it matters:
        transformers appends the missing text as a new token with the next free id. Its embedding
        row was never trained, or there is none, and the next token that you add gets another id
        than you planned.

    Example:
        "pad_token": "<|pad|>" in tokenizer_config.json of Qwen3, and nowhere else: it becomes the
        token 151669.

    Fix and its safety:
        Add it on purpose: `[[add]]` with that text, or `[pad] token = "..."` for a pad token. That
        is safe for ids and old rows; the new row has to be trained before the model understands it.

    Sources:
        transformers 4.57 and 5.23, measured: a pad token named in one file alone.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    if tokenizer is None or not knows_every_token(tokenizer):
        return
    config = object_of(checkpoint, TOKENIZER_CONFIG)
    named = {f"/{name}_token": content_of(config.get(f"{name}_token")) for name in NAMED_TOKENS}
    more = config.get("additional_special_tokens")
    for number, value in enumerate(more if isinstance(more, list) else ()):
        named[f"/additional_special_tokens/{number}"] = content_of(value)
    for pointer, text in named.items():
        if text and tokenizer.id_of(text) is None:
            is_pad = pointer == "/pad_token"
            operation = "pad" if is_pad else "add"
            settings: dict[str, str | int | bool] = {"token" if is_pad else "text": text}
            yield Found(
                place(TOKENIZER_CONFIG, pointer),
                f"{shown(text)} is named and is no token",
                f"transformers appends it as token {tokenizer.n_tokens} when it loads the folder",
                fix=Fix(operation=operation, settings=settings),
                safety="safe",
            )
