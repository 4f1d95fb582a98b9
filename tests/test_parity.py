"""llama.cpp's tokenizer cases: what a recipe does not touch becomes the reference ids, as before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from grown import Grown, grow
from oracles.asking import ask
from oracles.whole_words import taken_apart
from parity import CORPUS, NOWHERE, THERE, VOCABULARIES, base_of, cases, recipes_for

# One folder and recipe of each kind; tests/slow has all of them.
SOME = (
    ("qwen2.5", "protocol add"),
    ("gpt2", "add"),
    ("starcoder", "all"),
    ("starcoder", "extend"),
)


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Results by folder and recipe, each made once."""
    home = tmp_path_factory.mktemp("parity")
    bases: dict[str, Path] = {}
    results: dict[tuple[str, str], Grown] = {}

    def make(name: str, recipe: str) -> Grown:
        if name not in bases:
            bases[name] = base_of(name, data, home / name / "base")
        if (name, recipe) not in results:
            corpora = {}
            if recipe == "extend":
                texts, _ = cases(data, VOCABULARIES[name])
                corpora = {CORPUS: "\n".join(texts * 10)}
            at = home / name / recipe
            results[name, recipe] = grow(bases[name], at, recipes_for(name)[recipe], corpora)
        return results[name, recipe]

    return make


@pytest.mark.parametrize("name", ["qwen2.5", "gpt2", "starcoder"])
def test_bases_become_the_reference_ids(name: str, data: Path, tmp_path: Path) -> None:
    texts, ids = cases(data, VOCABULARIES[name])
    assert (len(texts), len(ids)) == (47, 47)
    base = base_of(name, data, tmp_path / "base")
    found = Grown(base, base)
    assert ids == [found.was(text) for text in texts]


@pytest.mark.parametrize(("name", "recipe"), SOME)
def test_untouched_text_becomes_the_reference_ids(
    name: str, recipe: str, data: Path, made: Any
) -> None:
    holds(made(name, recipe), recipe, data, VOCABULARIES[name])


def holds(found: Grown, recipe: str, data: Path, vocabulary: str) -> None:
    """Compare every case with its reference, new pieces taken for the old ids they stand for."""
    texts, ids = cases(data, vocabulary)
    assert [t.id for t in found.plan.tokens if t.action != "keep"], "the recipe changed nothing"
    encoded = [found.encoded(text) for text in texts]
    decoded = [found.after.decode(line, skip_special_tokens=False) for line in encoded]
    assert decoded == [found.before.decode(line, skip_special_tokens=False) for line in ids]
    if recipe == "extend":
        assert [taken_apart(line, found.old_pieces) for line in encoded] == ids
        assert sum(map(len, encoded)) < 0.8 * sum(map(len, ids))
    elif recipe == "words there":
        pieces = {found.ids[word]: found.meaning.pieces[word] for word in THERE}
        assert [taken_apart(line, pieces) for line in encoded] == ids
        touched = [text for text, new, old in zip(texts, encoded, ids, strict=True) if new != old]
        # Behind a space other pieces stand for a word that is given without one.
        assert [text for text in texts if stands(text)] == touched
    else:
        assert not any(word in text for word in NOWHERE for text in texts)
        assert encoded == ids


def stands(text: str) -> bool:
    return any(text.startswith(word) or (word[0] == " " and word in text) for word in THERE)


def agrees(
    pairs: Sequence[tuple[str, str]], made: Any, data: Path, python: Path, home: Path
) -> None:
    """Compare what one transformers and its tokenizers make of every case with what ours makes."""
    found = [made(*pair) for pair in pairs]
    texts = [cases(data, VOCABULARIES[name])[0] for name, _ in pairs]
    jobs = [{"folder": str(r.out), "texts": t} for r, t in zip(found, texts, strict=True)]
    for pair, result, job, answer in zip(
        pairs, found, jobs, ask(python, "ask_tokenizers.py", jobs, home=home), strict=True
    ):
        expected = [result.encoded(text) for text in job["texts"]]
        assert answer["raw"]["texts"] == expected, pair
        assert answer["auto"].get("texts") == expected, (pair, answer["auto"].get("error"))
