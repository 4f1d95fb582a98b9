"""E: shapes, kinds and counts along the vocabulary axis. Nothing here reads a row."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.auditing.asking import (
    CONFIG,
    config_levels,
    knows_every_token,
    n_rows_of,
    trusted_tokenizer,
    vocab_size_of,
)
from tokengraft.auditing.rule import Found, counted, listed, place, rule
from tokengraft.checkpoint import Checkpoint
from tokengraft.families.configs import TIE_KEY

_MULTIPLE = 64
_SMALL = 4096  # below this, odd sizes cost nothing that could be measured
_MANY = 0.1


@rule("E105", severity="note", title="there are not many more rows than tokens")
def many_spare_rows(checkpoint: Checkpoint) -> Iterator[Found]:
    """Some spare rows are normal; many say that the tokenizer and the matrix are not of one model.

    What it checks:
        With the whole tokenizer at hand, no more than a tenth of the rows, or 1,024, have no token.

    Why it matters:
        The model can write ids that decode to nothing. Often the tokenizer is an older one, or was
        pruned without the matrix.

    Example:
        128,256 rows and a tokenizer of 32,000 tokens.

    Fix and its safety:
        Display only: rows are never dropped here. Look whether the tokenizer belongs to this model.

    Sources:
        QwenLM/Qwen3#29; vllm#13849 on padding.
    """
    tokenizer, n_rows = trusted_tokenizer(checkpoint), n_rows_of(checkpoint)
    if tokenizer is None or n_rows is None or not knows_every_token(tokenizer):
        return
    spare = n_rows - tokenizer.n_tokens
    if spare > max(1024, n_rows * _MANY):
        yield Found(
            place(CONFIG, vocab_size_of(checkpoint)[1]),
            f"{spare:,} of {n_rows:,} rows have no token",
            safety="display-only",
        )


@rule("E106", severity="note", title="the number of rows is a multiple of 64")
def odd_row_count(checkpoint: Checkpoint) -> Iterator[Found]:
    """Matrix units of GPUs work in blocks; an odd number of rows leaves the last one half empty.

    What it checks:
        A matrix of more than 4,096 rows has a multiple of 64 of them, or config.json says so.

    Why it matters:
        The output layer is slower, quantised kernels refuse it, and tensor-parallel tools pad it in
        their own ways. It is often left by a resize to the exact number of tokens.

    Example:
        Qwen3 shrunk from 151,936 to 151,673 rows.

    Fix and its safety:
        Display only: a plan that grows the matrix rounds up. Nothing is wrong with the model.

    Sources:
        vLLM 0.33 marlin_utils.py, GPTQ_MARLIN_MIN_THREAD_N; NVIDIA matrix multiplication guide.
    """
    n_rows = n_rows_of(checkpoint)
    if n_rows is not None and n_rows > _SMALL and n_rows % _MULTIPLE:
        yield Found(
            place(CONFIG, vocab_size_of(checkpoint)[1]),
            f"{n_rows:,} rows are {n_rows % _MULTIPLE} more than a multiple of 64",
            safety="display-only",
        )


@rule("E107", severity="note", title="rows of the vocabulary can be edited")
def rows_are_packed(checkpoint: Checkpoint) -> Iterator[Found]:
    """Quantised and hashed tables have no row of plain numbers for each token.

    What it checks:
        Each tensor with a vocabulary axis holds plain rows, or none of the known kinds that cannot be
        extended (packed heads, hash tables, per-layer tables).

    Why it matters:
        Tokens can be renamed, and none can be added or trained, before the model is at full precision
        again.

    Example:
        lm_head.qweight of a GPTQ model whose head was quantised too.

    Fix and its safety:
        Display only: edit the checkpoint that was quantised, then quantise anew.

    Sources:
        formats of GPTQ, AWQ and MLX; transformers modeling_utils.py, `_get_resized_lm_head`.
    """
    layout = checkpoint.layout
    fixed = [t for t in layout.tensors if not t.editable] if layout is not None else []
    if fixed:
        yield Found(
            place(fixed[0].name),
            f"{counted(len(fixed), 'tensor')} with a vocabulary axis cannot be edited",
            listed(f"{tensor.name}: {tensor.why_not}" for tensor in fixed),
            safety="display-only",
        )


@rule("E108", severity="note", title="input and output rows are stored alike")
def kinds_differ(checkpoint: Checkpoint) -> Iterator[Found]:
    """The two matrices of a model usually have the same kind of number.

    What it checks:
        Input and output matrix have the same dtype and the same number of rows.

    Why it matters:
        One of them was probably saved by another tool, with or without the other's changes. Loaders
        convert it silently, or refuse the size.

    Example:
        embed_tokens in BF16 and lm_head in F32, after a merge that upcast the head.

    Fix and its safety:
        Display only: some publishers keep the head in F32 on purpose.

    Sources:
        transformers 4.57 modeling_utils.py; unsloth#9331.
    """
    layout = checkpoint.layout
    inputs = layout.part("input") if layout is not None else ()
    outputs = layout.part("output") if layout is not None else ()
    if inputs and outputs:
        one, two = inputs[0], outputs[0]
        if one.dtype != two.dtype or (one.n_rows != two.n_rows and one.width == two.width):
            yield Found(
                place(two.name),
                f"{one.name} has {one.n_rows:,} rows of {one.dtype}, {two.name} {two.n_rows:,} of "
                f"{two.dtype}",
                safety="display-only",
            )


@rule("E109", severity="note", title="config.json says once whether the model is tied")
def ties_contradict(checkpoint: Checkpoint) -> Iterator[Found]:
    """Nested configs can hold the flag twice.

    What it checks:
        Where config.json and its language part both have `tie_word_embeddings`, they agree.

    Why it matters:
        Programs that read the other level take the output matrix from the input, or the reverse.

    Example:
        "tie_word_embeddings": true at the top and false in text_config.

    Fix and its safety:
        Set both to what the weights say: false where there is an output matrix. By hand.

    Sources:
        transformers 5.23 configuration_utils.py; transformers#45127.
    """
    said = [config.get(TIE_KEY[1:]) for _, config in config_levels(checkpoint)]
    flags = {flag for flag in said if isinstance(flag, bool)}
    if len(flags) > 1:
        yield Found(place(CONFIG, TIE_KEY), "config.json says both that the model is tied and not")
