"""Where transformers' own path is wrong, shown on it and on ours; docs/explanation tells why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from oracles.asking import ask, shared
from raw_tensors import row_bytes
from tiny import Tiny, build
from tokengraft.errors import RecipeError
from tokengraft.flow import making

pytestmark = [pytest.mark.oracle4, pytest.mark.oracle5]

THETA = {"config.json": {"rope_theta": 1_000_000.0}}
N = Tiny().n_tokens()
EIGHT_MORE = "".join(f'[[add]]\ntext = "<|more{at}|>"\n' for at in range(8))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def make(folder: Path) -> None:
        build(folder / "padded", files=THETA)
        build(folder / "full", n_rows=N)

    return shared(tmp_path_factory, "wrongs", make)


@pytest.fixture(scope="module")
def theirs(home: Path, tf5: Path) -> dict[str, Any]:
    """What came of the tutorial, and the folder that it saved."""
    job = {name: str(home / name) for name in ("padded", "full", "out")}
    return ask(tf5, "ask_wrongs.py", [job], home=home / "asked")[0]


def ours(home: Path, recipe: str, tmp_path: Path, base: str = "padded") -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(f"version = 1\n{recipe}", encoding="utf-8")
    making.apply(path, base=str(home / base), out=tmp_path / "out")
    return tmp_path / "out"


def config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return found


def test_resizing_to_the_tokenizer_drops_rows(
    home: Path, theirs: dict[str, Any], tmp_path: Path
) -> None:
    assert config(home / "padded")["vocab_size"] == 320
    assert theirs["rows"] == N + 1
    assert config(ours(home, '[[add]]\ntext = "<|x|>"\n', tmp_path))["vocab_size"] == 320


def test_what_version_5_saves_version_4_cannot_load(
    home: Path, theirs: dict[str, Any], tf4: Path, tmp_path: Path
) -> None:
    assert theirs
    mine = ours(home, '[[add]]\ntext = "<|x|>"\n', tmp_path)
    jobs = [{"folder": str(home / "out")}, {"folder": str(mine), "tokens": ["<|x|>"]}]
    saved, good = ask(tf4, "ask_tokenizers.py", jobs, home=tmp_path / "asked")
    assert saved["auto"] == {"error": "AttributeError: 'list' object has no attribute 'keys'"}
    assert good["auto"]["ids"] == {"<|x|>": N}
    # It loads, and positions turn a hundred times faster: the model writes nonsense.
    assert saved["config"]["theta"] == 10_000.0
    assert good["config"]["theta"] == 1_000_000.0


def test_a_token_added_as_text_is_matched_in_normalised_text(
    home: Path, theirs: dict[str, Any], tmp_path: Path
) -> None:
    assert theirs["normalized"] is True
    added = config(ours(home, '[[add]]\ntext = "<plain>"\nuse = "tool"\n', tmp_path),
                   "tokenizer.json")["added_tokens"][-1]  # fmt: skip
    assert (added["content"], added["normalized"], added["special"]) == ("<plain>", False, False)


def test_a_token_that_cannot_be_decoded_is_taken(
    home: Path, theirs: dict[str, Any], tmp_path: Path
) -> None:
    assert theirs["decoded"] == "<caf\ufffd>"
    with pytest.raises(RecipeError, match="problem") as caught:
        ours(home, '[[add]]\ntext = "<café>"\n', tmp_path)
    assert "would decode to something else" in caught.value.detail


def test_one_more_special_token_takes_the_others_off_the_list(
    home: Path, theirs: dict[str, Any], tmp_path: Path
) -> None:
    before, after = theirs["special"]
    assert "<|im_start|>" in before
    assert "<|im_start|>" not in after
    listed = config(ours(home, '[[add]]\ntext = "<|y|>"\n', tmp_path), "tokenizer_config.json")
    assert listed["additional_special_tokens"] == ["<|im_start|>", "<|im_end|>", "<|y|>"]


def test_new_rows_of_the_default_resize_are_the_same_row(
    home: Path, theirs: dict[str, Any], tmp_path: Path
) -> None:
    assert theirs["distinct"] < 8
    rows = row_bytes(ours(home, EIGHT_MORE, tmp_path, "full"), "model.embed_tokens.weight")
    assert len(set(rows[N : N + 8])) == 8
