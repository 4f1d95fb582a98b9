"""E: embedding rows against tokens and config. Nothing here reads a row."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.auditing.asking import (
    CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    n_rows_of,
    n_tokens_of,
    object_of,
    trusted_tokenizer,
    vocab_size_of,
)
from tokengraft.auditing.rule import Found, counted, listed, place, rule, shown
from tokengraft.auditing.tokens import EVERY_CHANGE
from tokengraft.checkpoint import Checkpoint
from tokengraft.families.configs import TIE_KEY
from tokengraft.layout import VocabTensor
from tokengraft.tensors import ROW_DTYPES


@rule(
    "E101",
    severity="error",
    title="every token has an embedding row",
    bears_on=("inference", *EVERY_CHANGE),
)
def tokens_without_rows(checkpoint: Checkpoint) -> Iterator[Found]:
    """A token's id is the number of its row in the embedding matrix.

    What it checks:
        The largest token id is smaller than the number of rows of the input matrix or, where there
        are no weights, than the vocabulary size of config.json. More rows than tokens is normal:
        the rest are spare rows.

    Why it matters:
        A text with such a token makes the model read past its matrix: an error on the CPU, a
        crashed GPU, or the row of something else.

    Example:
        Gemma 3 1B in text-only form: 262,145 tokens, 262,144 rows.

    Fix and its safety:
        The matrix has to grow, and the new rows have to be trained before their tokens mean
        anything. Where the weights of another revision have these rows, take those.

    Sources:
        arcee-ai/mergekit#657, vllm#33509, meta-llama/llama-cookbook#189.
    """
    n_tokens, n_rows = n_tokens_of(checkpoint), n_rows_of(checkpoint)
    tokenizer, layout = trusted_tokenizer(checkpoint), checkpoint.layout
    if tokenizer is None or layout is None or n_tokens is None or n_rows is None:
        return
    if n_tokens <= n_rows:
        return
    past = [f"{shown(t.content)} ({i})" for i, t in tokenizer.added.items() if i >= n_rows]
    where = "config.json" if layout.n_rows_from == "config" else _input_name(checkpoint)
    file = TOKENIZER if TOKENIZER in checkpoint.json else TOKENIZER_CONFIG
    yield Found(
        place(file),
        f"{counted(n_tokens, 'token')}, and {where} has {n_rows:,} rows",
        f"without a row: {listed(past)}" if past else "pieces of the vocabulary have no row",
    )


def _input_name(checkpoint: Checkpoint) -> str:
    layout = checkpoint.layout
    inputs = layout.part("input") if layout is not None else ()
    return inputs[0].name if inputs else "the input matrix"


@rule(
    "E102",
    severity="error",
    title="the matrices have as many rows as config.json says",
    bears_on=("inference", *EVERY_CHANGE),
)
def rows_are_not_vocab_size(checkpoint: Checkpoint) -> Iterator[Found]:
    """Loaders make matrices of the size that config.json names, then fill them from the files.

    What it checks:
        Each matrix that the model's family calls its input or output matrix has the number of
        rows that config.json names (`vocab_size`). Families that are known to have more rows in
        one of them are left out.

    Why it matters:
        vLLM, SGLang and transformers refuse to load a matrix of another size.

    Example:
        vocab_size 151936 in config.json, 151,673 rows in lm_head.weight, after a resize that
        forgot the config.

    Fix and its safety:
        None here: if the matrices agree with each other, correct config.json by hand; if they do
        not, one of them lost rows.

    Sources:
        vLLM 0.33 vocab_parallel_embedding.py, `weight_loader`; QwenLM/Qwen#553.
    """
    vocab_size, pointer = vocab_size_of(checkpoint)
    layout = checkpoint.layout
    if vocab_size is None or layout is None or not layout.n_rows:
        return
    known_extra = object_of(checkpoint, CONFIG).get("model_type") in ("mllama", "moshi", "molmo2")
    wrong = [
        tensor
        for part in (layout.part("input"), layout.part("output"))
        for tensor in part
        if _is_certain(tensor) and tensor.n_rows != vocab_size
    ]
    if wrong and not known_extra:
        sizes = [f"{tensor.name} has {tensor.n_rows:,} rows" for tensor in wrong]
        yield Found(
            place(CONFIG, pointer),
            f"config.json says {vocab_size:,} rows, {sizes[0]}",
            listed(sizes) if len(sizes) > 1 else "loaders refuse a matrix of another size",
        )


def _is_certain(tensor: VocabTensor) -> bool:
    """Whether a family file names the tensor, and its rows are plain rows (packed ones are not)."""
    return tensor.sure == "family" and tensor.axis == 0 and tensor.dtype in ROW_DTYPES


@rule(
    "E103",
    severity="error",
    title="a model that is not tied has an output matrix",
    bears_on=("inference", *EVERY_CHANGE),
)
def output_is_missing(checkpoint: Checkpoint) -> Iterator[Found]:
    """A tied model uses its input matrix for output too; any other needs an output matrix.

    What it checks:
        A complete causal language model of a known family whose config.json says
        `tie_word_embeddings: false` has an output matrix among its weights. The key must be there:
        where it is missing, versions of transformers differ, and the rule says nothing.

    Why it matters:
        transformers then fills the output matrix with random numbers, says so in a warning that is
        easily missed, and the model writes noise.

    Example:
        A model was trained tied, and config.json got `"tie_word_embeddings": false` afterwards.

    Fix and its safety:
        None here: set the flag back if the model was trained tied, or find the missing tensor.

    Sources:
        transformers#45127, unsloth#9331, hiyouga/LLaMA-Factory#10832.
    """
    layout, tensors = checkpoint.layout, checkpoint.tensors
    if layout is None or tensors is None or tensors.missing_files or checkpoint.problems:
        return
    flags = _tie_flags(checkpoint)
    architectures = checkpoint.value(CONFIG, "/architectures")
    is_causal = isinstance(architectures, list) and any(
        isinstance(name, str) and name.endswith("ForCausalLM") for name in architectures
    )
    known = layout.certainty == "family" and bool(checkpoint.family.output_rows)
    has_output = (
        bool(layout.part("output"))
        or any(  # quantised heads have other endings
            part in ("lm_head", "embed_out", "output")
            for name in tensors.tensors
            for part in name.split(".")[:-1]
        )
    )
    if is_causal and known and flags == {False} and not has_output:
        yield Found(
            place(CONFIG, TIE_KEY),
            "config.json says that the model is not tied, and the weights have no output matrix",
            f"expected {listed(checkpoint.family.output_rows)}; loaders would make up its rows",
        )


def _tie_flags(checkpoint: Checkpoint) -> set[bool]:
    """What the levels of config.json say, those that are silent left out."""
    said = (checkpoint.config(TIE_KEY), checkpoint.value(CONFIG, TIE_KEY))
    return {flag for flag in said if isinstance(flag, bool)}


@rule(
    "E104",
    severity="note",
    title="a tied model stores its matrix once",
)
def output_is_extra(checkpoint: Checkpoint) -> Iterator[Found]:
    """A tied model has one matrix for input and output; a second copy on disk is not used.

    What it checks:
        Where config.json says `tie_word_embeddings: true`, the weights hold no output matrix. The
        rows are not read, so whether the two are equal is not known.

    Why it matters:
        transformers uses the input matrix and ignores the other; some programs do the opposite. If
        the two differ, for instance after training both, the model is another one in each.

    Example:
        lm_head.weight was trained with LoRA and saved, and config.json still says tied.

    Fix and its safety:
        Display only. If the copies are equal, nothing is wrong; a plan edits both alike.

    Sources:
        transformers#45127, unsloth#9331.
    """
    layout = checkpoint.layout
    outputs = layout.part("output") if layout is not None else ()
    if _tie_flags(checkpoint) == {True} and outputs:
        yield Found(
            place(CONFIG, TIE_KEY),
            f"config.json says that the model is tied, and {outputs[0].name} is there too",
            "whether it equals the input matrix was not read",
            safety="display-only",
        )
