"""R: tokens that files give a name (bos, eos, pad ...), and the list of ids that end generation."""

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
    named_ids,
    object_of,
    stop_ids_of,
    text_of,
)
from tokengraft.auditing.rule import Found, listed, place, rule, shown
from tokengraft.auditing.template_text import turn_ends
from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.findings import Fix
from tokengraft.vocabulary import NAMED_TOKENS, Tokenizer

PAD_AUTO = Fix(operation="pad", settings={"token": "auto"})
STOP_AUTO = Fix(operation="stop", settings={"tokens": "auto"})
# Classes of transformers that have no pad token of their own where the files name none.
_WITHOUT_PAD = frozenset(
    {
        *("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend"),
        *("GPT2Tokenizer", "GPT2TokenizerFast", "CodeGenTokenizer", "CodeGenTokenizerFast"),
        *("LlamaTokenizer", "LlamaTokenizerFast"),
    }
)


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
    tokenizer = checkpoint.tokenizer
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
                f"{name} is {listed(map(_number, ids))} in {file}, and {token_id} "
                f"({shown(text)}) in the tokenizer",
                f"{listed(_spoken(tokenizer, ids))}",
                fix={"eos": STOP_AUTO, "pad": PAD_AUTO}.get(name),
                safety="safe" if name in ("eos", "pad") else None,
            )


def _number(token_id: int) -> str:
    return str(token_id)


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
    tokenizer = checkpoint.tokenizer
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


@rule(
    "R201",
    severity="warning",
    title="padding is not the token that ends a text",
    bears_on=("roles", "tools", "thinking", "pad", "lora"),
)
def pad_is_eos(checkpoint: Checkpoint) -> Iterator[Found]:
    """One token both fills up short rows of a batch and says "the end".

    What it checks:
        The tokenizer's pad and eos are different texts.

    Why it matters:
        Training leaves padding out of the loss. If padding is eos, the end of every text is left
        out too, and the model never learns to stop. For running a model as it is, it does no harm.

    Example:
        Qwen3-30B-A3B-Base: eos and pad are both <|endoftext|> (151643).

    Fix and its safety:
        Safe: `[pad] token = "auto"` takes an existing unused token and names it in every file. No
        row changes. Note that PyTorch gives the pad token's input row no gradient, so a token that
        shall be learned must not be the pad token.

    Sources:
        unsloth#416, ibm-granite/granite-3.1-language-models#2, huggingface/smol-course#159.
    """
    tokenizer = checkpoint.tokenizer
    pad = tokenizer.named_content("pad") if tokenizer is not None else None
    if tokenizer is not None and pad is not None and pad == tokenizer.named_content("eos"):
        named = next(n for n in tokenizer.named if n.name == "pad" and n.content == pad)
        yield Found(
            place(named.file, named.pointer),
            f"pad and eos are the same token, {shown(pad)}{_id_of(tokenizer, pad)}",
            "training that leaves padding out of the loss never learns where a text ends",
            fix=PAD_AUTO,
            safety="safe",
        )


def _id_of(tokenizer: Tokenizer, text: str) -> str:
    token_id = tokenizer.id_of(text)
    return "" if token_id is None else f" ({token_id})"


@rule("R202", severity="note", title="the tokenizer has a pad token", bears_on=("pad", "lora"))
def no_pad(checkpoint: Checkpoint) -> Iterator[Found]:
    """Without a pad token, texts of different lengths cannot stand in one batch.

    What it checks:
        A file of the tokenizer names a pad token. Where the key is absent, and the tokenizer's
        class may have a pad token of its own (RobertaTokenizer does), the rule says nothing.

    Why it matters:
        Running one text at a time needs none. Training does, and most programs then take eos
        without asking, with what R201 tells.

    Example:
        GPT-2 and Llama 2 ship without a pad token.

    Fix and its safety:
        Safe: `[pad] token = "auto"` takes an existing unused token, or adds one.

    Sources:
        transformers 4.57, defaults of the tokenizer classes.
    """
    tokenizer = checkpoint.tokenizer
    config = object_of(checkpoint, TOKENIZER_CONFIG)
    if tokenizer is None or not config or tokenizer.named_content("pad") is not None:
        return
    if "pad_token" in config or tokenizer.tokenizer_class in _WITHOUT_PAD:
        ids = [f"{file} says {i}" for i, file, _ in named_ids(checkpoint, "pad")]
        yield Found(
            place(TOKENIZER_CONFIG, "/pad_token"),
            "the tokenizer names no pad token",
            f"training in batches needs one{'; ' + listed(ids) if ids else ''}",
            fix=PAD_AUTO,
            safety="safe",
        )


@rule(
    "R203",
    severity="error",
    title="every id that the configs name has an embedding row",
    bears_on=("inference", "roles", "tools", "thinking", "protocol", "pad", "lora"),
)
def named_id_without_row(checkpoint: Checkpoint) -> Iterator[Found]:
    """An id is the number of a row; an id past the last row points at nothing.

    What it checks:
        bos, eos, pad and the other named ids of config.json and generation_config.json are smaller
        than the number of embedding rows, and not negative.

    Why it matters:
        A pad id without a row stops the model from loading; any other one ends in an index error,
        on a GPU far away from its cause. Negative ids (-1 in old Llama configs) stand for "none"
        in some programs and for the last row in others.

    Example:
        "pad_token_id": 32000 with 32,000 rows, which are numbered 0 to 31999.

    Fix and its safety:
        For pad, `[pad] token = "auto"` names a token that has a row; that is safe. Any other id:
        correct it by hand.

    Sources:
        meta-llama/llama-cookbook#189, transformers#24698.
    """
    n_rows = n_rows_of(checkpoint)
    for file in (CONFIG, GENERATION) if n_rows is not None else ():
        bases = dict.fromkeys((checkpoint.text_config, "")) if file == CONFIG else {"": None}
        for base in bases:
            for name in NAMED_TOKENS:
                pointer = f"{base}/{name}_token_id"
                for token_id in ids_at(checkpoint, file, pointer):
                    if 0 <= token_id < (n_rows or 0):
                        continue
                    yield Found(
                        place(file, pointer),
                        f"{name} is {token_id}, and the rows are numbered 0 to {n_rows - 1 if n_rows else 0}",
                        fix=PAD_AUTO if name == "pad" else None,
                        safety="safe" if name == "pad" else None,
                        severity="warning" if token_id < 0 else None,
                    )


@rule(
    "R301",
    severity="error",
    title="the token that ends a chat turn ends generation",
    bears_on=("inference", "roles", "tools", "thinking", "protocol", "lora"),
)
def turn_end_does_not_stop(checkpoint: Checkpoint) -> Iterator[Found]:
    """The chat template closes each turn with a token; generation must stop there.

    What it checks:
        The token with which the chat template ends a turn of the assistant is among the stop ids:
        `eos_token_id` of generation_config.json or, where that names none, of config.json. The
        turn end is read from the template's text; where that is not plain, or neither file names a
        stop id, the rule says nothing.

    Why it matters:
        The model writes its turn end and the program goes on: it answers itself, plays the user,
        and stops only at the length limit.

    Example:
        Qwen3-30B-A3B-Base: the template ends turns with <|im_end|> (151645), generation stops at
        151643 alone.

    Fix and its safety:
        Safe: `[stop] tokens = "auto"`, which is the default of every recipe, adds the id to the
        list and takes none away.

    Sources:
        QwenLM/Qwen3#1064 and #1422, huggingface/open-r1#663.
    """
    tokenizer = checkpoint.tokenizer
    template = tokenizer.template() if tokenizer is not None else None
    stops, file, pointer = stop_ids_of(checkpoint)
    if tokenizer is None or template is None or not stops:
        return
    ends = turn_ends(tokenizer, template)
    ids = [token_id for text in ends if (token_id := tokenizer.id_of(text)) is not None]
    if ids and not set(ids) & set(stops):
        yield Found(
            place(file, pointer),
            f"the chat template ends turns with {shown(ends[0])} ({ids[0]}), "
            f"generation stops at {listed(map(_number, stops))} only",
            "a chat goes on past the end of its turn until it meets the length limit",
            fix=STOP_AUTO,
            safety="safe",
        )
