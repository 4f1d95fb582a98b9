"""stories260K, a small trained model: with tokens added it writes what it wrote before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import grafts
from oracles.asking import ask, remembered, shared
from raw_tensors import Tensor, tensor_bytes, write_weights
from tokengraft.flow import making, proving

pytestmark = pytest.mark.oracle5

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
PROMPTS = ("Once upon a time", "Lily and Tom", "The dog", "")
N = 200
RECIPE = """version = 1
[[add]]
text = "<|narrator|>"
use = "role"
[[add]]
text = "<|think|>"
use = "thinking"
meaning = "a thought that nobody hears"
[[add]]
text = "<tool_start>"
use = "tool"
like = "</s>"
[pad]
token = "<|pad|>"
"""


@pytest.fixture(scope="module")
def home(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tied` as it is published, `spare` with an output matrix and unused rows; both grafted.

    `apart-out` is `tied` with a second matrix, which the recipe asks for.
    """

    def make(folder: Path) -> None:
        published = data / "models" / "stories260K"
        recipe = folder / "recipe.toml"
        recipe.write_text(RECIPE, encoding="utf-8")
        shutil.copytree(published, folder / "tied", copy_function=shutil.copyfile)
        (folder / "tied" / "SOURCE.txt").unlink()
        untie(folder / "tied", folder / "spare")
        for name in ("tied", "spare"):
            making.apply(recipe, base=str(folder / name), out=folder / f"{name}-out")
        wish = ("rows.untie=true",)
        making.apply(recipe, base=str(folder / "tied"), out=folder / "apart-out", overrides=wish)

    return shared(tmp_path_factory, "stories", make)


def untie(source: Path, folder: Path) -> None:
    """The same model with matrices of its own for input and output, 64 rows more in each."""
    folder.mkdir()
    for path in source.glob("*.json"):
        shutil.copyfile(path, folder / path.name)
    config = json.loads((source / "config.json").read_bytes())
    config |= {"tie_word_embeddings": False, "vocab_size": 576}
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    tensors = tensor_bytes(source)
    dtype, (n_rows, width), payload = tensors[EMBED]
    wide: Tensor = (dtype, (n_rows + 64, width), payload + bytes(len(payload) // 8))
    write_weights(folder, {**tensors, EMBED: wide, HEAD: wide}, shards=2)


@pytest.fixture(scope="module")
def written(home: Path, tf5: Path) -> dict[str, Any]:
    """What each of the five models writes, greedily, after each prompt."""
    names = ("tied", "tied-out", "spare", "spare-out", "apart-out")
    jobs = [
        {"do": "greedy", "folder": str(home / name), "prompts": PROMPTS, "n": N} for name in names
    ]
    found = remembered(
        home, "written", lambda: ask(tf5, "ask_models.py", jobs, home=home / "asked")
    )
    return dict(zip(names, found, strict=True))


def test_the_model_writes_sentences_to_begin_with(written: dict[str, Any]) -> None:
    assert "Once upon a time, there was a little" in written["tied"]["texts"][0]
    assert {len(ids) > N for ids in written["tied"]["ids"]} == {True}


@pytest.mark.parametrize("name", ["tied", "spare"])
def test_with_tokens_added_it_writes_the_same_token_for_token(
    name: str, written: dict[str, Any]
) -> None:
    before, after = written[name], written[f"{name}-out"]
    assert before["ids"] == after["ids"]
    assert before["texts"] == after["texts"]
    assert after["rows"] == 576
    assert before["rows"] == (512 if name == "tied" else 576)


def test_with_a_second_matrix_it_writes_the_same_token_for_token(written: dict[str, Any]) -> None:
    before, after = written["tied"], written["apart-out"]
    assert before["ids"] == after["ids"]
    assert (512, 576) == (before["rows"], after["rows"])


def test_two_matrices_stay_apart_through_save_pretrained(
    home: Path, tf5: Path, tmp_path: Path
) -> None:
    job = {
        "do": "apart",
        "base": str(home / "tied"),
        "ours": str(home / "apart-out"),
        "again": str(tmp_path / "again"),
        "old_ids": [[1, 403, 407, 261, 378], [1, *range(3, 200)]],
        "kept": 512,
    }
    (found,) = ask(tf5, "ask_models.py", [job], home=tmp_path / "asked")
    assert {"apart": [True, True], "logits": 0.0, "kept": [True, True]} == found
    saved, ours = tensor_bytes(tmp_path / "again"), tensor_bytes(home / "apart-out")
    assert {EMBED: ours[EMBED], HEAD: ours[HEAD]} == {n: saved[n] for n in (EMBED, HEAD)}


def test_the_tied_matrix_grows_from_512_rows_to_576_and_stays_tied(home: Path) -> None:
    before, after = tensor_bytes(home / "tied"), tensor_bytes(home / "tied-out")
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {EMBED}
    assert after[EMBED][1] == (576, 64)
    assert after[EMBED][2].startswith(before[EMBED][2])
    config = json.loads((home / "tied-out" / "config.json").read_bytes())
    assert config["vocab_size"] == 576
    assert config["tie_word_embeddings"] is True


def test_the_untied_twin_takes_its_spare_rows(home: Path) -> None:
    before, after = tensor_bytes(home / "spare"), tensor_bytes(home / "spare-out")
    assert {name for name in before if before[name] != after[name]} == {EMBED, HEAD}
    for name in (EMBED, HEAD):
        assert before[name][:2] == after[name][:2]
        row = len(before[name][2]) // 576
        assert before[name][2][: 512 * row] == after[name][2][: 512 * row]
        assert before[name][2][516 * row :] == after[name][2][516 * row :]


@pytest.mark.parametrize("name", ["tied", "spare"])
def test_verify_passes_and_undo_gives_the_model_back(name: str, home: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts.txt"
    texts.write_text("Once upon a time\n\nLily <s> saw </s> a dog.\n", encoding="utf-8")
    out, base = home / f"{name}-out", home / name
    verified = proving.verify(out, against=str(base), texts=[texts])
    assert verified.passed
    making.undo(out, target=tmp_path / "back")
    assert grafts.tree(base) == grafts.tree(tmp_path / "back")
