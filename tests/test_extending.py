"""`[[extend]]`: continued BPE on a corpus, from the recipe to the proof."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiny
from examples_drawn import drawn
from grafts import digest
from grown import Grown, checks, extend, failing, grow, refusal
from oracles.asking import shared
from oracles.whole_words import taken_apart
from raw_tensors import row_bytes
from tokengraft.flow import making
from tokengraft.formats.plan_files import read_plan
from tokengraft.plans import COLUMNS_ABOVE, Keep

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
STEMS = ("token", "graft", "вектор", "словар", "матриц", "embed", "naïve", "ქართ", "日本")
ENDS = ("", "s", "ing", "ер", "ный", "ация", "-like", "_id", "(x)", "...", "ული", "語")


def prose(n_words: int, seed: int = 0) -> str:
    """Lines of made-up words, some far more frequent than others."""
    rng = random.Random(seed)
    weights = [1 / (at + 1) for at in range(len(STEMS))]
    words = [rng.choices(STEMS, weights)[0] + rng.choice(ENDS) for _ in range(n_words)]
    return "\n".join(" ".join(words[at : at + 9]) for at in range(0, n_words, 9)) + "\n"


PROSE = prose(3_000)
KINDS = ("bpe", "byte-fallback")


@pytest.fixture(scope="module", params=KINDS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Grown:
    def make(folder: Path) -> None:
        base = tiny.build(folder / "base", kind=request.param, legacy=True)
        grow(base, folder / "home", extend("prose.txt", 60), {"prose.txt": PROSE})

    home = shared(tmp_path_factory, f"extended-{request.param}", make)
    return Grown(home / "base", home / "home" / "out")


# ── what is promised of text ─────────────────────────────────────────────────────────────────────


@settings(
    max_examples=drawn(100),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(draw=st.data())
def test_new_ids_taken_apart_are_the_old_ids_of_every_text(
    found: Grown, draw: st.DataObject
) -> None:
    parts = st.one_of(
        st.sampled_from(sorted(found.ids)),
        st.sampled_from([*STEMS, *ENDS, " ", "  ", "\n", "0", "<0x41>", "</s", "<|im_en"]),
        st.text(st.characters(exclude_categories=("Cs",)), max_size=5),
    )
    texts = draw.draw(st.lists(st.lists(parts, max_size=8).map("".join), min_size=5, max_size=10))
    for text in texts:
        new, old = found.encoded(text), found.was(text)
        assert taken_apart(new, found.old_pieces) == old, repr(text)
        decoded = [
            t.decode(i, skip_special_tokens=False)
            for t, i in zip((found.before, found.after), (old, new), strict=True)
        ]
        assert decoded[0] == decoded[1], repr(text)


def test_the_corpus_takes_as_many_ids_as_the_plan_says(found: Grown) -> None:
    (extension,) = found.plan.extensions
    assert (len(found.was(PROSE)), len(found.encoded(PROSE))) == (
        extension.ids_before,
        extension.ids_after,
    )
    assert extension.ids_after < 0.5 * extension.ids_before
    assert (extension.size_bytes, extension.corpus) == (len(PROSE.encode()), "prose.txt")


def test_every_new_piece_makes_itself(found: Grown) -> None:
    model = found.after.model
    pieces = [t for t in found.plan.tokens if t.piece is not None]
    assert len(pieces) == 60
    assert [(t.id, [p.id for p in model.tokenize(t.key)]) for t in pieces] == [
        (t.id, [t.id]) for t in pieces
    ]


def test_no_piece_that_does_not_pay_is_kept(found: Grown) -> None:
    """What stands less than eight times in the corpus is there for others that are made of it."""
    uses = dict.fromkeys((t.id for t in found.plan.tokens if t.piece is not None), 0)
    for token_id in found.encoded(PROSE):
        if token_id in uses:
            uses[token_id] += 1
    made_of = {part for t in found.plan.tokens if t.merge is not None for part in t.merge}
    poor = [t.piece for t in found.plan.tokens if t.id in uses and uses[t.id] < 8]
    assert set(poor) <= made_of
    (extension,) = found.plan.extensions
    assert extension.steps <= len(poor)
    assert extension.least_uses == 8


def test_letters_without_a_piece_get_one_where_bytes_stood_for_them(
    tmp_path: Path,
) -> None:
    base = tiny.build(tmp_path / "base", kind="byte-fallback")
    found = grow(base, tmp_path, extend("x.txt", 3), {"x.txt": "щука ы щи ы щ и\n" * 20})
    learned = [(t.text, t.cut) for t in found.plan.tokens if t.use == "extend"]
    assert learned == [("щ", 0), ("и", 0), ("ы", 0)]  # 80, 40 and 40 ids saved
    assert failing(checks(found)) == []


def test_words_of_a_vocabulary_without_pre_tokenizer_stay_apart(tmp_path: Path) -> None:
    """No piece holds the end of one word and the beginning of the next, or a letter and a sign."""
    base = tiny.build(tmp_path / "base", kind="byte-fallback")
    found = grow(
        base, tmp_path, extend("x.txt", 7), {"x.txt": "the hand, of the land. 12 12\n" * 50}
    )
    pieces = [t.key for t in found.plan.tokens if t.piece is not None]
    assert [p for p in pieces if "▁" in p[1:]] == []
    assert [p for p in pieces if len({c.isalpha() for c in p.lstrip("▁")}) > 1] == []


# ── what it does to files and rows ───────────────────────────────────────────────────────────────


def test_added_tokens_keep_their_ids_and_new_ones_follow_the_last(found: Grown) -> None:
    old, new = found.before.get_vocab(), found.after.get_vocab()
    assert {text: new[text] for text in old} == old
    first = max(old.values()) + 1
    assert sorted(set(new.values()) - set(old.values())) == list(range(first, first + 60))
    assert found.json("tokenizer.json")["model"]["vocab"] == new


def test_old_merges_keep_their_place_and_new_ones_stand_behind(found: Grown) -> None:
    def merges(folder: Path) -> list[str]:
        found = json.loads((folder / "tokenizer.json").read_bytes())["model"]["merges"]
        return [m if isinstance(m, str) else " ".join(m) for m in found]

    old, new = merges(found.base), merges(found.out)
    made = [" ".join(t.merge) for t in found.plan.tokens if t.merge is not None]
    assert new == [*old, *made]


def test_the_older_files_repeat_what_tokenizer_json_says(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", newline="\r\n", merges="pairs")
    found = grow(base, tmp_path, extend("prose.txt", 40), {"prose.txt": PROSE})
    model = found.json("tokenizer.json")["model"]
    assert found.json("vocab.json") == model["vocab"]
    data = (found.out / "merges.txt").read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n")
    lines = data.decode().split("\r\n")
    assert lines[1:-1] == [" ".join(pair) for pair in model["merges"]]
    assert all(isinstance(pair, list) for pair in model["merges"])


def test_spare_rows_come_first_and_matrices_grow_only_past_them(tmp_path: Path) -> None:
    n = tiny.Tiny().n_tokens()
    for rows, after in ((n + 60, n + 60), (n + 10, -(-(n + 60) // 64) * 64)):
        base = tiny.build(tmp_path / f"base-{rows}", n_rows=rows)
        recipe = extend("prose.txt", 60)
        found = grow(base, tmp_path / f"home-{rows}", recipe, {"prose.txt": PROSE})
        edits = found.plan.row_edits()
        assert {name: edit.n_rows_after for name, edit in edits.items()} == {
            EMBED: after,
            HEAD: after,
        }
        assert edits[EMBED].rows[0] == Keep(first=0, count=n)
        assert found.json("config.json")["vocab_size"] == after


def test_rows_start_from_the_old_pieces(found: Grown) -> None:
    tokens = [t for t in found.plan.tokens if t.piece is not None]
    rows = {t.id: row.source for t in tokens for row in t.rows if row.tensor == EMBED}
    parents = {i: sorted(p for p, _ in row.parents) for i, row in rows.items() if row.kind == "mix"}
    assert parents == {i: sorted(set(found.old_pieces[i])) for i in parents}
    # `...` has the same mean as `..`, so it is drawn around it; all others are means.
    drawn = {t.text for t in tokens if t.id not in parents}
    assert drawn <= {"...", "...."}
    assert {t.init for t in tokens} == {"eeve"}


def test_markers_of_the_same_recipe_take_the_first_ids(tmp_path: Path) -> None:
    recipe = extend("prose.txt", 20) + '[[add]]\ntext = "<|x|>"\n[pad]\ntoken = "<|p|>"\n'
    found = grow(tiny.build(tmp_path / "base"), tmp_path, recipe, {"prose.txt": PROSE})
    first = tiny.Tiny().n_tokens()
    vocab = found.json("tokenizer.json")["model"]["vocab"]
    assert (vocab["<|x|>"], vocab["<|p|>"], found.plan.extensions[0].first_id) == (
        first,
        first + 1,
        first + 2,
    )
    assert failing(checks(found)) == []


def test_a_second_corpus_goes_on_where_the_first_left_off(tmp_path: Path) -> None:
    recipe = extend("one.txt", 30) + extend("two.txt", 30)
    corpora = {"one.txt": prose(2_000, 1), "two.txt": prose(2_000, 2)}
    found = grow(tiny.build(tmp_path / "base"), tmp_path, recipe, corpora)
    one, two = found.plan.extensions
    assert (one.count, two.count, two.first_id) == (30, 30, one.first_id + 30)
    assert len({t.key for t in found.plan.tokens}) == len(found.plan.tokens)
    assert len(found.encoded(corpora["two.txt"])) == two.ids_after
    assert failing(checks(found)) == []


# ── plans and their sidecars ─────────────────────────────────────────────────────────────────────


def test_the_plan_with_its_sidecar_is_all_that_apply_needs(tmp_path: Path) -> None:
    """Above the limit the tokens are columns; the corpus is gone; the bytes are the same again."""
    rng = random.Random(5)
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(rng.choices(syllables, k=4)) for _ in range(700)]
    corpus = " ".join(rng.choices(words, k=30_000))
    base = tiny.build(tmp_path / "base")
    n = COLUMNS_ABOVE + 200
    found = grow(base, tmp_path / "home", extend("c.txt", n), {"c.txt": corpus})
    file = read_plan(tmp_path / "home" / "plan.json")
    assert file.sidecar is not None
    assert len(file.text) < 20_000
    assert file.plan.sidecar is not None
    assert file.plan.sidecar.columns == len(file.plan.tokens) == n + len(tiny.QWEN_LIKE)
    made = making.make_plan(str(base), recipe_again(tmp_path, extend("c.txt", n), corpus))
    assert (made.text, made.plan) == (file.text, file.plan)
    making.apply(tmp_path / "home" / "plan.json", base=str(base), out=tmp_path / "again")
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "model.safetensors"):
        assert digest(tmp_path / "again" / name) == digest(found.out / name)
    assert failing(checks(found)) == []


def recipe_again(home: Path, recipe: str, corpus: str) -> Path:
    (home / "home" / "c.txt").write_text(corpus, encoding="utf-8")
    path = home / "home" / "recipe.toml"
    path.write_text(f"version = 1\n{recipe}", encoding="utf-8")
    return path


def test_undo_brings_the_base_back(found: Grown, tmp_path: Path) -> None:
    making.undo(found.out, target=tmp_path / "back")
    before = {p.name: p.read_bytes() for p in found.base.iterdir()}
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "back").iterdir()}


# ── what verify says ─────────────────────────────────────────────────────────────────────────────


def test_verify_proves_ids_pieces_and_old_text(found: Grown) -> None:
    said = checks(found)
    assert failing(said) == []
    assert "60 new pieces of the vocabulary come up as their own id" in said["new-pieces"][1]
    assert "the same once each new piece is taken for the old ids" in said["old-text"][1]
    assert "60 are new" in said["ids"][1]


def spoil(found: Grown, home: Path, change: Any) -> dict[str, tuple[str, str]]:
    """Apply the plan again, damage tokenizer.json, and verify (without the manifest's help)."""
    making.apply(found.out.parent / "plan.json", base=str(found.base), out=home / "out")
    path = home / "out" / "tokenizer.json"
    document = json.loads(path.read_bytes())
    change(document["model"])
    path.write_text(json.dumps(document), encoding="utf-8")
    return checks(Grown(found.base, home / "out"))


def test_verify_names_a_piece_that_never_comes_up(found: Grown, tmp_path: Path) -> None:
    said = spoil(found, tmp_path, lambda model: model["merges"].pop())
    assert said["new-pieces"][0] == "fail"
    assert "1 never come up" in said["new-pieces"][1]


def test_verify_names_text_that_old_merges_no_longer_make(found: Grown, tmp_path: Path) -> None:
    """New merges in front of the old ones: the old pieces are not there any more."""
    said = spoil(found, tmp_path, lambda model: model["merges"].reverse())
    assert said["old-text"][0] == "fail"


def test_verify_names_an_id_that_moved(found: Grown, tmp_path: Path) -> None:
    def exchange(model: dict[str, Any]) -> None:
        (a, one), (b, two) = list(model["vocab"].items())[-2:]
        model["vocab"] |= {a: two, b: one}

    assert spoil(found, tmp_path, exchange)["ids"][0] == "fail"


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────

BAD_CORPORA: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "there is no file"),
    "empty": (b"", "is empty"),
    "not UTF-8": ("вектор ".encode("cp1251") * 50, "is not UTF-8"),
    "cut within a letter": ("вектор".encode()[:-1], "is not UTF-8"),
    "too small": ("один раз".encode(), "gives 0 pieces"),
}


@pytest.mark.parametrize("case", list(BAD_CORPORA))
def test_a_corpus_that_will_not_do_is_named_with_its_place(case: str, tmp_path: Path) -> None:
    data, what = BAD_CORPORA[case]
    corpora = {} if data is None else {"c.txt": data}
    said = refusal(tiny.build(tmp_path / "base"), tmp_path / "home", extend("c.txt", 5), corpora)
    assert what in said
    assert "extend[0]." in said


@pytest.mark.parametrize("case", ["missing", "empty"])
def test_recipe_check_sees_a_bad_corpus_without_a_checkpoint(case: str, tmp_path: Path) -> None:
    from tokengraft.flow import recipes

    data, what = BAD_CORPORA[case]
    if data is not None:
        (tmp_path / "c.txt").write_bytes(data)
    (tmp_path / "r.toml").write_text(f"version = 1\n{extend('c.txt', 5)}", encoding="utf-8")
    (problem,) = recipes.check_recipe(tmp_path / "r.toml", None)
    assert problem.where == "extend[0].corpus"
    assert what in problem.what


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    recipe = extend("a.txt", 5) + extend("b.txt", 5) + extend("c.txt", 9_999)
    corpora = {"b.txt": b"", "c.txt": PROSE}
    said = refusal(tiny.build(tmp_path / "base"), tmp_path / "home", recipe, corpora)
    places = [line.split(":")[0] for line in said.splitlines()[1:]]
    assert places == ["extend[0].corpus", "extend[1].corpus", "extend[2].tokens"]
    assert "9,999 are asked for" in said


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["▁hello", -1.0]]},
            "sum of scores",
        ),
        (
            {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "hello": 1}},
            "longest piece",
        ),
    ],
)
def test_kinds_of_models_without_merges_are_refused(
    model: dict[str, Any], said: str, tmp_path: Path
) -> None:
    files = {"tokenizer.json": {"model": model, "added_tokens": []}, "vocab.json": None}
    base = tiny.build(tmp_path / "base", added=(), files=files)
    (base / "merges.txt").unlink()
    assert said in refusal(base, tmp_path, extend("c.txt", 5), {"c.txt": PROSE})


@pytest.mark.parametrize(
    ("part", "key", "value", "said"),
    [
        ("model", "dropout", 0.1, "dropout = 0.1"),
        ("model", "end_of_word_suffix", "</w>", "end_of_word_suffix"),
        (
            None,
            "pre_tokenizer",
            {
                "type": "ByteLevel",
                "add_prefix_space": False,
                "trim_offsets": True,
                "use_regex": False,
            },
            "does not cut words",
        ),
    ],
)
def test_settings_that_stand_in_the_way_are_named(
    part: str | None, key: str, value: Any, said: str, tmp_path: Path
) -> None:
    base = tiny.build(tmp_path / "base")
    document = json.loads((base / "tokenizer.json").read_bytes())
    (document if part is None else document[part])[key] = value
    (base / "tokenizer.json").write_text(json.dumps(document), encoding="utf-8")
    assert said in refusal(base, tmp_path, extend("c.txt", 5), {"c.txt": PROSE})


def test_a_folder_without_tokenizer_json_is_refused(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", files={"tokenizer.json": None})
    assert "no tokenizer.json" in refusal(base, tmp_path, extend("c.txt", 5), {"c.txt": PROSE})


def test_old_rows_keep_their_bits(found: Grown) -> None:
    n = len(found.before.get_vocab())
    old, new = row_bytes(found.base, EMBED), row_bytes(found.out, EMBED)
    assert new[:n] == old[:n]
    assert len(new) > len(old)
