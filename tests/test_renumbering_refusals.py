"""What is not removed, each with its reason and the way out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from renumbering import CORPUS, KINDS, ONE, SPARE, grafted, planned
from tiny import Tiny
from tiny_kinds import EIGHT
from tokengraft.errors import ConflictingFiles, RecipeError, RefusedError, UnsupportedFormat
from tokengraft.flow.library import AskedLibrary
from tokengraft.flow.recipes import check_recipe
from tokengraft.formats.loading import load
from tokengraft.planning.renumbering.trying import try_renumbered


def refusal(source: Path, recipe: str, corpus: str = CORPUS) -> str:
    with pytest.raises(RecipeError) as refused:
        planned(source, recipe, corpus)
    return refused.value.detail


def test_consent_is_asked_for_and_says_what_breaks(tmp_path: Path) -> None:
    source = KINDS["bpe"].build(tmp_path / "src")
    said = refusal(source, '[[remove]]\ntext = "<|spare_a|>"\n\n[trim]\nunused_added = true\n')
    assert said.startswith("remove[0].renumber: is needed, since ids above each removed token move")
    assert "adapters" in said
    assert "GGUF" in said
    assert "[[rename]]" in said
    assert "trim.renumber: is needed" in said


@pytest.mark.parametrize(
    "section",
    ['[[add]]\ntext = "<|x|>"\n', '[[rename]]\nfrom = "<think>"\nto = "<t>"\n', "[pad]\n"],
)
def test_nothing_else_is_planned_with_it(section: str, tmp_path: Path) -> None:
    source = KINDS["bpe"].build(tmp_path / "src")
    assert "cannot be planned together with [[remove]]" in refusal(source, ONE + section)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        ('text = "<|im_end|>"', "is used: config.json#/eos_token_id"),
        ('text = "<think>"', "is used: tokenizer_config.json#/chat_template"),
        ('text = "<nowhere>"', "no token is '<nowhere>'"),
        ("id = 4000", "no token is id 4000"),
        ('text = "a"', "text is spelled in it"),
        ('text = "Ġt"', "is made from it"),
    ],
)
def test_what_cannot_go_is_refused_with_its_reason(wish: str, why: str, tmp_path: Path) -> None:
    source = KINDS["bpe"].build(tmp_path / "src")
    said = refusal(source, f"[[remove]]\n{wish}\nrenumber = true\n")
    assert why in said
    assert said.startswith("remove[0]: ")


def test_what_a_class_names_by_itself_stays(tmp_path: Path) -> None:
    """transformers would make it anew behind all other tokens."""
    source = Tiny(added=(*SPARE, "<mask>")).build(tmp_path / "src")
    said = refusal(source, '[[remove]]\ntext = "<mask>"\nrenumber = true\n')
    assert "is used: tokenizer_config.json#/tokenizer_class" in said
    plan = planned(source, "[trim]\nunused_added = true\nrenumber = true\n").plan
    assert [token.text for token in plan.tokens] == ["<|spare_a|>", "<|spare_b|>"]


def test_a_wordpiece_vocabulary_is_not_trimmed(tmp_path: Path) -> None:
    source = KINDS["wordpiece-sharded"].build(tmp_path / "src")
    said = refusal(source, '[trim]\ncorpus = "corpus.txt"\nrenumber = true\n')
    assert "a word that was unknown may become other pieces" in said
    said = refusal(source, '[[remove]]\ntext = "hello"\nrenumber = true\n')
    assert "a word that was unknown may become other pieces" in said


def test_the_piece_on_which_unknown_text_hangs_stays(tmp_path: Path) -> None:
    source = KINDS["unigram-unpadded"].build(tmp_path / "src")
    path = source / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    for entry in tokenizer["model"]["vocab"]:
        if entry[0] == "hello":
            entry[1] = -50.0
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    said = refusal(source, '[[remove]]\ntext = "hello"\nrenumber = true\n')
    assert "'hello' cannot go: no other piece has its score" in said


@pytest.mark.parametrize(
    ("corpus", "recipe", "why"),
    [
        ("", "corpus = 'corpus.txt'", "is empty"),
        (CORPUS, "corpus = 'nowhere.txt'", "there is no file"),
        (CORPUS, "unused_added = true", "nothing can go"),
    ],
)
def test_a_trim_that_cannot_be_is_refused(
    corpus: str, recipe: str, why: str, tmp_path: Path
) -> None:
    source = EIGHT["bpe"].build(tmp_path / "src")
    assert why in refusal(source, f"[trim]\n{recipe}\nrenumber = true\n", corpus)


@pytest.mark.parametrize(
    "name", ["model.gguf", "pytorch_model.bin", "tekken.json", "original/tokenizer.model"]
)
def test_a_folder_with_other_vocabularies_or_weights_is_refused(name: str, tmp_path: Path) -> None:
    source = KINDS["bpe"].build(tmp_path / "src")
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_bytes(b"x")
    with pytest.raises(UnsupportedFormat, match="holds ids or rows in a form"):
        planned(source, ONE)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    source = replace(KINDS["bpe"], shards=0).build(tmp_path / "src")
    with pytest.raises(RefusedError, match="no weights, and rows move"):
        planned(source, ONE)


def test_files_that_disagree_are_put_into_step_first(tmp_path: Path) -> None:
    source = replace(KINDS["bpe"], out_of_step=True).build(tmp_path / "src")
    with pytest.raises(ConflictingFiles, match="the files of the base disagree") as refused:
        planned(source, ONE)
    assert "version = 1" in refused.value.hint


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"im_patch_token": 290}, "nothing says whether a number under this key is an id"),
        ({"audio_config": {"pad_token_id": 290}}, "a vocabulary of its own"),
    ],
)
def test_a_number_that_may_be_an_id_is_not_guessed(
    config: dict[str, Any], why: str, tmp_path: Path
) -> None:
    source = replace(KINDS["bpe"], files={"config.json": config}).build(tmp_path / "src")
    assert why in refusal(source, ONE)


def test_a_tensor_whose_rows_cannot_move_is_refused(tmp_path: Path) -> None:
    class Odd(Tiny):
        def _tensors(self) -> Any:
            n_rows = self.rows()
            return {**super()._tensors(), "model.tid2eid": ("F32", (n_rows, 2), bytes(8 * n_rows))}

    source = Odd(added=SPARE).build(tmp_path / "src")
    with pytest.raises(UnsupportedFormat, match="its rows cannot be moved"):
        planned(source, ONE)


def test_a_model_that_no_family_file_names_is_refused(tmp_path: Path) -> None:
    files: dict[str, Any] = {"config.json": {"model_type": "nobodys"}}
    source = replace(KINDS["bpe"], files=files).build(tmp_path / "src")
    with pytest.raises(UnsupportedFormat, match="no family file names the matrices"):
        planned(source, ONE)


def test_a_recipe_alone_is_checked_for_consent_and_corpus(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('version = 1\n[trim]\ncorpus = "nowhere.txt"\n', encoding="utf-8")
    where = [problem.where for problem in check_recipe(path, None)]
    assert where == ["trim.renumber", "trim.corpus"]


def test_the_library_has_the_last_word(tmp_path: Path) -> None:
    """What planning writes is accepted; with one merge too few, the text that shows it is named."""
    source = KINDS["bpe"].build(tmp_path / "src")
    out, plan = grafted(source, ONE)
    checkpoint = load(source)
    assert checkpoint.tokenizer is not None
    written = (out / "tokenizer.json").read_bytes()
    tokenizer = json.loads(written)
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:-1]
    with AskedLibrary((source / "tokenizer.json").read_bytes()) as library:
        try_renumbered(checkpoint.tokenizer, plan.tokens, library, written)
        with pytest.raises(ConflictingFiles, match="would be encoded otherwise"):
            try_renumbered(
                checkpoint.tokenizer, plan.tokens, library, json.dumps(tokenizer).encode()
            )
