"""Witnesses: arithmetic done twice, a corpus that says what it holds, and other people's libraries."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qwen_shapes
import tiny
from test_verifying import (
    RECIPE,
    RECORDS,
    SHARDS,
    SMALL,
    Made,
    edit,
    evidence,
    failures,
    flip,
    forge,
    graft,
    made,
    out,
    sign,
    status,
)
from tokengraft.applying import apply
from tokengraft.errors import LimitExceeded, ReadFailed
from tokengraft.formats.loading import load
from tokengraft.formats.plan_files import pack
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.formats.rows import narrow as other_narrow
from tokengraft.planning import Ports, plan
from tokengraft.plans import Keep, Plan, RemapRows, Stored
from tokengraft.results import Check
from tokengraft.verifying import texts as corpora
from tokengraft.verifying import verify
from tokengraft.verifying.encodings import Corpus, check_encodings
from tokengraft.verifying.mixing import is_same, mix, narrow, widen
from tokengraft.verifying.records import read_graft
from tokengraft.verifying.transformers_witness import ask_transformers

__all__ = ["made", "out"]  # fixtures

# ── rows ─────────────────────────────────────────────────────────────────────────────────────────


def nearest_bfloat16(value: float) -> int:
    """The bits of the nearest bfloat16, ties to even, by exact fractions over all neighbours."""
    sign_bit = 0x8000 if np.signbit(value) else 0
    around = int(np.float32(abs(value)).view("<u4")) >> 16
    finite = [bits for bits in range(max(0, around - 2), around + 3) if bits <= 0x7F7F]
    exact = Fraction(abs(value))

    def distance(bits: int) -> tuple[Fraction, int]:
        there = float(np.uint32(bits << 16).view("<f4"))
        return abs(Fraction(there) - exact), bits & 1

    return min(finite, key=distance) | sign_bit


def hard_numbers() -> list[float]:
    """Midpoints between bfloat16 neighbours, a hair beside them, and subnormal numbers."""
    rng = np.random.default_rng(0)
    found: list[float] = []
    for _ in range(2000):
        middle = float((1 + (rng.integers(0, 128) + 0.5) / 128) * 2.0 ** rng.integers(-139, 126))
        beside = (np.nextafter(middle, 0), np.nextafter(middle, np.inf), middle * (1 + 2.0**-30))
        found += [middle, -middle, *map(float, beside), float(rng.normal())]
    return found


def test_rounding_to_bfloat16_is_right_where_rounding_twice_is_wrong() -> None:
    numbers = hard_numbers()
    bits = np.frombuffer(narrow(np.array(numbers), "BF16"), "<u2").tolist()
    assert [nearest_bfloat16(number) for number in numbers] == bits


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F64"])
def test_both_implementations_round_alike(dtype: str) -> None:
    numbers = np.array([*hard_numbers(), 0.0, -0.0, np.inf, -np.inf, 1e39, 3.4e38, 5e-324])
    ours = narrow(numbers, dtype)
    assert ours == other_narrow(numbers, dtype)
    assert widen(ours, dtype).shape == numbers.shape


def test_parents_are_added_in_order_in_float64() -> None:
    parents = np.array([2.0**53, 1.0, 2.0**53])
    assert mix([1.0, 1.0, -1.0], parents, 1).tolist() == [0.0]
    assert mix([1.0, -1.0, 1.0], parents[[0, 2, 1]], 1).tolist() == [1.0]
    assert mix([], np.array([]), 3).tolist() == [0.0, 0.0, 0.0]


def test_one_nan_is_as_good_as_another_and_zero_keeps_its_sign() -> None:
    nans = [np.array([0x7FC00000, 1], "<u4").tobytes(), np.array([0xFFC00001, 1], "<u4").tobytes()]
    assert is_same(*nans, "F32")
    assert not is_same(np.float32(0.0).tobytes(), np.float32(-0.0).tobytes(), "F32")


def test_matrices_that_grew_are_proved(tmp_path: Path, made: Made) -> None:
    recipe = "version = 1\n" + "".join(f'[[add]]\ntext = "<|t{n}|>"\n' for n in range(99))
    base = graft(tiny.build(tmp_path / "src", shards=2), tmp_path / "out", recipe=recipe)
    found = verify(tmp_path / "out", against=base, texts=[made.texts])
    assert failures(found) == set()
    assert "99 tokens of the plan" in evidence(found, "new-tokens")


def test_values_of_the_sidecar_are_compared_too(tmp_path: Path, made: Made) -> None:
    base = load(tiny.build(tmp_path / "src", dtype="F32"))
    wish, text = parse_recipe('version = 1\n[[add]]\ntext = "<|x|>"\ninit = "zero"\n')
    found = plan(
        base,
        wish,
        text=text,
        tool="tokengraft test",
        ports=Ports(
            encode=None,
            digest=lambda name: hashlib.sha256(tiny.tensor_bytes(base.root)[name][2]).hexdigest(),
        ),
    ).plan
    stored = found.model_copy(update={"edits": tuple(map(_stored, found.edits))})
    names = [edit.tensor for edit in stored.edits if isinstance(edit, RemapRows)]
    values = {name: np.full((1, tiny.D), number + 0.5, "<f4") for number, name in enumerate(names)}
    plan_text, sidecar = pack(stored, values)
    written = Plan.from_dict(json.loads(plan_text))
    apply(base, written, target=tmp_path / "out", plan_text=plan_text, sidecar=sidecar)
    said = verify(tmp_path / "out", against=base, texts=[made.texts])
    assert failures(said) == set()
    assert "2 of them from tokengraft/rows.safetensors" in evidence(said, "rows-as-planned")
    flip(tmp_path / "out/tokengraft/rows.safetensors", -1)
    sign(tmp_path / "out")
    assert not verify(tmp_path / "out", texts=[made.texts]).passed


def _stored(edit: Any) -> Any:
    if not isinstance(edit, RemapRows):
        return edit
    rows = [source if isinstance(source, Keep) else Stored(index=0) for source in edit.rows]
    return edit.model_copy(update={"rows": tuple(rows)})


# ── what a stranger sends ────────────────────────────────────────────────────────────────────────


HOSTILE = {
    "nothing": b"",
    "not JSON": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "null": b"null",
    "list": b"[1, 2]",
    "other object": b'{"schema": "tokengraft/plan", "version": 1}',
    "huge header": struct.pack("<Q", 1 << 62) + b"{}",
    "no tensors": struct.pack("<Q", 2) + b"{}",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize(
    "name",
    ["MANIFEST.sha256", *RECORDS, *SMALL, SHARDS[0]],
)
def test_a_hostile_file_fails_and_nothing_else_happens(
    made: Made, out: Path, name: str, data: bytes
) -> None:
    (out / name).write_bytes(data)
    if name != "MANIFEST.sha256":
        sign(out)
    assert not verify(out, against=load(made.src), texts=[made.texts]).passed


N = tiny.Tiny().rows()
LIES: list[tuple[int, list[dict[str, Any]]]] = [
    (10**15, [{"kind": "keep", "first": 0, "count": 10**15}]),
    (N, [{"kind": "mean", "first": 0, "count": 10**15, "rows": N}]),
    (N, [{"kind": "mix", "parents": [[-1, 1.0]], "rows": N}]),
    (N, [{"kind": "mix", "parents": [[10**12, 1.0]], "rows": N}]),
    (N, [{"kind": "value", "index": 10**12}, {"kind": "keep", "first": 0, "count": N - 1}]),
    (N, [{"kind": "keep", "first": 1, "count": N - 1}, {"kind": "mix", "parents": []}]),
    (N, [{"kind": "mean", "first": n, "count": 1, "rows": 1} for n in range(N)]),
    (N, [{"kind": "mix", "parents": [], "rows": 10**15}]),
]


@pytest.mark.parametrize("lie", LIES, ids=range(len(LIES)))
def test_a_plan_that_lies_about_rows_fails(
    made: Made, out: Path, lie: tuple[int, list[dict[str, Any]]]
) -> None:
    def tell(plan_: Any) -> None:
        remap = next(e for e in plan_["edits"] if e["kind"] == "remap-rows")
        remap.update(n_rows_after=lie[0], rows=lie[1])

    edit(out / "tokengraft/plan.json", tell)
    forge(out)
    assert not verify(out, texts=[made.texts]).passed
    assert not verify(out, against=load(made.src), texts=[made.texts]).passed


def test_a_named_pipe_is_not_read(made: Made, out: Path) -> None:
    os.mkfifo(out / "pipe")
    found = verify(out, texts=[made.texts])
    assert "pipe (not a regular file" in evidence(found, "manifest")


# ── the corpus ───────────────────────────────────────────────────────────────────────────────────

NEW = ("<|my_agi_mode|>", "<tool_start>", "</tool_end>", "<|pad|>")


def test_the_corpus_is_more_than_a_megabyte_and_always_the_same(whole_corpus: None) -> None:
    texts = list(corpora.built_in(NEW))
    kept, _ = corpora.leave_out(texts, NEW, folded=False)
    assert sum(len(text.encode()) for text in kept) > 1 << 20
    assert texts == list(corpora.built_in(NEW))
    assert hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16] == "3aaf3f2c09e5258d"


@pytest.mark.parametrize(
    "part",
    [
        "    return",
        "\t\t",
        "ё",
        "\U0001f468\u200d\U0001f469",
        "\U0001f44d\U0001f3fd",
        "\U0001f1f7\U0001f1fa",
        "e\u0301",
        "é",
        "机器学习",
        "שָׁלוֹם",
        "<|im_start|>",
        "<|im_end",
        "<tool_star",
        "https://",
        '{"id": ',
        "\r\n",
        "\x00",
        "\x7f",
        " " * 130,
    ],
    ids=ascii,
)
def test_the_corpus_holds_what_tokenizers_stumble_over(part: str, whole_corpus: None) -> None:
    assert any(part in text for text in corpora.built_in(()))


def test_the_corpus_holds_every_byte_and_near_misses_of_new_tokens() -> None:
    texts = set(corpora.built_in(("<|q7|>",)))
    assert set(map(chr, range(256))) <= texts
    assert {"<|q7|", "|q7|>", "<|q 7|>", "<|Q7|>", "<|x7|>", "<|q|>"} <= texts


def test_texts_that_hold_a_token_are_left_out_and_counted() -> None:
    texts = ["a <|x|> b", "<|x|", "", "<|X|>", "ab", unicodedata.normalize("NFD", "é")]
    assert corpora.leave_out(texts, ["<|x|>", ""], folded=False) == ([*texts[1:]], 1)
    assert corpora.leave_out(texts, ["<|x|>", "é"], folded=True) == (["<|x|", "", "ab"], 3)
    assert corpora.leave_out(texts, [], folded=True) == (texts, 0)


def test_a_hundred_thousand_literals_are_looked_for_in_seconds() -> None:
    texts = [*["lorem <|tokens dolor t1|> <|token" * 40] * 500, "a<|token99999|>"]
    assert corpora.leave_out(texts, [f"<|token{n}|>" for n in range(10**5)], folded=False)[1] == 1


def test_literals_with_one_beginning_and_many_lengths_are_all_found() -> None:
    dice = random.Random(0)
    for _ in range(300):
        words = ["".join(dice.choices("ab", k=dice.randint(2, 12))) for _ in range(8)]
        kept = [text for text in words[3:] if not any(word in text for word in words[:3])]
        assert kept == corpora.leave_out(words[3:], words[:3], folded=False)[0]


def test_a_corpus_of_the_user_keeps_its_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(b"a\r\nb\n" + b"\xff" + b"x" * 9000)
    texts = corpora.from_file(path)
    assert "".join(texts) == "a\r\nb\n\ufffd" + "x" * 9000
    assert max(map(len, texts)) <= corpora.MAX_TEXT_CHARS
    with pytest.raises(ReadFailed):
        corpora.from_file(tmp_path / "nowhere")


def test_a_corpus_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "MAX_TEXTS_BYTES", 10)
    (tmp_path / "texts.txt").write_text("more than ten", encoding="utf-8")
    with pytest.raises(LimitExceeded):
        corpora.from_file(tmp_path / "texts.txt")


# ── tokenizers ───────────────────────────────────────────────────────────────────────────────────


def told(checks: Sequence[Check]) -> dict[str, tuple[str, str]]:
    return {check.name: (check.status, check.evidence) for check in checks}


def test_a_tokenizer_that_reads_old_text_otherwise_is_found(made: Made, tmp_path: Path) -> None:
    other = tiny.build(tmp_path / "other", out_of_step=True, shards=2)
    main = json.loads((other / "tokenizer.json").read_bytes())
    main["normalizer"] = None
    (other / "tokenizer.json").write_text(json.dumps(main), encoding="utf-8")
    corpus = Corpus("decomposed", ("plain", unicodedata.normalize("NFD", "éè")))
    found = told(list(check_encodings(read_graft(made.out), load(other), corpus)))
    assert {name for name, (state, _) in found.items() if state == "fail"} == {
        "old-text",
        "round-trips",
    }
    assert "1 of 2 texts of decomposed" in found["old-text"][1]


def test_a_token_that_is_not_its_one_id_is_found(made: Made) -> None:
    graft_ = read_graft(made.out)
    assert graft_.plan is not None
    first = graft_.plan.tokens[0]
    tokens = (first.model_copy(update={"text": "<|nobody|>"}), *graft_.plan.tokens[1:])
    changed = replace(graft_, plan=graft_.plan.model_copy(update={"tokens": tokens}))
    found = told(list(check_encodings(changed, None, Corpus.of([made.texts]))))
    assert found["new-tokens"][0] == "fail"
    assert f"1 of {len(tokens)} tokens: '<|nobody|>' alone is [" in found["new-tokens"][1]


def test_without_a_base_tokenizer_old_text_is_skipped(made: Made) -> None:
    found = told(list(check_encodings(read_graft(made.out), None, Corpus.of([made.texts]))))
    assert found["new-tokens"][0] == "pass"
    assert found["old-text"] == (
        "skipped",
        "the base's tokenizer.json could not be rebuilt; give --against",
    )


def test_ids_that_the_library_gives_otherwise_are_named(made: Made, out: Path) -> None:
    graft_ = read_graft(out)
    assert graft_.checkpoint is not None
    small = dict(graft_.checkpoint.small_files)
    small["tokenizer.json"] = small["tokenizer.json"].replace(b"<tool_start>", b"<tool_stort>")
    changed = replace(graft_, checkpoint=replace(graft_.checkpoint, small_files=small))
    found = told(list(check_encodings(changed, None, Corpus.of([made.texts]))))
    assert found["ids-in-tokenizers"][0] == "fail"
    assert "'<tool_stort>' there and '<tool_start>' here" in found["ids-in-tokenizers"][1]


# ── transformers ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.oracle5
def test_transformers_5_gives_every_token_its_id(made: Made, tf5: Path) -> None:
    found = list(ask_transformers(read_graft(made.out), python=str(tf5)))
    assert [check.status for check in found] == ["pass"], found
    assert "transformers 5." in found[0].evidence


@pytest.mark.oracle4
def test_transformers_4_gives_every_token_its_id(made: Made, tf4: Path) -> None:
    found = list(ask_transformers(read_graft(made.out), python=str(tf4)))
    assert [check.status for check in found] == ["pass"], found
    assert "transformers 4." in found[0].evidence


@pytest.mark.oracle5
def test_a_one_sided_edit_is_found_by_transformers(made: Made, out: Path, tf5: Path) -> None:
    def forget(config: Any) -> None:
        table = config["added_tokens_decoder"]
        del table[next(i for i, token in table.items() if token["content"] == "<tool_start>")]

    edit(out / "tokenizer_config.json", forget)
    found = list(ask_transformers(read_graft(out), python=str(tf5)))
    assert [check.status for check in found] == ["fail"]
    assert "is None there and" in found[0].evidence


def test_an_environment_without_transformers_is_said_to_be_one(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    found = verify(made.out, witnesses=("transformers",), texts=[made.texts])
    assert status(found)["transformers"] == "skipped"
    assert evidence(found, "transformers") == "transformers is not installed"


def test_qwen3_is_proved_by_every_witness(tmp_path: Path, data: Path, whole_corpus: None) -> None:
    source = qwen_shapes.build_qwen3_base(tmp_path / "src", data, hidden=16)
    recipe = RECIPE.replace("<tool_call>", "<|fim_pad|>").replace("<call>", "<|spare_1|>")
    base = graft(source, tmp_path / "out", recipe=recipe, copy="link")
    found = verify(tmp_path / "out", against=base)
    assert failures(found) == set()
    assert "151,672 ids" in evidence(found, "ids-in-tokenizers")
    assert "are hard links to the same bytes" in evidence(found, "files-against-base")
