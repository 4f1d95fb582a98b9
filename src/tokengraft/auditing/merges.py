"""T: the pieces of a BPE vocabulary and the merges that make them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any

from tokengraft.auditing.asking import TOKENIZER, object_of, trusted_tokenizer
from tokengraft.auditing.rule import Found, counted, listed, place, rule, shown
from tokengraft.auditing.tokens import EVERY_CHANGE
from tokengraft.checkpoint import Checkpoint, JsonValue
from tokengraft.spelling import BYTE_LETTERS

VOCAB, MERGES = "vocab.json", "merges.txt"
# Some trainers number pieces in another order than they merge them (RoBERTa does throughout), so
# only a few exceptions in an otherwise ordered file are odd.
_FEW = 0.005
_BYTES = 256
_PAIR = 2


def _is_bpe(checkpoint: Checkpoint) -> bool:
    tokenizer = checkpoint.tokenizer
    return tokenizer is not None and tokenizer.kind == "BPE" and TOKENIZER in checkpoint.json


@dataclass(frozen=True, slots=True)
class _Merges:
    """The merges of one file: as lines of merges.txt, and what they make.

    `source` is the list in the parsed file; it is kept, so that its identity says whose they are.
    """

    source: JsonValue
    lines: list[str]
    parts: set[str]
    made: list[str]
    made_set: set[str]
    n_broken: int


_last: list[_Merges] = []  # four rules ask for the same 150,000 merges, one after the other


def _merges(checkpoint: Checkpoint) -> _Merges:
    source = checkpoint.value(TOKENIZER, "/model/merges")
    if not _last or _last[0].source is not source:
        _last[:] = [_read(source)]
    return _last[0]


def _read(source: JsonValue) -> _Merges:
    """Read merges in either spelling; whole lists at a time, since loops would take a second."""
    entries: list[Any] = source if isinstance(source, list) else []
    kinds = set(map(type, entries))
    parts: set[str]
    if kinds == {list} and set(map(len, entries)) == {_PAIR}:
        try:
            lines, made = list(map(" ".join, entries)), list(map("".join, entries))
            parts = set(chain.from_iterable(entries))
        except TypeError:
            lines, made, parts = [], [], set()
    else:
        lines = [line for line in entries if isinstance(line, str) and line.count(" ") == 1]
        parts = set(" ".join(lines).split(" ")) if lines else set()
        made = [line.replace(" ", "") for line in lines]
    return _Merges(source, lines, parts, made, set(made), len(entries) - len(lines))


def _few(number: int, total: int) -> bool:
    return 0 < number <= max(4, int(total * _FEW))


@rule(
    "T201",
    severity="error",
    title="every merge joins two pieces of the vocabulary into a third",
    bears_on=("inference", *EVERY_CHANGE),
)
def merge_without_piece(checkpoint: Checkpoint) -> Iterator[Found]:
    """A merge names two pieces and makes a third; all three must have an id.

    What it checks:
        In a BPE tokenizer.json, both parts of each merge and their join are in `model.vocab`, and
        each merge is a pair.

    Why it matters:
        The tokenizers library refuses the whole file: "Token ... out of vocabulary".

    Example:
        A piece was taken out of the vocabulary, and its merge stayed.

    Fix and its safety:
        None here: take tokenizer.json from its publisher again.

    Sources:
        tokenizers 0.22 and 0.23, models/bpe/model.rs, `BpeBuilder::build`.
    """
    tokenizer = checkpoint.tokenizer
    if tokenizer is None or not _is_bpe(checkpoint):
        return
    merges, known = _merges(checkpoint), tokenizer.vocab.keys()
    lost, broken = merges.parts - known, merges.n_broken
    if not checkpoint.value(TOKENIZER, "/model/continuing_subword_prefix"):
        lost |= merges.made_set - known
    if lost or broken:
        yield Found(
            place(TOKENIZER, "/model/merges"),
            f"merges name {counted(len(lost), 'piece')} that the vocabulary lacks"
            if lost
            else f"{counted(broken, 'merge')} {'is' if broken == 1 else 'are'} no pair",
            listed(map(shown, sorted(lost))),
        )


@rule("T202", severity="note", title="every piece of the vocabulary is made by a merge")
def piece_without_merge(checkpoint: Checkpoint) -> Iterator[Found]:
    """A piece of several letters is reached by merging; without a merge it never comes up.

    What it checks:
        In a BPE tokenizer.json where nearly every piece is made by a merge, a few are not: they are
        no single letters, no byte tokens and no added tokens. Vocabularies with many such pieces are
        left alone: they are made that way. So are files with `ignore_merges`.

    Why it matters:
        The text is cut differently from how the model was trained, and the piece's row is dead.

    Example:
        The merge "th e" is missing, so "the" becomes two ids.

    Fix and its safety:
        None here: compare merges.txt, or take tokenizer.json from its publisher again.

    Sources:
        tokenizers 0.23, models/bpe/word.rs, `merge_all`.
    """
    tokenizer = trusted_tokenizer(checkpoint)
    if tokenizer is None or not _is_bpe(checkpoint):
        return
    if checkpoint.value(TOKENIZER, "/model/ignore_merges") is True:
        return
    merges = _merges(checkpoint)
    rest = tokenizer.vocab.keys() - merges.made_set - tokenizer.added_ids.keys()
    left = [text for text in rest if len(text) > 1 and not _is_fixed(text)]
    if _few(len(left), len(merges.made)):
        yield Found(
            place(TOKENIZER, "/model/merges"),
            f"{counted(len(left), 'piece')} of the vocabulary can never come up, because no merge "
            f"makes {'it' if len(left) == 1 else 'them'}",
            listed(map(shown, sorted(left))),
        )


def _is_fixed(text: str) -> bool:
    """Whether a piece is a byte token or the like, or filling that fairseq's vocabularies end with."""
    return (text[0] == "<" and text[-1] == ">") or text.startswith("madeupword")


@rule("T203", severity="note", title="merges and ids stand in the same order")
def order_is_broken(checkpoint: Checkpoint) -> Iterator[Found]:
    """Trainers number pieces in the order in which they merge them.

    What it checks:
        In a BPE tokenizer.json where nearly all pieces have rising ids in the order of their merges,
        a few do not. Files with many exceptions were numbered in another way and are left alone.

    Why it matters:
        Two ids that changed places give the model the rows of other words; two merges that changed
        places cut texts differently. Neither stops anything from loading.

    Example:
        The ids of " the" and " of" were exchanged.

    Fix and its safety:
        None here: compare vocab.json and merges.txt, or ask the publisher.

    Sources:
        tokenizers 0.23, models/bpe/trainer.rs: new pieces get the next id.
    """
    tokenizer = checkpoint.tokenizer
    if tokenizer is None or not _is_bpe(checkpoint):
        return
    made = _merges(checkpoint).made
    ids = [at for at in map(tokenizer.vocab.get, dict.fromkeys(made)) if at is not None]
    if ids == sorted(ids):
        return
    falls = [(a, b) for a, b in pairwise(ids) if a > b]
    if _few(len(falls), len(ids)):
        texts = {token_id: text for text, token_id in tokenizer.vocab.items()}
        yield Found(
            place(TOKENIZER, "/model/merges"),
            f"{counted(len(falls), 'merge')} of {len(ids):,} {'is' if len(falls) == 1 else 'are'} "
            "out of the order of the ids",
            listed(f"{shown(texts[a])} ({a}) before {shown(texts[b])} ({b})" for a, b in falls),
        )


@rule(
    "T204",
    severity="warning",
    title="vocab.json and merges.txt repeat tokenizer.json",
    bears_on=("inference", "lora"),
)
def older_files_differ(checkpoint: Checkpoint) -> Iterator[Found]:
    """The same vocabulary stands in tokenizer.json and, for older programs, in two more files.

    What it checks:
        Where tokenizer.json holds a BPE model, each piece has the same id in vocab.json (which may
        list added tokens too), and merges.txt has the same merges in the same order.

    Why it matters:
        Slow tokenizers, C++ programs and converters read the older files. They then cut texts
        differently, or look up other rows.

    Example:
        merges.txt lost a line to an editor; tokenizer.json did not.

    Fix and its safety:
        None here: one of the two is wrong, and the weights were trained with the other. Where the
        weights came with tokenizer.json, make the older files anew from it.

    Sources:
        transformers 4.57, tokenization_qwen2.py (slow) and convert_slow_tokenizer.py.
    """
    tokenizer = checkpoint.tokenizer
    if tokenizer is None or not _is_bpe(checkpoint):
        return
    if VOCAB in checkpoint.small_files:
        told = _vocab_differs(checkpoint, checkpoint.small_files[VOCAB])
        if told:
            yield Found(
                place(VOCAB),
                f"{counted(len(told), 'piece')} of vocab.json {'is' if len(told) == 1 else 'are'} "
                "not as in tokenizer.json",
                listed(told),
            )
    if MERGES in checkpoint.small_files:
        text = checkpoint.small_files[MERGES].decode("utf-8", "replace").replace("\r\n", "\n")
        lines = text.rstrip("\n").split("\n")
        older = lines[1:] if lines[0].startswith("#version") else lines
        newer = _merges(checkpoint).lines
        if older != newer:
            at = next(
                (n for n, (a, b) in enumerate(zip(older, newer, strict=False)) if a != b), None
            )
            at = min(len(older), len(newer)) if at is None else at
            yield Found(
                place(MERGES),
                f"merges.txt has {len(older):,} merges, tokenizer.json {len(newer):,}"
                if len(older) != len(newer)
                else "merges.txt and tokenizer.json have other merges",
                f"they part at merge {at + 1:,}",
            )


def _vocab_differs(checkpoint: Checkpoint, data: bytes) -> list[str]:
    tokenizer = checkpoint.tokenizer
    assert tokenizer is not None
    try:
        older = json.loads(data)
    except ValueError:
        return ["it is not JSON"]
    if not isinstance(older, dict):
        return ["it holds no object"]
    if older == tokenizer.vocab:
        return []
    told = [
        f"{shown(text)} is {older.get(text, 'missing')} there and {token_id} in tokenizer.json"
        for text, token_id in tokenizer.vocab.items()
        if older.get(text) != token_id
    ]
    more = older.keys() - tokenizer.vocab.keys() - tokenizer.added_ids.keys()
    return told + [f"{shown(text)} is in vocab.json alone" for text in sorted(more)]


@rule(
    "T205",
    severity="error",
    title="every byte has a token",
    bears_on=("inference", *EVERY_CHANGE),
)
def bytes_are_missing(checkpoint: Checkpoint) -> Iterator[Found]:
    """Byte-level tokenizers can spell any text, because each of the 256 bytes is a token.

    What it checks:
        Where text is spelled in bytes, the vocabulary has all 256 letters of the byte alphabet;
        where `byte_fallback` is on, it has all of <0x00> to <0xFF>. A vocabulary with less than half
        of them is a cut-down one for tests, and left alone.

    Why it matters:
        A text with the missing byte loses it, or the whole word becomes unknown, without a message.

    Example:
        <0x0A> was taken out: line breaks become <unk>.

    Fix and its safety:
        None here: take tokenizer.json from its publisher again.

    Sources:
        tokenizers 0.23, pre_tokenizers/byte_level.rs and models/bpe/model.rs.
    """
    tokenizer = checkpoint.tokenizer
    if tokenizer is None or not _is_bpe(checkpoint):
        return
    if tokenizer.byte_level:
        wanted = set(BYTE_LETTERS)
    elif checkpoint.value(TOKENIZER, "/model/byte_fallback") is True:
        wanted = {f"<0x{byte:02X}>" for byte in range(_BYTES)}
    else:
        return
    lost = sorted(wanted - tokenizer.vocab.keys())
    if 0 < len(lost) <= _BYTES // 2:
        yield Found(
            place(TOKENIZER, "/model/vocab"),
            f"{counted(len(lost), 'byte')} of 256 {'has' if len(lost) == 1 else 'have'} no token",
            listed(map(shown, lost)),
        )


_PLAIN: tuple[tuple[str, tuple[JsonValue, ...], str], ...] = (
    ("dropout", (None, 0, 0.0), "texts are cut differently each time"),
    ("continuing_subword_prefix", (None, ""), "pieces inside words are looked up with it"),
    ("end_of_word_suffix", (None, ""), "the last piece of a word is looked up with it"),
)


@rule(
    "T206",
    severity="warning",
    title="the settings of BPE fit its vocabulary",
    bears_on=("inference", "lora"),
)
def bpe_settings(checkpoint: Checkpoint) -> Iterator[Found]:
    """A few settings of a BPE model change every text, and are rarely meant.

    What it checks:
        `dropout` is off. In a byte-level model no prefix or suffix of pieces is set, unless pieces
        carry it. `unk_token` is in the vocabulary. `byte_fallback` is on exactly where the
        vocabulary has byte tokens <0x00> to <0xFF>.

    Why it matters:
        With dropout the same text becomes other ids each time. With a prefix that no piece has, or
        without the byte tokens, words become unknown or vanish.

    Example:
        "dropout": 0.1 was left over from training.

    Fix and its safety:
        Set it back by hand: null for dropout, prefix and suffix. No id changes.

    Sources:
        tokenizers 0.23, models/bpe/model.rs, `tokenize`.
    """
    tokenizer = checkpoint.tokenizer
    if tokenizer is None or not _is_bpe(checkpoint):
        return
    model = object_of(checkpoint, TOKENIZER, "/model")
    for key, plain, effect in _PLAIN:
        value = model.get(key)
        used = isinstance(value, str) and any(value in text for text in tokenizer.vocab)
        if value not in plain and not used:
            yield Found(place(TOKENIZER, f"/model/{key}"), f"{key} is {value!r}", effect)
    unknown = model.get("unk_token")
    if isinstance(unknown, str) and unknown not in tokenizer.vocab:
        text = f"the unknown token {shown(unknown)} is not in the vocabulary"
        yield Found(place(TOKENIZER, "/model/unk_token"), text, "such a text cannot be encoded")
    has = "<0x00>" in tokenizer.vocab and "<0x41>" in tokenizer.vocab
    on = model.get("byte_fallback") is True
    if has != on and not tokenizer.byte_level and len(tokenizer.vocab) > _BYTES:
        yield Found(
            place(TOKENIZER, "/model/byte_fallback"),
            f"byte_fallback is {'on' if on else 'off'}, and the vocabulary "
            f"{'has' if has else 'lacks'} byte tokens",
            "letters without a piece become unknown",
        )
