"""`use = "word"`: one id where the old pieces stand whole, and nothing else changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiny
from examples_drawn import drawn
from grown import Grown, checks, failing, grow, refusal, words
from oracles.asking import ask, shared
from small_qwen import cut
from tokengraft.flow import making

# What stands beside words in the texts that are tried; the library's Unicode and Python's agree on
# all of it.
SIDES = (
    *(" ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u200b", "▁", "▁▁"),
    *(
        ".",
        ",",
        "(",
        "((",
        ")",
        '"',
        "'",
        "-",
        "--",
        "_",
        "«",
        "»",
        "—",
        "…",
        "/",
        "#",
        "@",
        "$",
        "=",
        "<",
    ),
    *("0", "5", "٣", "Ⅷ", "½", "x", "S", "é", "ß", "я", "Ж", "中", "한", "ع", "ა", "ǅ", "ª", "🙂"),
    *(
        "\u0301",
        "\u0323",
        "\u0903",
        "\u20dd",
        "'s",
        "'LL",
        "'ve",
        "n't",
        "<0x41>",
        "</s",
        "<s",
        "<unk",
    ),
    *("the", " the", "and", " hello", " мир", "def ", "0.5", " = ", "();\n", "<think", "|>"),
)
N_WITH_CONFIG = 4  # of these
BASES: dict[str, tuple[str, ...]] = {
    "tiny-bpe": (" helloworld", "тестовый", " тестовый", "theand", " Ёлки"),
    "tiny-byte-fallback": (" helloin", "theer", " the world", " Ёлка", "ononon"),
    "stories260K": (" Lilyanna", "Timothy", " best friend", " Tim5", " кот", "Lily's"),
    "qwen3-30b-a3b-base": (
        " Раскольников",
        " dataclass",
        "токенизатор",
        "ქართული",
        "Lilyanna",
        "myagimode",
    ),
    "gpt2": (" Lilyanna", "Lilyanna", " Привет", "tokengraft"),
    "minimind": (" Lilyanna", "токен", " 智能体", "tokengraft"),
}


def base_of(name: str, data: Path | None, home: Path) -> Path:
    if name.startswith("tiny-"):
        return tiny.build(home / "base", kind=name.removeprefix("tiny-"))  # type: ignore[arg-type]
    assert data is not None
    folder = "models" if name == "stories260K" else "tokenizers"
    if name.startswith("qwen"):  # the size of its vocabulary is not the point
        return cut(data / folder / name, home / "base")
    shutil.copytree(data / folder / name, home / "base", copy_function=shutil.copyfile)
    (home / "base" / "SOURCE.txt").unlink()
    return home / "base"


def with_words(name: str, request: pytest.FixtureRequest, factory: pytest.TempPathFactory) -> Grown:
    """A base with words, made once; real ones are skipped where there are none."""
    data = None if name.startswith("tiny-") else request.getfixturevalue("data")

    def make(folder: Path) -> None:
        base = base_of(name, data, folder)
        grow(base, folder / "home", words(*BASES[name]))

    home = shared(factory, f"words-{name}", make)
    return Grown(home / "base", home / "home" / "out")


@pytest.fixture(scope="module", params=BASES)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    return with_words(request.param, request, tmp_path_factory)


@settings(
    max_examples=drawn(120),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(draw=st.data())
def test_a_word_is_one_id_where_it_stands_whole_and_nothing_else_changes(
    found: Grown, draw: st.DataObject
) -> None:
    halves = [t for word in found.ids for at in range(1, len(word)) for t in (word[:at], word[at:])]
    parts = st.one_of(
        st.sampled_from(sorted(found.ids)),
        st.sampled_from(SIDES),
        st.sampled_from(halves),
        st.sampled_from([word.upper() for word in found.ids]),
        st.text(st.characters(max_codepoint=0x24F, exclude_categories=("Cs",)), max_size=4),
    )
    texts = draw.draw(st.lists(st.lists(parts, max_size=7).map("".join), min_size=5, max_size=10))
    for text in texts:
        assert found.encoded(text) == found.meaning.expected(text), repr(text)
        old = found.before.decode(found.was(text), skip_special_tokens=False)
        assert found.after.decode(found.encoded(text), skip_special_tokens=False) == old, repr(text)


@pytest.mark.parametrize("found", ["tiny-bpe", "stories260K", "qwen3-30b-a3b-base"], indirect=True)
def test_words_are_proved_by_verify_and_taken_back_by_undo(found: Grown, tmp_path: Path) -> None:
    said = checks(found)
    assert failing(said) == []
    assert "words only and always where they stand whole" in said["old-text"][1]
    assert said["new-pieces"][0] == "pass"
    making.undo(found.out, target=tmp_path / "back")
    before = {p.name: p.read_bytes() for p in found.base.iterdir()}
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "back").iterdir()}


@pytest.mark.parametrize(
    "witness",
    [
        pytest.param("tf4", marks=pytest.mark.oracle4),
        pytest.param("tf5", marks=pytest.mark.oracle5),
    ],
)
def test_both_majors_of_transformers_encode_words_as_the_library_does(
    witness: str,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    tmp_path: Path,
) -> None:
    all_found = [with_words(name, request, tmp_path_factory) for name in BASES]
    told = [found for found in all_found if (found.out / "config.json").is_file()]
    assert len(told) == N_WITH_CONFIG  # transformers asks for a config.json
    jobs = [{"folder": str(found.out), "texts": beside_words(found)} for found in told]
    answers = ask(request.getfixturevalue(witness), "ask_tokenizers.py", jobs, home=tmp_path)
    for found, job, answer in zip(told, jobs, answers, strict=True):
        ours = [found.encoded(text) for text in job["texts"]]
        assert answer["auto"]["class"] in ("PreTrainedTokenizerFast", "TokenizersBackend")
        assert answer["raw"]["texts"] == ours  # tokenizers 0.22 beside 4.57, 0.23 beside 5
        assert answer["auto"]["texts"] == ours


def beside_words(found: Grown) -> list[str]:
    return [f"{a}{word}{b}" for word in found.ids for a in SIDES[::3] for b in SIDES[1::3]]


# ── what it does to files ────────────────────────────────────────────────────────────────────────


def test_a_word_lies_in_the_vocabulary_and_added_tokens_keep_their_ids(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", legacy=True)
    found = grow(base, tmp_path, words(" helloworld") + '[[add]]\ntext = "<|x|>"\n')
    start = tiny.Tiny()
    n = start.n_tokens()
    vocab = found.json("tokenizer.json")["model"]["vocab"]
    added = {token.content: at for at, token in start.table().items()}
    assert vocab == {**start.vocab(), **added, "Ġhelloworld": n, "<|x|>": n + 1}
    assert found.json("vocab.json") == vocab
    assert found.json("tokenizer.json")["model"]["ignore_merges"] is True
    assert found.after.get_vocab() == vocab
    assert [t["id"] for t in found.json("tokenizer.json")["added_tokens"]][-1] == n + 1
    assert (found.out / "merges.txt").read_bytes() == (base / "merges.txt").read_bytes()
    config = found.json("tokenizer_config.json")
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert str(n) not in config["added_tokens_decoder"]


def test_rows_of_a_word_start_from_its_old_pieces(tmp_path: Path) -> None:
    found = grow(tiny.build(tmp_path / "base"), tmp_path, words(" helloworld"))
    (token,) = [token for token in found.plan.tokens if token.use == "word"]
    pieces = found.meaning.pieces[" helloworld"]
    read = next(row.source for row in token.rows if row.tensor == "model.embed_tokens.weight")
    assert (token.init, token.piece, token.cut) == ("first-last", "Ġhelloworld", 0)
    assert [parent for parent, _ in read.parents] == [pieces[-1]]  # type: ignore[union-attr]


def test_a_class_that_takes_tokenizer_json_whole_is_left_alone(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", kind="byte-fallback")
    found = grow(base, tmp_path, words(" helloin"))
    assert found.json("tokenizer_config.json")["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert not any("transformers 5 builds" in note for note in found.plan.notes)


def test_what_a_class_named_by_itself_is_written_when_it_goes(tmp_path: Path) -> None:
    config = {"unk_token": tiny.DROP, "model_input_names": tiny.DROP}
    base = tiny.build(tmp_path / "base", files={"tokenizer_config.json": config})
    written = grow(base, tmp_path, words(" helloworld")).json("tokenizer_config.json")
    assert written["unk_token"] == "<|endoftext|>"
    assert written["model_input_names"] == ["input_ids", "attention_mask"]


def test_a_word_that_is_one_id_already_is_left_as_it_is(tmp_path: Path) -> None:
    made = making.make_plan(str(tiny.build(tmp_path / "base")), written(tmp_path, words("hello")))
    assert made.plan.tokens == ()
    assert any("one id already" in note for note in made.plan.notes)


def written(home: Path, recipe: str) -> Path:
    path = home / "recipe.toml"
    path.write_text(f"version = 1\n{recipe}", encoding="utf-8")
    return path


def test_a_renamed_added_token_is_renamed_in_the_vocabulary_too(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base")
    first = grow(base, tmp_path / "one", words(" helloworld"))
    rename = '[[rename]]\nfrom = "<|im_end|>"\nto = "<|end|>"\n'
    second = grow(first.out, tmp_path / "two", rename)
    old = next(i for i, t in tiny.Tiny().table().items() if t.content == "<|im_end|>")
    for file in ("tokenizer.json", "vocab.json"):
        document = second.json(file)
        vocab = document["model"]["vocab"] if file == "tokenizer.json" else document
        assert vocab["<|end|>"] == old
        assert "<|im_end|>" not in vocab
    assert second.after.token_to_id("<|end|>") == old
    assert failing(checks(second)) == []


def test_more_words_can_follow_in_a_second_graft(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base")
    first = grow(base, tmp_path / "one", words(" helloworld"))
    second = grow(first.out, tmp_path / "two", words(" theand"))
    assert second.encoded("x helloworld theand") == [
        *second.was("x helloworld"),
        second.ids[" theand"],
    ]
    assert failing(checks(second)) == []


# ── runs of spaces, which some vocabularies merge before the word comes ──────────────────────────


def with_runs(home: Path, *, first: bool) -> Path:
    """A vocabulary with `▁▁`, merged before all else or behind all else."""
    base = tiny.build(home / "base", kind="byte-fallback")
    path = base / "tokenizer.json"
    document = json.loads(path.read_bytes())
    model = document["model"]
    old = dict(model["vocab"])
    top = max((*old.values(), *(t["id"] for t in document["added_tokens"])))
    model["vocab"] = {**old, **{t["content"]: t["id"] for t in document["added_tokens"]}}
    model["vocab"]["▁▁"] = top + 1
    merges = model["merges"]
    model["merges"] = ["▁ ▁", *merges] if first else [*merges, "▁ ▁"]
    path.write_text(json.dumps(document), encoding="utf-8")
    return base


@pytest.mark.parametrize("first", [True, False])
def test_what_runs_of_spaces_leave_to_a_word_decides(first: bool, tmp_path: Path) -> None:
    found = grow(with_runs(tmp_path, first=first), tmp_path, words(" theer"))
    for number in range(1, 30):
        for text in (
            f"x{' ' * number}theer",
            f"{' ' * number}theer x",
            f" x\n{' ' * number}theer",
        ):
            assert found.encoded(text) == found.meaning.expected(text), repr(text)
    word = found.ids[" theer"]
    met = [word in found.encoded(f"x{' ' * n}theer") for n in range(1, 7)]
    assert met == ([True, False] * 3 if first else [True] * 6)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────

REFUSED: dict[str, tuple[str, str]] = {
    "a flag of added tokens": (words(" helloworld", lstrip="true"), "cannot be lstrip"),
    "special": (words(" helloworld", special="true"), "cannot be special"),
    "an id of its own choice": (words(" helloworld", into="5"), "takes a new id"),
    "several parts": (words(" hello world"), "is cut into 2 parts"),
    "a sign before a letter": (words(" don't"), "before the model sees it"),
    "white space behind": (words("hello "), "one leading space is all"),
    "two spaces": (words("  hello"), "one leading space is all"),
    "the letter for a space": (words("▁hello"), "stands for a space in many"),
    "a mark at its beginning": (words("\u0301hello"), "begins with a combining mark"),
    "another spelling": (words(" cafe\u0301"), "Unicode normal form C"),
    "twice": (words(" helloworld") * 2, "asked for twice"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_cannot_be_a_word_is_refused_with_the_reason(case: str, tmp_path: Path) -> None:
    recipe, said = REFUSED[case]
    assert said in refusal(tiny.build(tmp_path / "base"), tmp_path, recipe)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["▁hello", -1.0]]}, "Unigram"),
        ({"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "hello": 1}}, "longest"),
        ({"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "hello": 1}}, "longest"),
    ],
)
def test_kinds_of_models_that_cannot_do_it_are_refused(
    model: dict[str, Any], said: str, tmp_path: Path
) -> None:
    files = {"tokenizer.json": {"model": model, "added_tokens": []}, "vocab.json": None}
    base = tiny.build(tmp_path / "base", added=(), files=files)
    (base / "merges.txt").unlink()
    assert said in refusal(base, tmp_path, words(" helloworld"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("dropout", 0.1, "dropout"), ("end_of_word_suffix", "</w>", "marks where words go on")],
)
def test_settings_of_bpe_that_stand_in_the_way_are_named(
    key: str, value: Any, said: str, tmp_path: Path
) -> None:
    base = edited(tiny.build(tmp_path / "base"), key, value)
    assert said in refusal(base, tmp_path, words(" helloworld"))


def edited(base: Path, key: str, value: Any) -> Path:
    path = base / "tokenizer.json"
    document = json.loads(path.read_bytes())
    document["model"][key] = value
    path.write_text(json.dumps(document), encoding="utf-8")
    return base


def test_a_class_that_is_not_known_is_refused(tmp_path: Path) -> None:
    config = {"tokenizer_config.json": {"tokenizer_class": "OddTokenizer"}}
    base = tiny.build(tmp_path / "base", files=config)
    assert "OddTokenizer" in refusal(base, tmp_path, words(" helloworld"))


def test_a_folder_without_tokenizer_json_is_refused(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", files={"tokenizer.json": None})
    assert "no tokenizer.json" in refusal(base, tmp_path, words(" helloworld"))


def test_a_vocabulary_with_pieces_that_merges_never_make_is_refused(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base")
    path = base / "tokenizer.json"
    document = json.loads(path.read_bytes())
    model = document["model"]
    top = max(t["id"] for t in document["added_tokens"])
    model["vocab"] |= {t["content"]: t["id"] for t in document["added_tokens"]}
    model["vocab"]["Ġlost"] = top + 1
    path.write_text(json.dumps(document), encoding="utf-8")
    (base / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    assert "merges never make" in refusal(base, tmp_path, words(" helloworld"))


def test_words_that_would_break_each_other_are_refused_with_a_text(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", kind="byte-fallback")
    said = refusal(base, tmp_path, words(" helloin", "¡the!", "onon"))
    assert "without changing how other text is encoded" in said
    assert "¡the!onon" in said
