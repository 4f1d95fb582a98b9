"""T: the table of ids as a whole: doubles, holes, order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from tokengraft.auditing.asking import TOKENIZER, knows_every_token, trusted_tokenizer
from tokengraft.auditing.rule import Found, counted, listed, place, rule, shown
from tokengraft.auditing.tokens import EVERY_CHANGE
from tokengraft.checkpoint import Checkpoint


@rule("T106", severity="warning", title="no added token stands twice in a file")
def token_stands_twice(checkpoint: Checkpoint) -> Iterator[Found]:
    """A token that stands twice in one list is one token; the second entry changes its flags.

    What it checks:
        No file lists the same text with the same id twice. Two ids for one text are left to T102.

    Why it matters:
        Libraries count the text once and take the flags of the last entry; programs that count
        entries come to other ids for all that follows.

    Example:
        <|im_end|> stands at the end of `added_tokens` once more.

    Fix and its safety:
        Take one of the two entries out by hand. Safe where both have the same flags.

    Sources:
        tokenizers 0.23, added_vocabulary.rs, `add_tokens`; Ollama convert/tokenizer.go.
    """
    for table in checkpoint.tokenizer.declared if checkpoint.tokenizer is not None else ():
        entries = Counter((int(token_id), token.content) for token_id, token in table.tokens)
        double = [f"{shown(text)} ({at})" for (at, text), times in entries.items() if times > 1]
        if double:
            yield Found(
                place(table.file, table.pointer),
                f"{counted(len(double), 'added token')} of {table.file} "
                f"{'stands' if len(double) == 1 else 'stand'} there twice",
                listed(double),
            )


@rule(
    "T107",
    severity="error",
    title="no two pieces of the vocabulary share an id",
    bears_on=("inference", *EVERY_CHANGE),
)
def pieces_share_an_id(checkpoint: Checkpoint) -> Iterator[Found]:
    """Two texts with one id look the same to the model, and only one of them can be written back.

    What it checks:
        All ids of `model.vocab` differ.

    Why it matters:
        The model sees one text for the other, and decoding gives the wrong one.

    Example:
        "the" and "of" both have the id 265.

    Fix and its safety:
        None here: the weights know which id is whose, the files do not.

    Sources:
        tokenizers 0.23, models/bpe/model.rs, `vocab_r`.
    """
    tokenizer = checkpoint.tokenizer
    if tokenizer is None or len(set(tokenizer.vocab.values())) == len(tokenizer.vocab):
        return
    times = Counter(tokenizer.vocab.values())
    double = [f"{shown(text)} ({at})" for text, at in tokenizer.vocab.items() if times[at] > 1]
    yield Found(
        place(TOKENIZER, "/model/vocab"),
        f"{counted(len(double), 'piece')} of the vocabulary share an id with another",
        listed(double),
    )


@rule("T108", severity="note", title="ids have no holes")
def ids_have_holes(checkpoint: Checkpoint) -> Iterator[Found]:
    """Ids are numbers of rows, so a number that no token has is a row that no text reaches.

    What it checks:
        With the model's own vocabulary at hand, each id from 0 to the largest one has a token.

    Why it matters:
        Libraries count new tokens on from the size of the vocabulary, not from its largest id: a
        hole shifts what they add. The model can write such an id, and it decodes to nothing.

    Example:
        A piece was deleted from `model.vocab`, the ids behind it stayed.

    Fix and its safety:
        None here: numbering anew would give every later token another row.

    Sources:
        tokenizers 0.23, added_vocabulary.rs; llama.cpp conversion/base.py names them [PADn].
    """
    tokenizer = trusted_tokenizer(checkpoint)
    if tokenizer is None or not knows_every_token(tokenizer):
        return
    known = {*tokenizer.vocab.values(), *tokenizer.added}
    shared = len(set(tokenizer.vocab.values())) < len(tokenizer.vocab)  # T107 speaks of those
    if len(known) == tokenizer.n_tokens or shared:
        return
    holes = sorted(set(range(tokenizer.n_tokens)) - known)
    yield Found(
        place(TOKENIZER),
        f"{counted(len(holes), 'id')} below {tokenizer.n_tokens:,} "
        f"{'has' if len(holes) == 1 else 'have'} no token",
        listed(map(str, holes)),
    )


@rule("T109", severity="warning", title="no added token is empty")
def token_is_empty(checkpoint: Checkpoint) -> Iterator[Found]:
    """An added token without text can match nothing.

    What it checks:
        Each added token has at least one character.

    Why it matters:
        The tokenizers library leaves it out when it loads, so each later token of the file gets an
        id one smaller than is written there.

    Example:
        {"id": 151669, "content": ""}

    Fix and its safety:
        If it stands last, take it out by hand. Elsewhere it holds a place: give it a text of its own.

    Sources:
        tokenizers 0.23, added_vocabulary.rs, `add_tokens`.
    """
    for table in checkpoint.tokenizer.declared if checkpoint.tokenizer is not None else ():
        empty = [str(token_id) for token_id, token in table.tokens if not token.content]
        if empty:
            yield Found(
                place(table.file, table.pointer),
                f"{counted(len(empty), 'added token')} of {table.file} without text",
                listed(empty),
            )


@rule("T110", severity="note", title="added tokens stand in the order of their ids")
def added_out_of_order(checkpoint: Checkpoint) -> Iterator[Found]:
    """Programs number added tokens by counting, so their order is part of their meaning.

    What it checks:
        The ids under `added_tokens` in tokenizer.json rise from entry to entry.

    Why it matters:
        Today's library gives tokens of the vocabulary their own ids, so nothing is wrong yet. A
        program that counts, or the next tool that adds one, comes to other ids.

    Example:
        <|im_end|> (2) stands before <|im_start|> (1).

    Fix and its safety:
        Sort the entries by id, by hand. Safe where all texts are in the vocabulary.

    Sources:
        tokenizers 0.23, added_vocabulary.rs; Ollama convert/tokenizer.go sorts before it counts.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    for table in tokenizer.declared if tokenizer is not None else ():
        ids = [token_id for token_id, _ in table.tokens]
        if table.file == TOKENIZER and ids != sorted(ids):
            at = next(n for n, (a, b) in enumerate(pairwise(ids)) if a > b)
            yield Found(
                place(TOKENIZER, table.pointer),
                "added tokens do not stand in the order of their ids",
                f"{ids[at]} stands before {ids[at + 1]}",
            )
