"""Real tokenizers are trimmed, and a trained model says what it said before."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

import renumbered
from oracles.asking import ask
from raw_tensors import encode, write_safetensors
from renumbering import gone
from tokengraft.flow import making, proving

pytestmark = pytest.mark.slow

NAMES = ("qwen2.5", "gpt2", "minimind", "phi-2", "roberta")
WIDTH = 2  # of the rows: what the rows hold does not matter here
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": {"model_type": "gpt2"},
    "roberta": {"model_type": "llama"},  # no family file names RoBERTa's matrices
    "phi-2": {"model_type": "qwen2"},
}


def folder_of(data: Path, name: str, folder: Path) -> Path:
    """The published small files beside matrices of as many rows."""
    folder.mkdir()
    for path in (data / "tokenizers" / name).iterdir():
        if path.is_file() and path.name != "SOURCE.txt":
            shutil.copyfile(path, folder / path.name)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    n_rows = -(-tokenizer.get_vocab_size() // 64) * 64
    config = {"model_type": "qwen2", "vocab_size": n_rows, "tie_word_embeddings": False}
    config |= CONFIGS.get(name, {})
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    dice = np.random.default_rng(0)
    names = ["model.embed_tokens.weight", "lm_head.weight"]
    if name == "gpt2":
        names = ["wte.weight"]
    tensors = {
        tensor: ("BF16", (n_rows, WIDTH), encode(dice.normal(size=(n_rows, WIDTH)), "BF16"))
        for tensor in names
    }
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def in_step(source: Path) -> Path:
    """The folder after an empty recipe, if its files disagree."""
    recipe = source.parent / "empty.toml"
    recipe.write_text("version = 1\n", encoding="utf-8")
    made = making.make_plan(str(source), recipe)
    if not made.plan.changes_anything:
        return source
    making.apply_planned(made, out=source.parent / "step")
    return source.parent / "step"


@pytest.mark.oracle4
@pytest.mark.oracle5
@pytest.mark.parametrize("name", NAMES)
def test_a_real_vocabulary_is_trimmed_to_a_corpus(
    name: str, data: Path, tmp_path: Path, tf4: Path, tf5: Path
) -> None:
    source = in_step(folder_of(data, name, tmp_path / "src"))
    corpus = (data / "text" / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    (tmp_path / "corpus.txt").write_text(corpus, encoding="utf-8")
    recipe = tmp_path / "trim.toml"
    recipe.write_text(
        'version = 1\n[trim]\ncorpus = "corpus.txt"\nunused_added = true\nrenumber = true\n',
        encoding="utf-8",
    )
    made = making.make_plan(str(source), recipe)
    out = tmp_path / "out"
    making.apply_planned(made, out=out)
    removed, _ = gone(made.plan)
    before, after = (Tokenizer.from_file(str(f / "tokenizer.json")) for f in (source, out))
    moved = renumbered.id_map(before.get_vocab_size(), removed)
    kept = [before.decode([i], skip_special_tokens=False) for i in moved]
    dice = random.Random(name)
    lines = corpus.splitlines()
    mixed = ["".join(dice.choices(kept, k=12)) for _ in range(20_000)]
    cut = [line[dice.randrange(len(line) + 1) :] for line in lines]
    met = 0
    added = [token.text for token in made.plan.tokens if token.piece is None]
    for text in (*lines, *cut, *mixed):
        old, new = (t.encode(text, add_special_tokens=False).ids for t in (before, after))
        if removed & set(old) or any(token in text for token in added):
            continue
        met += 1
        assert [moved[i] for i in old] == new, text
        assert before.decode(old) == after.decode(new)
    assert met > len(lines)  # every line, and many that nobody wrote
    wanted = {t: moved[i] for t, i in before.get_vocab().items() if i not in removed}
    jobs = [{"folder": str(f), "texts": lines[:200], "table": True} for f in (source, out)]
    for python, major in ((tf4, "four"), (tf5, "five")):
        base, answer = ask(python, "ask_tokenizers.py", jobs, home=tmp_path / major)
        assert wanted == answer["auto"]["table"], major
        assert [[moved[i] for i in ids] for ids in base["auto"]["texts"]] == answer["auto"]["texts"]
    making.undo(out, target=tmp_path / "back")
    for path in source.iterdir():
        if path.is_file() and path.name != "MANIFEST.sha256":
            assert path.read_bytes() == (tmp_path / "back" / path.name).read_bytes()
    print(name, made.plan.renumbering.removed if made.plan.renumbering else 0, met)  # noqa: T201


@pytest.mark.parametrize("shrink", ["true", "false"])
def test_a_trained_model_says_the_same_up_to_the_map(
    shrink: str, data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    source = tmp_path / "src"
    shutil.copytree(data / "models" / "stories260K", source, copy_function=shutil.copyfile)
    (source / "SOURCE.txt").unlink()
    source = in_step(source)
    text = (data / "text" / "tinystories" / "tinystories_sample.txt").read_text(encoding="utf-8")
    (tmp_path / "corpus.txt").write_text(text[:30_000], encoding="utf-8")
    recipe = tmp_path / "trim.toml"
    recipe.write_text(
        f'version = 1\n[trim]\ncorpus = "corpus.txt"\nrenumber = true\nshrink = {shrink}\n',
        encoding="utf-8",
    )
    made = making.make_plan(str(source), recipe)
    making.apply_planned(made, out=tmp_path / "out")
    assert made.plan.renumbering is not None
    assert made.plan.renumbering.removed > 10
    texts = tmp_path / "texts.txt"
    texts.write_text(text[:60_000], encoding="utf-8")
    verification = proving.verify(tmp_path / "out", against=str(source), deep=True, texts=texts)
    checks = {check.name: check for check in verification.checks}
    assert verification.passed, [c for c in verification.checks if c.status == "fail"]
    assert checks["logits"].status == "pass", checks["logits"]
    print(made.plan.renumbering.removed, checks["logits"].evidence)  # noqa: T201
