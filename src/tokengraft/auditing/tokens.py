"""T: the table of tokens, as each file tells it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from tokengraft.auditing.asking import TOKENIZER, TOKENIZER_CONFIG
from tokengraft.auditing.rule import Found, counted, listed, place, rule, shown
from tokengraft.checkpoint import Checkpoint
from tokengraft.findings import Fix, Goal
from tokengraft.vocabulary import AddedToken, Declared, Tokenizer

RECONCILE = Fix(operation="reconcile")
EVERY_CHANGE: tuple[Goal, ...] = (
    "roles",
    "tools",
    "thinking",
    "protocol",
    "context",
    "pad",
    "lora",
)
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def _tables(tokenizer: Tokenizer) -> list[Declared]:
    return [declared for declared in tokenizer.declared if declared.complete]


@rule(
    "T101",
    severity="error",
    title="tokenizer.json and tokenizer_config.json declare the same added tokens",
    bears_on=("inference", *EVERY_CHANGE),
)
def added_tokens_differ(checkpoint: Checkpoint) -> Iterator[Found]:
    """Added tokens stand in two files, and each file is what some programs read.

    What it checks:
        The texts under `added_tokens` in tokenizer.json are those under `added_tokens_decoder` in
        tokenizer_config.json. A tokenizer_config.json without that key declares nothing and passes.

    Why it matters:
        The tokenizers library, and servers built on it, read tokenizer.json alone: a token that
        only the other file has is cut into pieces there. transformers 5 reads
        tokenizer_config.json first: a token that only tokenizer.json has is lost there. And the
        next token that somebody adds gets an id that the missing one was to have.

    Example:
        Qwen3-30B-A3B-Base: tokenizer.json declares 22 added tokens, tokenizer_config.json 26. The
        four are <tool_response>, </tool_response>, <think> and </think>.

    Fix and its safety:
        Safe. Every plan first writes the one full table into both files. No id and no row changes.

    Sources:
        transformers 4.57 and 5.23, tokenization_utils_base.py; measured with both.
    """
    tables = _tables(checkpoint.tokenizer) if checkpoint.tokenizer is not None else []
    for one, other in combinations(tables, 2):
        here, there = one.by_content(), other.by_content()
        if here.keys() == there.keys():
            continue
        counts = (
            f"{one.file} declares {counted(len(here), 'added token')}, {other.file} {len(there):,}"
        )
        if len(here) == len(there):
            counts = f"{one.file} and {other.file} declare {len(here):,} added tokens, not the same"
        yield Found(
            place(one.file, one.pointer),
            counts,
            "; ".join((*_missing(one.file, there, here), *_missing(other.file, here, there))),
            fix=RECONCILE,
            safety="safe",
        )


def _missing(file: str, wanted: dict[str, int], there: dict[str, int]) -> Iterator[str]:
    absent = [f"{shown(text)} ({at})" for text, at in wanted.items() if text not in there]
    if absent:
        yield f"{file} lacks {listed(absent)}"


@rule(
    "T102",
    severity="error",
    title="all files mean the same text by an id, and the same id by a text",
    bears_on=("inference", *EVERY_CHANGE),
)
def ids_conflict(checkpoint: Checkpoint) -> Iterator[Found]:
    """An id is the number of an embedding row, so a text must have one id and an id one text.

    What it checks:
        No id has two texts and no text two ids, within a file or between tokenizer.json,
        tokenizer_config.json and the model's own vocabulary.

    Why it matters:
        Programs that trust different files then feed the model different rows for the same text.
        Nobody but the author can know which of the two was trained.

    Example:
        tokenizer.json: id 151644 is <|im_start|>; tokenizer_config.json: id 151644 is <|turn|>.
        transformers 4 then appends the second text as a new token, 151669.

    Fix and its safety:
        None here: it would be a guess. Ask the publisher, or take the file that the weights were
        trained with.

    Sources:
        transformers 4.57 and 5.23, measured: a rename in one file alone.
    """
    tokenizer = checkpoint.tokenizer
    if tokenizer is None:
        return
    tables = _tables(tokenizer) or list(tokenizer.declared)
    texts: dict[int, tuple[str, str]] = {}
    ids: dict[str, tuple[int, str]] = {}
    for table in tables:
        told: list[str] = []
        for token_id, token in table.tokens:
            text, text_file = texts.setdefault(token_id, (token.content, table.file))
            known, id_file = ids.setdefault(token.content, (token_id, table.file))
            piece = tokenizer.vocab.get(token.content, token_id)
            if text != token.content:
                told.append(
                    f"{token_id} is {shown(text)} in {text_file}, {shown(token.content)} here"
                )
            elif known != token_id:
                told.append(f"{shown(text)} is {known} in {id_file}, {token_id} here")
            elif piece != token_id and table.file != TOKENIZER:
                told.append(f"{shown(text)} is {piece} in the vocabulary, {token_id} here")
        if told:
            yield Found(
                place(table.file, table.pointer),
                f"{counted(len(told), 'added token')} of {table.file} contradict"
                f"{'s' if len(told) == 1 else ''} what is said elsewhere",
                listed(told, limit=6),
            )


@rule(
    "T103",
    severity="warning",
    title="files agree on how an added token is matched and whether it is special",
    bears_on=EVERY_CHANGE,
)
def flags_differ(checkpoint: Checkpoint) -> Iterator[Found]:
    """Five flags say how an added token is found in text and whether it is hidden in output.

    What it checks:
        `special`, `lstrip`, `rstrip`, `normalized` and `single_word` of each token are the same in
        tokenizer.json and tokenizer_config.json.

    Why it matters:
        A special token is left out of decoded text. If one file says special and the other does
        not, a tool call or a thought is seen by some programs and swallowed by others. The other
        four decide which text around a token belongs to it.

    Example:
        <think> has "special": false in tokenizer.json and true in tokenizer_config.json: servers
        that skip special tokens then return the thought without its marker.

    Fix and its safety:
        Correct one of the files by hand. No id and no row depends on it. Plans leave the flags of
        existing tokens alone, because either of the two may be the one that was meant.

    Sources:
        transformers 4.57 and 5.23, measured: flags that differ between the files.
    """
    tables = _tables(checkpoint.tokenizer) if checkpoint.tokenizer is not None else []
    for one, other in combinations(tables, 2):
        there = {token.content: token for _, token in other.tokens}
        told = [
            f"{shown(token.content)}: {difference}"
            for _, token in one.tokens
            # Equal tokens are the rule, and one file may have 100,000 of them.
            if token != (other_token := there.get(token.content, token))
            and (difference := _flags(token, other_token))
        ]
        if told:
            verb = "has" if len(told) == 1 else "have"
            yield Found(
                place(one.file, one.pointer),
                f"{counted(len(told), 'added token')} {verb} other flags in {other.file}",
                listed(told, limit=6),
            )


def _flags(here: AddedToken, there: AddedToken) -> str:
    """The flags that differ, as `special true, there false`."""
    return "; ".join(
        f"{flag} {str(getattr(here, flag)).lower()} here, {str(getattr(there, flag)).lower()} there"
        for flag in _FLAGS
        if getattr(here, flag) != getattr(there, flag)
    )


@rule(
    "T104",
    severity="error",
    title="the ids written in tokenizer.json are the ids that libraries give",
    bears_on=("inference", *EVERY_CHANGE),
)
def ids_drift(checkpoint: Checkpoint) -> Iterator[Found]:
    """The id beside an added token in tokenizer.json is not what decides its id.

    What it checks:
        Each added token gets, when the tokenizers library loads the file, the id that the file
        writes beside it.

    Why it matters:
        The library ignores the written ids. A token whose text is in the model's vocabulary keeps
        that id; every other one gets the next number in the order of the file. After a gap, a
        duplicate or a token put into the wrong place, all later tokens have other ids than the
        file says, and the model sees the wrong rows.

    Example:
        A vocabulary of 151,643 and one added token written with the id 151936: it is loaded as
        151643, without a message.

    Fix and its safety:
        None here: the weights were trained with one of the two numberings, and the files do not
        tell which.

    Sources:
        tokenizers 0.22 and 0.23, added_vocabulary.rs, `add_tokens`; measured.
    """
    tokenizer = checkpoint.tokenizer
    for table in _tables(tokenizer) if tokenizer is not None else ():
        if table.file != TOKENIZER or tokenizer is None:
            continue
        told = [
            f"{shown(token.content)} is written as {token_id} and loaded as {real}"
            for token_id, token in table.tokens
            if (real := tokenizer.effective.get(token.content)) is not None and real != token_id
        ]
        if told:
            verb = "gets another id" if len(told) == 1 else "get other ids"
            yield Found(
                place(table.file, table.pointer),
                f"{counted(len(told), 'added token')} of {TOKENIZER} {verb} when loaded",
                listed(told, limit=6),
            )


@rule(
    "T105",
    severity="warning",
    title="tokenizer_config.json can be read by transformers 4 and 5 alike",
)
def only_new_loaders(checkpoint: Checkpoint) -> Iterator[Found]:
    """One key holds a list for transformers 5, where transformers 4 expects names.

    What it checks:
        `extra_special_tokens` in tokenizer_config.json is absent, or an object of names and texts;
        it is not a list.

    Why it matters:
        transformers 4 stops with "'list' object has no attribute 'keys'", and so does every
        program built on it, llama.cpp's converter among them.

    Example:
        "extra_special_tokens": ["<|im_start|>", "<|im_end|>"]

    Fix and its safety:
        Safe. Every plan first writes the list under the name `additional_special_tokens`, which both
        versions read as a list.

    Sources:
        transformers 4.57 and 5.23, measured; transformers#45566, mlx-lm#661.
    """
    value = checkpoint.value(TOKENIZER_CONFIG, "/extra_special_tokens")
    if isinstance(value, list):
        yield Found(
            place(TOKENIZER_CONFIG, "/extra_special_tokens"),
            f"extra_special_tokens is a list of {len(value)}, which transformers 4 cannot load",
            "transformers 5 wrote this file; both versions read the same list under the name "
            "additional_special_tokens",
            fix=RECONCILE,
            safety="safe",
        )
