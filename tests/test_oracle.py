"""Ours against the libraries: one-sided edits by hand, and what transformers itself would make."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from oracles import traps
from oracles.asking import ask, remembered, shared
from oracles.traps import NEW, PAD, RENAMED, START
from small_qwen import cut
from tiny import Tiny, build
from tokengraft.flow import making
from tokengraft.plans import PatchJson, SetKey

pytestmark = [pytest.mark.oracle4, pytest.mark.oracle5]

ADD = f'[[add]]\ntext = "{NEW}"\n'
RENAME = f'[[rename]]\nfrom = "{START}"\nto = "{RENAMED}"\n'
SET_PAD = f'[pad]\ntoken = "{PAD}"\n'

# Ours: bases made by hand, and recipes that ask for what the one-sided edits were meant to do.
OURS: dict[str, tuple[tuple[Any, ...], str]] = {
    "plain": ((), ADD + SET_PAD),
    "renamed": ((), RENAME),
    "without decoder": (
        (traps.stale_map_without_decoder,),
        '[[add]]\ntext = "<|two|>"\n' + SET_PAD,
    ),
    "baked": (
        (traps.stale_map, traps.post_processor, traps.truncation_and_padding),
        RENAME + ADD + SET_PAD,
    ),
}


@pytest.fixture(scope="module")
def home(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each trap, and for each of ours its base and its result."""

    def make(folder: Path) -> None:
        source = cut(data / "tokenizers" / "qwen3-30b-a3b", folder / "source")
        for name, (edit, *_) in traps.EXPECTED.items():
            docs = traps.docs_of(source)
            edit(docs)
            traps.write(folder / "traps" / name, source, docs)
        (folder / "ours").mkdir()
        for name, (edits, recipe) in OURS.items():
            docs = traps.docs_of(source) if edits else {}
            for edit in edits:
                edit(docs)
            base = traps.write(folder / "bases" / name, source, docs)
            (folder / f"{name}.toml").write_text(f"version = 1\n{recipe}", encoding="utf-8")
            making.apply(folder / f"{name}.toml", base=str(base), out=folder / "ours" / name)

    return shared(tmp_path_factory, "traps", make)


def answers(home: Path, python: Path, major: str) -> dict[str, Any]:
    """What one environment makes of every folder."""
    names = [*(f"traps/{name}" for name in traps.EXPECTED), *(f"ours/{name}" for name in OURS)]
    asked = {"tokens": [*traps.TOKENS, "<|two|>"], "texts": traps.TEXTS}
    jobs = [{"folder": str(home / name), **asked} for name in names]
    found = remembered(
        home, major, lambda: ask(python, "ask_tokenizers.py", jobs, home=home / f"home-{major}")
    )
    assert {answer["versions"][0][:2] for answer in found} == {major}
    return dict(zip(names, found, strict=True))


@pytest.fixture(scope="module")
def four(home: Path, tf4: Path) -> dict[str, Any]:
    return answers(home, tf4, "4.")


@pytest.fixture(scope="module")
def five(home: Path, tf5: Path) -> dict[str, Any]:
    return answers(home, tf5, "5.")


@pytest.mark.parametrize("name", traps.EXPECTED)
def test_a_one_sided_edit_is_read_as_was_measured(
    name: str, four: dict[str, Any], five: dict[str, Any]
) -> None:
    _, *expected = traps.EXPECTED[name]
    one, other = four[f"traps/{name}"], five[f"traps/{name}"]
    found = [part["ids"] for part in (one["auto"], other["auto"], one["raw"], other["raw"])]
    for ids, wanted in zip(found, [*expected, expected[-1]], strict=True):
        assert wanted == {token: ids[token] for token in wanted}


def test_an_edited_pre_tokenizer_holds_in_a_generic_class_alone(
    four: dict[str, Any], five: dict[str, Any]
) -> None:
    def pieces(answer: dict[str, Any]) -> int:
        return len(answer["auto"]["texts"][2])

    own, generic = "traps/other splitting", "traps/other splitting in a generic class"
    plain = "ours/plain"
    assert pieces(four[plain]) == pieces(five[plain])
    assert pieces(four[own]) != pieces(four[plain])
    assert pieces(five[own]) == pieces(five[plain])
    assert pieces(four[generic]) == pieces(five[generic]) == pieces(four[own])


def test_a_stale_map_rules_where_there_is_no_added_tokens_decoder(
    four: dict[str, Any], five: dict[str, Any]
) -> None:
    for major in (four, five):
        ignored = major["traps/a stale map"]["auto"]["names"]
        ruling = major["traps/a stale map without decoder"]["auto"]["names"]
        assert ignored["pad_token"] == "<|endoftext|>"
        assert ruling["pad_token"] == "<|vision_pad|>"


def test_a_post_processor_goes_on_by_id_and_its_name_is_gone(
    four: dict[str, Any], five: dict[str, Any]
) -> None:
    for major in (four, five):
        trap = major["traps/a post-processor of a renamed token"]
        assert trap["auto"]["processed"][2][0] == trap["raw"]["processed"][2][0] == 2644
        assert trap["auto"]["ids"][START] is None


def test_baked_truncation_and_padding_hold_in_raw_tokenizers_alone(
    four: dict[str, Any], five: dict[str, Any]
) -> None:
    for major in (four, five):
        trap = major["traps/truncation and padding"]
        assert [len(ids) for ids in trap["raw"]["texts"]] == [8, 8, 8, 8]
        assert len(trap["auto"]["texts"][3]) > 8


def test_a_flag_in_the_config_wins_over_the_one_in_tokenizer_json(
    four: dict[str, Any], five: dict[str, Any]
) -> None:
    for major in (four, five):
        assert major["traps/a flag that differs"]["auto"]["visible"][0] == "ab"
        assert major["ours/plain"]["auto"]["visible"][0] == "ab"


# ── ours, for the same wishes ────────────────────────────────────────────────────────────────────

WANTED: dict[str, dict[str, int | None]] = {
    "plain": {NEW: 2669, PAD: 2670, START: 2644, "<think>": 2667, RENAMED: None},
    "renamed": {RENAMED: 2644, START: None, NEW: None, "<|im_end|>": 2645},
    "without decoder": {NEW: 2669, "<|two|>": 2670, PAD: 2671, START: 2644},
    "baked": {RENAMED: 2644, START: None, NEW: 2669, PAD: 2670, "<think>": 2667},
}


@pytest.mark.parametrize("name", OURS)
def test_ours_gives_the_same_ids_in_all_libraries(
    name: str, four: dict[str, Any], five: dict[str, Any]
) -> None:
    one, other = four[f"ours/{name}"], five[f"ours/{name}"]
    for part in (one["auto"], other["auto"], one["raw"], other["raw"]):
        ids = part["ids"]
        assert WANTED[name] == {token: ids[token] for token in WANTED[name]}
    assert one["auto"]["texts"] == other["auto"]["texts"]
    assert one["auto"]["processed"] == other["auto"]["processed"]
    assert one["raw"] == other["raw"]
    assert one["auto"]["size"] == other["auto"]["size"] == one["raw"]["size"]
    assert one["auto"]["special"] == other["auto"]["special"]
    assert one["auto"]["names"] == other["auto"]["names"]


@pytest.mark.parametrize("name", ["plain", "without decoder", "baked"])
def test_ours_names_the_pad_token_in_every_library(
    name: str, four: dict[str, Any], five: dict[str, Any]
) -> None:
    for major in (four, five):
        answer = major[f"ours/{name}"]
        assert answer["auto"]["names"]["pad_token"] == PAD
        assert PAD in answer["auto"]["special"]
        assert answer["config"]["pad"] == answer["config"]["generation_pad"] == WANTED[name][PAD]


def test_ours_keeps_a_post_processor_and_baked_padding_in_step(
    four: dict[str, Any], five: dict[str, Any]
) -> None:
    for major in (four, five):
        answer = major["ours/baked"]
        assert answer["raw"]["processed"][2][0] == 2644
        assert answer["raw"]["processed"][2][-1] == WANTED["baked"][PAD]
        assert answer["auto"]["processed"][2][0] == 2644


def test_ours_names_the_class_that_keeps_an_edit_of_the_pre_tokenizer(home: Path) -> None:
    recipe = home / "word.toml"
    recipe.write_text('version = 1\n[[add]]\ntext = " словцо"\nuse = "word"\n', encoding="utf-8")
    plan = making.make_plan(str(home / "bases" / "plain"), recipe).plan
    changes = plan.file_edits()["tokenizer_config.json"]
    assert isinstance(changes, PatchJson)
    keys = {c.pointer: c.value for c in changes.changes if isinstance(c, SetKey)}
    # transformers 5 builds the pre-tokenizer of Qwen2Tokenizer in code, whatever the file says.
    assert keys["/tokenizer_class"] == "PreTrainedTokenizerFast"


# ── what transformers would have made ────────────────────────────────────────────────────────────

KINDS: dict[str, dict[str, Any]] = {
    "qwen3": {"kind": "bpe", "shards": 2},
    "qwen3, tied": {"kind": "bpe", "tied": True, "dtype": "F16", "legacy": True},
    "llama": {"kind": "byte-fallback", "dtype": "F32"},
    "mistral, tied": {
        "kind": "byte-fallback",
        "tied": True,
        "files": {
            "config.json": {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
        },
    },
}
CASES = 15  # of each kind
MARKS = ("<|{}|>", "<{}>", "</{}>", "[{}]", "{}", "„{}“", "▁{}", "#{}")
NAMES = ("role", "мысль", "tool call", "x", "思考", "🤖", "a_b", "ёж", "end-1", "0")
FLAGS = ("special", "lstrip", "rstrip", "single_word", "normalized")


def random_tokens(random: Random) -> list[tuple[str, dict[str, bool]]]:
    """Tokens with flags of every combination; one time in three more than there are spare rows."""
    count = random.choice((1, 3, 8, 8, 70, 140)) if random.random() < 0.6 else random.randint(1, 9)
    tokens: dict[str, dict[str, bool]] = {}
    while len(tokens) < count:
        name = random.choice(NAMES) + (str(random.randint(0, 99)) if random.random() < 0.8 else "")
        text = random.choice(MARKS).format(name)
        tokens[text] = {flag: random.random() < 0.3 for flag in FLAGS}
    return list(tokens.items())


def recipe_of(tokens: list[tuple[str, dict[str, bool]]]) -> str:
    lines = ["version = 1", "[stop]", 'tokens = "keep"']
    for text, flags in tokens:
        said = [f"{flag} = {str(value).lower()}" for flag, value in flags.items()]
        lines += [
            "[[add]]",
            f"text = {json.dumps(text, ensure_ascii=False)}",
            'init = "mean"',
            *said,
        ]
    return "\n".join(lines) + "\n"


def sentences(random: Random, tokens: list[tuple[str, dict[str, bool]]]) -> list[str]:
    """Texts with and without the new tokens, with white space beside them and without."""
    words = ["hello", " world", "тест", " the", "def", "\n\n", "  ", "a", "é", "<|im_start|>"]
    words += [text for text, _ in random.sample(tokens, min(4, len(tokens)))]
    return ["".join(random.choices(words, k=9)) for _ in range(6)]


def resize_job(folder: Path, kind: str, number: int) -> dict[str, Any]:
    """One recipe carried out by us, and what the library must do to compare."""
    random = Random(f"{kind} {number}")  # text seeds are the same in every process
    base = folder / "bases" / kind
    shape = Tiny(**KINDS[kind])
    taken = {*shape.vocab(), *(t.content for t in shape.table().values())}
    tokens = [(text, flags) for text, flags in random_tokens(random) if text not in taken]
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe_of(tokens), encoding="utf-8")
    out = folder / f"{kind} {number}"
    made = making.apply(recipe, base=str(base), out=out)
    n_rows = {edit.n_rows_after for edit in made.plan.row_edits().values()}
    n_old = shape.n_tokens()
    return {
        "do": "resize",
        "base": str(base),
        "ours": str(out),
        "tokens": tokens,
        "rows": n_rows.pop(),
        "kept": n_old,
        "texts": sentences(random, tokens),
        "old_ids": [[random.randrange(n_old) for _ in range(24)] for _ in range(2)],
    }


@pytest.fixture(scope="module")
def resized(tf5: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Each random recipe, as a job and its answer."""

    def make(folder: Path) -> None:
        (folder / "bases").mkdir()
        for kind, fields in KINDS.items():
            build(folder / "bases" / kind, **fields)
        jobs = [resize_job(folder, kind, number) for kind in KINDS for number in range(CASES)]
        found = ask(tf5, "ask_models.py", jobs, home=folder / "asked")
        pairs = [{**job, **answer} for job, answer in zip(jobs, found, strict=True)]
        (folder / "compared.json").write_text(json.dumps(pairs), encoding="utf-8")

    folder = shared(tmp_path_factory, "resized", make)
    compared: list[dict[str, Any]] = json.loads((folder / "compared.json").read_bytes())
    return compared


def test_random_recipes_grow_matrices_and_fill_spare_rows(resized: list[dict[str, Any]]) -> None:
    assert len(resized) == CASES * len(KINDS)
    grown = [case for case in resized if case["rows"] > -(-case["kept"] // 64) * 64]
    assert 10 <= len(grown) <= 50


def test_our_ids_are_those_that_transformers_gives(resized: list[dict[str, Any]]) -> None:
    for case in resized:
        assert case["their_ids"] == case["our_ids"], case["ours"]
        assert case["our_ids"] == list(range(case["kept"], case["kept"] + len(case["tokens"])))
        assert case["same_table"], case["ours"]


def test_texts_with_and_without_new_tokens_are_read_alike(resized: list[dict[str, Any]]) -> None:
    for case in resized:
        assert case["same_texts"] == [True] * len(case["texts"]), case["ours"]


def test_untouched_rows_and_tensors_are_those_that_transformers_keeps(
    resized: list[dict[str, Any]],
) -> None:
    for case in resized:
        assert case["rows"] == case["row_counts"][0] == case["row_counts"][1]
        assert case["same_rows"], case["ours"]
        assert case["other_tensors"] == []


def test_old_texts_give_the_same_logits(resized: list[dict[str, Any]]) -> None:
    # A product with more columns may be summed in another order: 1e-6 of logits of about 1.
    assert max(case["logits"] for case in resized) < 1e-6


def test_a_script_that_fails_says_why_and_the_next_one_is_answered(
    tf4: Path, tmp_path: Path
) -> None:
    with pytest.raises(AssertionError, match="No module named 'ask_nobody'"):
        ask(tf4, "ask_nobody.py", [], home=tmp_path)
    with pytest.raises(AssertionError, match="KeyError: 'folder'"):
        ask(tf4, "ask_chats.py", [{}], home=tmp_path)
    folder = build(tmp_path / "base", shards=0)
    (found,) = ask(tf4, "ask_tokenizers.py", [{"folder": str(folder)}], home=tmp_path)
    assert found["auto"]["size"] == Tiny().n_tokens()
