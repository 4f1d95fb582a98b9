"""Removing and trimming tokens: every file and row against a naive oracle, and text as before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import renumbered
import spm
from raw_tensors import row_bytes, tensor_bytes
from renumbering import CORPUS, KINDS, ONE, SPARE, TIGHT, check, gone, grafted, verified
from tiny import Tiny
from tiny_kinds import EIGHT


@pytest.mark.parametrize("name", sorted(KINDS))
def test_an_added_token_goes_and_all_ids_above_it_move(name: str, tmp_path: Path) -> None:
    source = KINDS[name].build(tmp_path / "src")
    out, plan = grafted(source, ONE)
    check(source, out, plan)
    assert plan.renumbering is not None
    assert plan.renumbering.n_rows_before == plan.renumbering.n_rows_after
    assert plan.renumbering.safety == "unsafe"
    spare = KINDS[name].n_tokens() - 6
    first, second = plan.renumbering.moved
    assert (first.first, first.count, first.to) == (0, spare, 0)
    assert (second.first, second.to) == (spare + 1, spare)


@pytest.mark.parametrize("name", ["bpe-tied-unpadded-sharded", "wordpiece-tied-unpadded"])
def test_rows_are_dropped_where_that_is_asked_for(name: str, tmp_path: Path) -> None:
    tiny = replace(TIGHT[name], added=SPARE, n_rows=KINDS[name].n_tokens())
    source = tiny.build(tmp_path / "src")
    recipe = ONE + 'shrink = true\n[[remove]]\ntext = "<|spare_b|>"\nrenumber = true\n'
    out, plan = grafted(source, recipe)
    check(source, out, plan)
    assert plan.renumbering is not None
    n_rows, multiple = tiny.n_tokens(), tiny.n_tokens() & -tiny.n_tokens()
    wanted = -(-(n_rows - 2) // multiple) * multiple
    assert (plan.renumbering.n_rows_before, plan.renumbering.n_rows_after) == (n_rows, wanted)
    size = sum(len(data) for _, _, data in tensor_bytes(source).values())
    assert size - plan.renumbering.bytes_saved == sum(
        len(data) for _, _, data in tensor_bytes(out).values()
    )


@pytest.mark.parametrize("shrink", ["true", "false"])
@pytest.mark.parametrize(
    "name", ["bpe", "bpe-tied-unpadded-sharded", "fallback-tied-unpadded", "unigram-unpadded"]
)
def test_what_a_corpus_never_uses_goes(name: str, shrink: str, tmp_path: Path) -> None:
    source = EIGHT[name].build(tmp_path / "src")
    recipe = f'[trim]\ncorpus = "corpus.txt"\nrenumber = true\nshrink = {shrink}\n'
    out, plan = grafted(source, recipe)
    check(source, out, plan)
    before = Tokenizer.from_file(str(source / "tokenizer.json"))
    removed, texts = gone(plan)
    assert not removed & set(before.encode(CORPUS, add_special_tokens=False).ids)
    assert all(len(text) > 1 for text in texts) or "unigram" in name or "fallback" in name
    after = Tokenizer.from_file(str(out / "tokenizer.json"))
    assert before.encode(CORPUS).tokens == after.encode(CORPUS).tokens


def _texts(tiny: Tiny) -> st.SearchStrategy[str]:
    """Words of the vocabulary, letters of several scripts, spaces and signs, in any order."""
    # A text that spells out a byte piece is taken for that byte by the library's Unigram.
    pieces = [p.replace("Ġ", " ").replace("▁", " ") for p in tiny.vocab() if p[:3] != "<0x"]
    return st.lists(
        st.sampled_from(pieces)
        | st.text(max_size=4)
        | st.sampled_from([" ", "\n", "the", "тест", "hello", "<|im_end|>", "中", "é"]),
        max_size=12,
    ).map("".join)


@pytest.mark.parametrize(
    "name", ["bpe", "fallback-sharded", "unigram-unpadded", "wordpiece-sharded"]
)
def test_text_without_removed_tokens_is_encoded_as_before(name: str, tmp_path: Path) -> None:
    source = KINDS[name].build(tmp_path / "src")
    trim = '[trim]\ncorpus = "corpus.txt"\nunused_added = true\nrenumber = true\n'
    recipe = ONE if "wordpiece" in name else trim
    out, plan = grafted(source, recipe)
    before, after = (Tokenizer.from_file(str(f / "tokenizer.json")) for f in (source, out))
    removed, _ = gone(plan)
    moved = renumbered.id_map(KINDS[name].n_tokens(), removed)
    added = [token.text for token in plan.tokens if token.piece is None]
    met = 0

    @settings(deadline=None, max_examples=100, suppress_health_check=list(HealthCheck))
    @given(_texts(KINDS[name]))
    def property_(text: str) -> None:
        nonlocal met
        old = before.encode(text, add_special_tokens=False).ids
        new = after.encode(text, add_special_tokens=False).ids
        if any(token in text for token in added):
            return
        if not removed & set(old):
            met += 1
            assert [moved[i] for i in old] == new
        # What was cut anew says the same.
        assert before.decode(old, skip_special_tokens=False) == after.decode(
            new, skip_special_tokens=False
        )

    property_()
    assert met >= 10  # of a hundred texts; the others hold something that was removed


PLACES: dict[str, Any] = {
    "config.json": {"image_token_id": 290, "vision_config": {"eos_token_id": 2}},
    "generation_config.json": {
        "suppress_tokens": [3, 292],
        "begin_suppress_tokens": [293],
        "bad_words_ids": [[5, 292], [6]],
        "forced_decoder_ids": [[1, 293], [299, 292]],
        "sequence_bias": [[[292, 7], 291]],
        "max_new_tokens": 2048,
    },
    "tokenizer.json": {
        "padding": {
            "strategy": "BatchLongest",
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 288,
            "pad_type_id": 0,
            "pad_token": "<|endoftext|>",
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "<|im_end|>", "type_id": 0}},
            ],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {
                "<|im_end|>": {"id": "<|im_end|>", "ids": [290], "tokens": ["<|im_end|>"]}
            },
        },
    },
}


def test_every_place_that_holds_an_id_is_renumbered(tmp_path: Path) -> None:
    tiny = Tiny(added=("<|spare_0|>", *SPARE), files=PLACES, legacy=True)
    first = len(tiny.vocab())
    assert first == 287
    source = tiny.build(tmp_path / "src")
    recipe = "[[remove]]\nid = 287\nrenumber = true\n" + ONE
    out, plan = grafted(source, recipe)
    check(source, out, plan)
    generation = json.loads((out / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["suppress_tokens"] == [3, 290]
    assert generation["forced_decoder_ids"] == [[1, 291], [299, 290]]
    assert generation["sequence_bias"] == [[[290, 7], 291]]
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    assert (config["image_token_id"], config["vision_config"]["eos_token_id"]) == (289, 2)


def test_a_sentencepiece_model_loses_the_same_pieces(tmp_path: Path) -> None:
    tiny = Tiny(kind="byte-fallback", added=SPARE)
    source = tiny.build(tmp_path / "src")
    spm.beside(source, tiny)
    recipe = '[trim]\ncorpus = "corpus.txt"\nrenumber = true\n'
    out, plan = grafted(source, recipe)
    check(source, out, plan)
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(out / "tokenizer.model"))
    vocab = json.loads((out / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    pieces = {processor.id_to_piece(i): i for i in range(processor.get_piece_size())}
    assert vocab == pieces


def test_a_vocabulary_of_lines_loses_the_same_lines(tmp_path: Path) -> None:
    tiny = KINDS["wordpiece-sharded"]
    source = tiny.build(tmp_path / "src")
    words = list(tiny.vocab())
    table = [token.content for token in tiny.table().values()]
    (source / "vocab.txt").write_text("\n".join([*words, *table]) + "\n", encoding="utf-8")
    out, plan = grafted(source, ONE)
    check(source, out, plan)
    assert "<|spare_a|>" not in (out / "vocab.txt").read_text(encoding="utf-8").split("\n")


def _changed(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("config.json", '"bos_token_id": 287', '"bos_token_id": 288'),
        ("tokenizer.json", '"<think>"', '"<thunk>"'),
        ("merges.txt", "#version: 0.2\n", "#version: 0.2\nq q\n"),
    ],
)
def test_verify_notices_what_was_not_moved(file: str, old: str, new: str, tmp_path: Path) -> None:
    source = Tiny(added=("<|spare_0|>", *SPARE)).build(tmp_path / "src")
    out, _ = grafted(source, "[[remove]]\nid = 287\nrenumber = true\n")
    _changed(out / file, old, new)
    verification = verified(source, out)
    names = {check.name for check in verification.checks if check.status == "fail"}
    assert "files-as-planned" in names or "base-without-the-base" in names


def test_verify_notices_two_swapped_rows(tmp_path: Path) -> None:
    source = KINDS["bpe"].build(tmp_path / "src")
    out, _ = grafted(source, ONE)
    first, second = row_bytes(out, "lm_head.weight")[5:7]
    path = out / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data.replace(first + second, second + first, 1))
    failed = [c.name for c in verified(source, out).checks if c.status == "fail"]
    assert "tensors-against-base" in failed
