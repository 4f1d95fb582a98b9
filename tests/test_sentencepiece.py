"""SentencePiece models: read strictly, edited in place, and believed by their own library."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

import spm
from grown import checks, extend, grow, words
from oracles.asking import ask
from tiny import Tiny
from tokengraft.errors import MalformedFile, RecipeError, UnsupportedFormat
from tokengraft.flow import making, proving
from tokengraft.formats.json_text import apply_splices
from tokengraft.formats.sentencepiece_file import (
    Piece,
    appended,
    is_sentencepiece,
    read_sentencepiece,
    renamed,
)

ADD = '[[add]]\ntext = "<|x|>"\n\n[[add]]\ntext = "<tool>"\nuse = "tool"\nmeaning = "the little dog"\n'
TEXTS = ["the cat sat", "мама мыла 42", "<|x|>the<tool>cat", "a\nb", "<s>once</s>"]
SPECIAL = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def apply(source: Path, recipe: str, out: Path) -> Path:
    path = out.parent / f"{out.name}.toml"
    path.write_text(f"version = 1\n{recipe}", encoding="utf-8")
    making.apply(path, base=str(source), out=out)
    return out


def pieces(data: bytes) -> list[str]:
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    return [processor.id_to_piece(at) for at in range(processor.get_piece_size())]


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_pieces_are_those_that_the_library_loads(model_type: str) -> None:
    data = spm.trained(model_type)
    model = read_sentencepiece(data, file="tokenizer.model")
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    assert model.kind.lower() == model_type
    assert [piece.text for piece in model.pieces] == pieces(data)
    for at, piece in enumerate(model.pieces):
        assert processor.get_score(at) == pytest.approx(piece.score)
        assert processor.is_control(at) == (piece.kind == "control")
        assert processor.is_byte(at) == (piece.kind == "byte")
        assert processor.is_unknown(at) == (piece.kind == "unknown")


@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_renamed_and_appended_pieces_leave_every_other_byte(model_type: str) -> None:
    data = spm.trained(model_type)
    model = read_sentencepiece(data, file="tokenizer.model")
    last = len(model.pieces) - 1
    new = [Piece("<|x|>", 0.0, "control"), Piece("<tool>", 0.0, "user-defined")]
    splices = [*renamed(model, {1: "<|begin|>", last: "<|last|>"}), appended(model, new)]
    edited = apply_splices(data, sorted(splices, key=lambda s: (s.begin, s.end)))
    before, after = pieces(data), pieces(edited)
    assert after == ["<unk>", "<|begin|>", *before[2:last], "<|last|>", "<|x|>", "<tool>"]
    processor = sentencepiece.SentencePieceProcessor(model_proto=edited)
    assert (processor.bos_id(), processor.eos_id(), processor.pad_id()) == (1, 2, 3)
    # The normalizer's part comes last and has kept its bytes.
    size = len(data) - model.trainer_at.end if model.trainer_at else 0
    assert size > 0
    assert edited[-size:] == data[-size:]


def test_names_that_a_file_leaves_to_the_defaults_follow_a_rename() -> None:
    data = spm.written([("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3), ("a", -1, 1)])
    model = read_sentencepiece(data, file="tokenizer.model")
    assert model.trainer_at is None
    edited = apply_splices(data, renamed(model, {2: "<|end|>"}))
    processor = sentencepiece.SentencePieceProcessor(model_proto=edited)
    assert (processor.bos_id(), processor.eos_id(), processor.unk_id()) == (1, 2, 0)
    again = read_sentencepiece(edited, file="tokenizer.model")
    back = apply_splices(edited, renamed(again, {2: "</s>"}))
    assert pieces(back) == pieces(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x0a\x05abc", "leaves its message"),
        (b"\x0a\x80", "does not end"),
        (b"\x0a" + b"\x80" * 11, "does not end"),
        (spm.written([("a", 0, 1), ("a", 0, 1)]), "'a' is piece 0 and 1"),
        (spm.written([("", 0, 1)]), "no text, score or kind"),
        (spm.written([("a", float("nan"), 1)]), "no text, score or kind"),
        (spm.written([("a", 0, 9)]), "no text, score or kind"),
        (spm.written([("a", 0, 1)], trainer=b"\x18\x09"), "model type 9"),
        (b"\x1a\x02\x20\x01", "it holds no pieces"),
        (b"\x0b\x01", "wire type 3"),
        (b"\x0a\x04\x0a\x02\xff\xfe", "is not UTF-8"),
    ],
)
def test_what_is_no_model_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(MalformedFile) as caught:
        read_sentencepiece(data, file="tokenizer.model")
    assert why in caught.value.detail


def test_damaged_models_end_as_typed_errors_or_as_models() -> None:
    """Never another exception, and never a piece that the library does not load."""
    data, dice = spm.trained("bpe"), random.Random(7)
    n_read = 0
    for _ in range(3_000):
        damaged = bytearray(data[: dice.randrange(1, len(data))] if dice.random() < 0.2 else data)
        for _ in range(dice.randrange(1, 4)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        try:
            model = read_sentencepiece(bytes(damaged), file="tokenizer.model")
        except MalformedFile:
            continue
        n_read += 1
        assert apply_splices(bytes(damaged), [appended(model, [])]) == bytes(damaged)
    assert 0 < n_read < 3_000


def test_a_tiktoken_file_of_the_same_name_is_left_alone(tmp_path: Path) -> None:
    folder = Tiny(kind="byte-fallback").build(tmp_path / "src")
    (folder / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n")
    assert not is_sentencepiece(b"IQ== 0\n")
    out = apply(folder, ADD, tmp_path / "out")
    assert (out / "tokenizer.model").read_bytes() == b"IQ== 0\nIg== 1\n"


# ── beside tokenizer.json ────────────────────────────────────────────────────────────────────────


def test_new_tokens_and_renames_are_written_beside_tokenizer_json(tmp_path: Path) -> None:
    folder = Tiny(kind="byte-fallback").build(tmp_path / "src")
    before = spm.beside(folder, Tiny(kind="byte-fallback"))
    out = apply(folder, ADD, tmp_path / "out")
    added = [token.content for token in Tiny().table().values()]
    assert pieces((out / "tokenizer.model").read_bytes()) == [
        *pieces(before),
        *added,  # they follow the pieces too, and new ones can only follow them
        "<|x|>",
        "<tool>",
    ]
    again = apply(out, '[[rename]]\nfrom = "<|x|>"\nto = "<|y|>"\n', tmp_path / "again")
    assert pieces((again / "tokenizer.model").read_bytes())[-2:] == ["<|y|>", "<tool>"]
    checks = proving.verify(again, against=str(out), witnesses=("sentencepiece",)).checks
    assert {check.status for check in checks if check.name == "sentencepiece"} == {"pass"}
    base = tmp_path / "base"
    making.undo(out, target=base)
    assert (base / "tokenizer.model").read_bytes() == before


def test_new_pieces_of_the_vocabulary_stay_out_and_the_plan_says_so(tmp_path: Path) -> None:
    """Their own library would make them elsewhere too: with them, it cuts other text anew."""
    base = Tiny(kind="byte-fallback").build(tmp_path / "src")
    before = spm.beside(base, Tiny(kind="byte-fallback"))
    corpus = "hand of hand the handed band 12 " * 40
    recipe = '[[add]]\ntext = "<|x|>"\n' + words(" helloin") + extend("c.txt", 6)
    found = grow(base, tmp_path / "home", recipe, {"c.txt": corpus})
    marker = next(token.id for token in found.plan.tokens if token.text == "<|x|>")
    new = sorted(t.id for t in found.plan.tokens if t.piece is not None)
    (note,) = [note for note in found.plan.notes if "tokenizer.model" in note]
    data = (found.out / "tokenizer.model").read_bytes()
    assert (new[0], len(new)) == (marker + 1, 7)
    assert f"no pieces for ids {new[0]} to {new[-1]}" in note
    assert pieces(data)[len(pieces(before)) :] == [
        *(token.content for token in Tiny().table().values()),
        "<|x|>",
    ]
    assert checks(found, witnesses=("sentencepiece",))["sentencepiece"][0] == "pass"
    # What its own library reads is what it read before.
    old = sentencepiece.SentencePieceProcessor(model_proto=before)
    now = sentencepiece.SentencePieceProcessor(model_proto=data)
    texts = [corpus, " helloin", "handhand", "the hand of the land"]
    assert [now.encode(text) for text in texts] == [old.encode(text) for text in texts]
    # With the pieces, it would not.
    model = read_sentencepiece(data, file="tokenizer.model")
    lowest = min(piece.score for piece in model.pieces)
    more = [
        Piece(t.key, lowest - n, "normal")
        for n, t in enumerate((t for t in found.plan.tokens if t.piece is not None), 1)
    ]
    full = sentencepiece.SentencePieceProcessor(
        model_proto=apply_splices(data, [appended(model, more)])
    )
    differs = [
        text
        for text in ("xhelloin helloinx", " helloiner", *texts)
        if [full.id_to_piece(i) for i in full.encode(text)]
        != [found.after.id_to_token(i) for i in found.encoded(text)]
    ]
    assert differs


def test_a_model_that_counts_otherwise_gets_no_pieces_and_the_plan_says_so(tmp_path: Path) -> None:
    folder = Tiny(kind="byte-fallback").build(tmp_path / "src")
    data = spm.written([("<unk>", 0, 2), ("<s>", 0, 3), ("<|im_end|>", 0, 4)])
    (folder / "tokenizer.model").write_bytes(data)
    path = tmp_path / "r.toml"
    path.write_text(f"version = 1\n{ADD}", encoding="utf-8")
    planned = making.make_plan(str(folder), path)
    assert any("tokenizer.model gets no new pieces: its piece 1" in n for n in planned.plan.notes)
    path.write_text('version = 1\n[[rename]]\nfrom = "<|im_end|>"\nto = "<|e|>"\n', "utf-8")
    with pytest.raises(RecipeError) as caught:
        making.make_plan(str(folder), path)
    assert "'<|im_end|>' has another id there" in caught.value.detail


def test_verify_notices_a_changed_piece(tmp_path: Path) -> None:
    folder = Tiny(kind="byte-fallback").build(tmp_path / "src")
    spm.beside(folder, Tiny(kind="byte-fallback"))
    out = apply(folder, ADD, tmp_path / "out")
    path = out / "tokenizer.model"
    good = path.read_bytes()
    for old, new in ((b"\x05<|x|>", b"\x05<|z|>"), (b"hello", b"hallo"), (b" \x01", b" \x00")):
        assert good.count(old) >= 1
        path.write_bytes(good.replace(old, new))
        manifest = (out / "MANIFEST.sha256").read_text()
        digests = {False: hashlib.sha256(good), True: hashlib.sha256(path.read_bytes())}
        told = manifest.replace(digests[False].hexdigest(), digests[True].hexdigest())
        (out / "MANIFEST.sha256").write_text(told)
        result = proving.verify(out, against=str(folder))
        failed = {check.name for check in result.checks if check.status == "fail"}
        assert "files-as-planned" in failed, (old, failed)
        (out / "MANIFEST.sha256").write_text(manifest)
    path.write_bytes(good)
    assert proving.verify(out, against=str(folder)).passed


# ── folders without tokenizer.json ───────────────────────────────────────────────────────────────


def loaded(python: Path, folder: Path, home: Path) -> dict[str, Any]:
    job = {"folder": str(folder), "texts": TEXTS, "tokens": ["<|x|>", "<tool>", "<s>", "</s>"]}
    answer = ask(python, "ask_tokenizers.py", [job], home=home)[0]["auto"]
    assert "error" not in answer, answer
    return answer  # type: ignore[no-any-return]


@pytest.mark.oracle4
@pytest.mark.oracle5
@pytest.mark.parametrize("model_type", ["bpe", "unigram"])
def test_tokens_are_added_to_a_slow_llama(
    model_type: str, tmp_path: Path, tf4: Path, tf5: Path
) -> None:
    folder = spm.slow_llama(tmp_path / "src", model_type)
    out = apply(folder, ADD, tmp_path / "out")
    for python, major in ((tf4, "four"), (tf5, "five")):
        before = loaded(python, folder, tmp_path / f"{major}-before")
        after = loaded(python, out, tmp_path / major)
        assert after["ids"] == {"<|x|>": 330, "<tool>": 331, "<s>": 1, "</s>": 2}
        assert after["names"] == before["names"]
        untouched = [0, 1, 3, 4]
        assert [after["texts"][i] for i in untouched] == [before["texts"][i] for i in untouched]
        assert {330, 331} <= set(after["texts"][2])
    result = proving.verify(out, against=str(folder), witnesses=("sentencepiece",))
    assert result.passed
    assert {c.status for c in result.checks if c.name == "sentencepiece"} == {"pass"}


@pytest.mark.oracle4
@pytest.mark.oracle5
def test_names_that_the_special_tokens_map_alone_gives_survive(
    tmp_path: Path, tf4: Path, tf5: Path
) -> None:
    config = {"bos_token": "<s>", "eos_token": "</s>"}
    config |= {"unk_token": "<unk>", "pad_token": "<pad>"}
    there = {
        "special_tokens_map.json": {**config, "additional_special_tokens": ["<|old|>"]},
        "added_tokens.json": {"<|old|>": 330, "<plain>": 331},
    }
    gone = dict.fromkeys(config, spm.DROP)
    folder = spm.slow_llama(tmp_path / "src", config=gone, **there)
    out = apply(folder, ADD, tmp_path / "out")
    decoder = json.loads((out / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    assert decoder["330"] == {"content": "<|old|>", **SPECIAL, "special": True}
    assert decoder["331"] == {**SPECIAL, "content": "<plain>", "normalized": True, "special": False}
    for python, major in ((tf4, "four"), (tf5, "five")):
        before = loaded(python, folder, tmp_path / f"{major}-before")
        after = loaded(python, out, tmp_path / major)
        assert after["names"] == before["names"]
        assert after["ids"] == {"<|x|>": 332, "<tool>": 333, "<s>": 1, "</s>": 2}


def test_a_named_token_is_renamed_in_a_slow_folder_with_its_piece(tmp_path: Path) -> None:
    table = {str(i): {"content": t, **SPECIAL, "special": True} for i, t in
             enumerate(("<unk>", "<s>", "</s>", "<pad>"))}  # fmt: skip
    folder = spm.slow_llama(tmp_path / "src", config={"added_tokens_decoder": table})
    out = apply(folder, '[[rename]]\nfrom = "</s>"\nto = "<|end|>"\n', tmp_path / "out")
    config = json.loads((out / "tokenizer_config.json").read_text())
    assert config["eos_token"] == "<|end|>"
    assert config["added_tokens_decoder"]["2"]["content"] == "<|end|>"
    processor = sentencepiece.SentencePieceProcessor(model_file=str(out / "tokenizer.model"))
    assert (processor.id_to_piece(2), processor.eos_id()) == ("<|end|>", 2)
    assert proving.verify(out, against=str(folder), witnesses=("sentencepiece",)).passed


def test_a_class_that_may_count_otherwise_is_refused(tmp_path: Path) -> None:
    folder = spm.slow_llama(tmp_path / "src", config={"tokenizer_class": "T5Tokenizer"})
    with pytest.raises(UnsupportedFormat) as caught:
        apply(folder, ADD, tmp_path / "out")
    assert "T5Tokenizer" in caught.value.detail
    assert caught.value.hint.startswith("make tokenizer.json first")
