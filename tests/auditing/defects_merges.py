"""Defects of the tables and merges of tokenizer.json (T1, T2)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from planting import Defect, Make, built, in_json, with_edit, writing

from tiny import QWEN_LIKE, Added


def tok(change: Callable[[Any], Any], **fields: Any) -> Make:
    """An edit of tokenizer.json in a folder without the older files that repeat it."""

    def edit(folder: Path) -> None:
        in_json("tokenizer.json", change)(folder)
        for name in ("vocab.json", "merges.txt"):
            (folder / name).unlink(missing_ok=True)

    return with_edit(edit, **fields)


def only_tokenizer(change: Callable[[Any], Any], **fields: Any) -> Make:
    """An edit of tokenizer.json that the older files do not follow."""
    return with_edit(in_json("tokenizer.json", change), **fields)


def _model(**keys: Any) -> Callable[[Any], None]:
    return lambda value: value["model"].update(keys)


def _repeat(value: Any) -> None:
    value["added_tokens"].append(dict(value["added_tokens"][-1]))


def _repeat_second(value: Any) -> None:
    value["added_tokens"].insert(1, dict(value["added_tokens"][1]))


def _same_id(one: str, other: str) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        vocab = value["model"]["vocab"]
        vocab[one] = vocab[other]

    return change


def _moved_up(by: int) -> Make:
    """Give the last added token an id further up, and make it a piece, so that it keeps that id."""

    def edit(folder: Path) -> None:
        def table(value: Any) -> None:
            last = value["added_tokens"][-1]
            last["id"] += by
            vocab = value["model"]["vocab"]
            vocab.update({entry["content"]: entry["id"] for entry in value["added_tokens"]})

        def decoder(value: Any) -> None:
            entry = value["added_tokens_decoder"].pop("293")
            value["added_tokens_decoder"][str(293 + by)] = entry

        in_json("tokenizer.json", table)(folder)
        in_json("tokenizer_config.json", decoder)(folder)
        (folder / "vocab.json").unlink()

    return with_edit(edit)


def _added_in_vocab(order: tuple[int, ...]) -> Callable[[Path], None]:
    """Put the added tokens into the vocabulary, as MiniMind's are, and list them in this order."""

    def change(value: Any) -> None:
        entries = value["added_tokens"]
        value["model"]["vocab"].update({entry["content"]: entry["id"] for entry in entries})
        value["added_tokens"] = [entries[at] for at in order]

    def edit(folder: Path) -> None:
        in_json("tokenizer.json", change)(folder)
        vocab = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
        (folder / "vocab.json").write_text(json.dumps(vocab))

    return edit


def _without_piece(text: str) -> Callable[[Any], None]:
    return lambda value: value["model"]["vocab"].pop(text)


def _without_merge(at: int) -> Callable[[Any], None]:
    return lambda value: value["model"]["merges"].pop(at)


def _swapped_ids(one: str, other: str) -> Callable[[Any], None]:
    def change(value: Any) -> None:
        vocab = value["model"]["vocab"]
        vocab[one], vocab[other] = vocab[other], vocab[one]

    return change


def _swapped_merges(value: Any) -> None:
    merges = value["model"]["merges"]
    merges[2], merges[5] = merges[5], merges[2]


def _renamed(value: Any, old: str, new: str) -> None:
    vocab = value["model"]["vocab"]
    value["model"]["vocab"] = {new if text == old else text: at for text, at in vocab.items()}


DEFECTS = (
    Defect(
        "T106",
        bad=(only_tokenizer(_repeat), only_tokenizer(_repeat_second)),
        good=(built(), built(kind="byte-fallback")),
    ),
    Defect(
        "T107",
        bad=(
            tok(_same_id("he", "in")),
            tok(_same_id("he", "er"), kind="byte-fallback"),
        ),
        good=(built(), built(kind="byte-fallback")),
        also=frozenset({"T108", "T203"}),
    ),
    Defect(
        "T108",
        bad=(_moved_up(1), _moved_up(10)),
        good=(built(),),
    ),
    Defect(
        "T109",
        bad=(
            built(added=(*QWEN_LIKE, Added(""))),
            built(added=(*QWEN_LIKE, Added("")), kind="byte-fallback"),
        ),
        good=(built(),),
    ),
    Defect(
        "T110",
        bad=(
            with_edit(_added_in_vocab((1, 0, 2, 3, 4, 5, 6))),
            with_edit(_added_in_vocab((0, 1, 2, 3, 4, 6, 5))),
        ),
        good=(with_edit(_added_in_vocab((0, 1, 2, 3, 4, 5, 6))),),
    ),
    Defect(
        "T201",
        bad=(tok(_without_piece("in")), tok(_without_piece("er"), kind="byte-fallback")),
        good=(built(merges="pairs"), built(kind="byte-fallback")),
        also=frozenset({"T108", "T104"}),
    ),
    Defect(
        "T202",
        bad=(tok(_without_merge(0)), tok(_without_merge(-1), merges="pairs")),
        good=(built(), tok(_model(ignore_merges=True, merges=[]), kind="byte-fallback")),
    ),
    Defect(
        "T203",
        bad=(
            tok(_swapped_ids("in", "er")),
            tok(_swapped_ids("in", "er"), kind="byte-fallback"),
            tok(_swapped_merges),
        ),
        good=(built(), tok(lambda v: v["model"]["merges"].append(v["model"]["merges"][0]))),
    ),
    Defect(
        "T204",
        bad=(
            with_edit(lambda f: (f / "merges.txt").write_text("#version: 0.2\nt h\n")),
            with_edit(in_json("vocab.json", lambda v: v.update({"in": v["er"]}))),
            with_edit(writing("vocab.json", "[]")),
        ),
        good=(
            built(newline="\r\n"),
            with_edit(in_json("vocab.json", lambda v: v.update({"<|im_end|>": 289}))),
        ),
    ),
    Defect(
        "T205",
        bad=(
            tok(lambda v: _renamed(v, "<0x0A>", "<0xzz>"), kind="byte-fallback"),
            tok(lambda v: _renamed(v, "Q", "Ж")),
        ),
        good=(built(), built(kind="byte-fallback")),
    ),
    Defect(
        "T206",
        bad=(
            tok(_model(dropout=0.1)),
            tok(_model(continuing_subword_prefix="##")),
            tok(_model(byte_fallback=False), kind="byte-fallback"),
            tok(_model(unk_token="<none>"), kind="byte-fallback"),
        ),
        good=(tok(_model(dropout=0.0)), tok(_model(end_of_word_suffix=""))),
        also=frozenset({"R106"}),
    ),
)
