"""F: whether the files are all there, and belong together."""

from __future__ import annotations

from collections.abc import Iterator

from tokengraft.auditing.asking import ADDED_TOKENS, knows_every_token
from tokengraft.auditing.rule import Found, counted, listed, place, rule, shown
from tokengraft.auditing.tokens import EVERY_CHANGE, RECONCILE
from tokengraft.checkpoint import Checkpoint
from tokengraft.vocabulary import Declared, Tokenizer


@rule(
    "F101",
    severity="error",
    title="every weight file that the index names is there",
    bears_on=("inference", *EVERY_CHANGE),
)
def shards_are_missing(checkpoint: Checkpoint) -> Iterator[Found]:
    """Large models lie in several files; an index says which tensor is in which.

    What it checks:
        Where there are weights, each file that model.safetensors.index.json names is in the folder.
        A folder with the index and no weights at all is taken for what it is: small files alone.

    Why it matters:
        Loaders stop, or fill the missing tensors with random numbers.

    Example:
        A download was broken off at shard 7 of 16.

    Fix and its safety:
        Download the missing files; `hf download` goes on where it stopped.

    Sources:
        transformers 4.57 modeling_utils.py; the safetensors index format.
    """
    tensors = checkpoint.tensors
    if tensors is not None and tensors.missing_files:
        yield Found(
            place(tensors.index_file or ""),
            f"{counted(len(tensors.missing_files), 'weight file')} of the index "
            f"{'is' if len(tensors.missing_files) == 1 else 'are'} missing",
            listed(tensors.missing_files),
        )


@rule(
    "F102",
    severity="error",
    title="the index names each tensor in the file that holds it",
    bears_on=("inference", *EVERY_CHANGE),
)
def tensors_are_misplaced(checkpoint: Checkpoint) -> Iterator[Found]:
    """Loaders look for a tensor in the file that the index names, and nowhere else.

    What it checks:
        Each tensor that the index names is in the file it names, and each tensor in those files
        is named. Files that are missing are left to F101.

    Why it matters:
        A tensor that is not found is filled with random numbers or stops the load. One that is not
        named is left out.

    Example:
        lm_head.weight was added to a shard, and the index was not told.

    Fix and its safety:
        None here: it is a sign of a broken edit. Take the folder from its publisher again.

    Sources:
        transformers 4.57 modeling_utils.py; vLLM 0.33 model_loader/weight_utils.py.
    """
    tensors = checkpoint.tensors
    if tensors is not None and tensors.misplaced:
        yield Found(
            place(tensors.index_file or "", "/weight_map"),
            f"{counted(len(tensors.misplaced), 'tensor')} "
            f"{'is' if len(tensors.misplaced) == 1 else 'are'} not where the index says",
            listed(tensors.misplaced),
        )


@rule("F103", severity="warning", title="the index's total_size is the size of the tensors")
def total_size_is_wrong(checkpoint: Checkpoint) -> Iterator[Found]:
    """The index repeats how many bytes all tensors have.

    What it checks:
        `metadata.total_size` equals the sum of the sizes of the tensors. It is checked only where
        all files are there and each tensor is where the index says.

    Why it matters:
        Programs plan memory by this number: transformers where it spreads a model over devices. A
        number that is off also shows that somebody edited the weights by hand.

    Example:
        A matrix was resized and the index kept its old total.

    Fix and its safety:
        Safe, display only here: a plan that resizes a matrix writes the right number.

    Sources:
        transformers 4.57 modeling_utils.py; accelerate utils/modeling.py.
    """
    tensors = checkpoint.tensors
    if tensors is None or tensors.total_size is None or tensors.missing_files or tensors.misplaced:
        return
    if tensors.total_size != tensors.size_bytes:
        yield Found(
            place(tensors.index_file or "", "/metadata/total_size"),
            f"total_size is {tensors.total_size:,} bytes, the tensors have {tensors.size_bytes:,}",
            safety="display-only",
        )


@rule("F104", severity="note", title="every weight file in the folder is used")
def files_are_stray(checkpoint: Checkpoint) -> Iterator[Found]:
    """Weights that no index names are not part of the model, and are copied along with it.

    What it checks:
        Each .safetensors file at the top of the folder is model.safetensors, or named by the index.
        Adapter files (adapter_*) are left alone.

    Why it matters:
        It takes room and confuses programs that load every file they find. Some publishers put a
        second copy in another format there on purpose.

    Example:
        consolidated.safetensors beside model-00001-of-00003.safetensors in Mistral's folders.

    Fix and its safety:
        Display only: delete the file by hand if you do not need it.

    Sources:
        vLLM 0.33 model_loader/weight_utils.py, `filter_duplicate_safetensors_files`.
    """
    stray = [problem.subject for problem in checkpoint.problems if problem.kind == "stray"]
    if stray:
        yield Found(
            place(stray[0]),
            f"{counted(len(stray), 'weight file')} {'is' if len(stray) == 1 else 'are'} not used",
            f"no index names {listed(stray)}",
            safety="display-only",
        )


@rule(
    "F105",
    severity="warning",
    title="there is one set of weights",
    bears_on=("inference", *EVERY_CHANGE),
)
def weights_are_double(checkpoint: Checkpoint) -> Iterator[Found]:
    """Two files that claim the same tensors make the model depend on who loads it.

    What it checks:
        No tensor lies in two files that are loaded, and no index stands beside model.safetensors.

    Why it matters:
        Loaders take model.safetensors and ignore the index, or the last file that holds a tensor.
        If the copies differ, so does the model.

    Example:
        A merge wrote model.safetensors into the folder of a sharded model.

    Fix and its safety:
        Remove the set that you do not mean, by hand. Nothing here can know which one that is.

    Sources:
        transformers 4.57 modeling_utils.py, order in which weight files are looked for.
    """
    subjects: dict[str, list[str]] = {}
    for problem in checkpoint.problems:
        if problem.kind == "conflict":
            subjects.setdefault(problem.subject, []).append(problem.text)
    for subject, texts in subjects.items():
        yield Found(place(subject), "there are two sets of weights", listed(texts, limit=4))


@rule("F201", severity="warning", title="added_tokens.json repeats the table of tokens")
def added_tokens_file_is_stale(checkpoint: Checkpoint) -> Iterator[Found]:
    """added_tokens.json is an older copy of the table, and is easily left behind.

    What it checks:
        The tokens of added_tokens.json have the ids of the table in tokenizer.json and
        tokenizer_config.json, and no token past the model's own vocabulary is missing in it.

    Why it matters:
        transformers ignores it where tokenizer_config.json has the full table. llama.cpp's
        converter and SGLang's adapters still read it.

    Example:
        Tokens were added with transformers 5, which does not write this file, in a folder that
        transformers 4 had saved.

    Fix and its safety:
        Where tokens are missing, safe: every plan writes them. Where the file says something else,
        delete it by hand: what it says is in the other two files.

    Sources:
        transformers 4.57 and 5.23, tokenization_utils_base.py; llama.cpp conversion/base.py.
    """
    tokenizer = checkpoint.tokenizer
    tables = tokenizer.declared if tokenizer is not None else ()
    legacy = next((table for table in tables if table.file == ADDED_TOKENS), None)
    if tokenizer is None or legacy is None or len(tables) == 1:
        return
    wrong, missing = _wrong(tokenizer, legacy), _absent(tokenizer, legacy)
    told = [*wrong, *missing]
    if told:
        yield Found(
            place(ADDED_TOKENS),
            f"{counted(len(told), 'token')} of added_tokens.json "
            f"{'is' if len(told) == 1 else 'are'} out of step with the table",
            listed(told, limit=6),
            fix=None if wrong else RECONCILE,
            safety=None if wrong else "safe",
        )


def _wrong(tokenizer: Tokenizer, legacy: Declared) -> list[str]:
    """Tokens of the file that have another id in the table, or are not in it."""
    return [
        f"{shown(text)} is {token_id} here and {'no token' if known is None else known} there"
        for text, token_id in legacy.by_content().items()
        if (known := tokenizer.id_of(text)) != token_id
        and (known is not None or knows_every_token(tokenizer))
    ]


def _absent(tokenizer: Tokenizer, legacy: Declared) -> list[str]:
    """Tokens past the vocabulary that the file lacks; it never lists those inside."""
    there = legacy.by_content()
    return [
        f"{shown(token.content)} ({token_id}) is missing here"
        for token_id, token in tokenizer.added.items()
        if token_id >= len(tokenizer.vocab)
        and token.content not in there
        and token.content not in tokenizer.vocab
    ]
