"""R: the pad token, and ids that must have a row."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.auditing.asking import (
    CONFIG,
    GENERATION,
    TOKENIZER_CONFIG,
    ids_at,
    n_rows_of,
    named_ids,
    object_of,
)
from tokengraft.auditing.rule import Found, listed, place, rule, shown
from tokengraft.checkpoint import Checkpoint
from tokengraft.findings import Fix
from tokengraft.formats.chat_template import turn_end
from tokengraft.vocabulary import NAMED_TOKENS, Tokenizer

PAD_AUTO = Fix(operation="pad", settings={"token": "auto"})
# Classes of transformers that have no pad token of their own where the files name none.
_WITHOUT_PAD = frozenset(
    {
        *("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend"),
        *("GPT2Tokenizer", "GPT2TokenizerFast", "CodeGenTokenizer", "CodeGenTokenizerFast"),
        *("LlamaTokenizer", "LlamaTokenizerFast"),
    }
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
        The tokenizer's pad is neither its eos nor the token that ends turns in the chat template.

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
    if tokenizer is None or pad is None:
        return
    ends = {"eos": tokenizer.named_content("eos"), "the turn end": turn_end(tokenizer)}
    same = next((name for name, text in ends.items() if text == pad), None)
    if same is not None:
        named = next(n for n in tokenizer.named if n.name == "pad" and n.content == pad)
        text = shown(pad) + _id_of(tokenizer, pad)
        yield Found(
            place(named.file, named.pointer),
            f"pad and {same} are the same token, {text}",
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
        on a GPU far away from its cause. Negative ids (-1 in old Llama configs) mean no token in
        some programs and the last row in others.

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
