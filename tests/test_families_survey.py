"""Families against a survey of 374 model classes of transformers 5.23: is each found whole?"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from test_families import index, parts, trunk
from tokengraft.families import families, family_of, find_layout
from tokengraft.layout import EmbeddingLayout, Family


@cache
def survey() -> dict[str, Any]:
    path = Path(__file__).with_name("families_survey.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def right(
    entry: Mapping[str, Any], family: Family, *, aliases: bool
) -> tuple[bool, EmbeddingLayout]:
    """Whether exactly the vocabulary tensors of a surveyed class are found, each in its part."""
    left_out = () if aliases else entry["aliases"]
    tensors = {name: fact for name, fact in entry["tensors"].items() if name not in left_out}
    width = next(fact[-1] for fact in tensors.values() if len(fact) == 3 and fact[1] > 2)
    width = width if width < survey()["n_rows"] else 384
    config: dict[str, Any] = {"vocab_size": survey()["n_rows"], "hidden_size": width}
    if entry["tied"] is not None:
        config["tie_word_embeddings"] = entry["tied"]
    if entry["model_type"] == "molmo2":
        config["additional_vocab_size"] = 128
    shapes = {name: fact[1:] for name, fact in tensors.items()}
    layout = find_layout(family, config=config, tensors=index({**trunk(width), **shapes}))
    return parts(layout) == {name: fact[0] for name, fact in tensors.items()}, layout


def test_the_survey_is_whole() -> None:
    told = survey()
    assert len(told["classes"]) + len(told["silent"]) + len(told["failed"]) == 374


@pytest.mark.parametrize("aliases", [True, False])
def test_family_files_find_exactly_the_vocabulary_tensors_of_the_survey(aliases: bool) -> None:
    covered = [e for e in survey()["classes"] if family_of(e["model_type"]).name != "generic"]
    wrong = []
    for entry in covered:
        found, layout = right(entry, family_of(entry["model_type"]), aliases=aliases)
        if not found or layout.certainty != "family":
            wrong.append(entry["model_type"])
    assert wrong == []
    assert len(covered) == 95


def test_family_defaults_of_ties_are_those_of_the_survey() -> None:
    for entry in survey()["classes"]:
        family = family_of(entry["model_type"])
        if family.name != "generic" and entry["tied"] is not None:
            assert (family.tied_default, entry["model_type"]) == (
                entry["tied"],
                entry["model_type"],
            )


@pytest.mark.parametrize("aliases", [True, False])
def test_the_generic_family_counts_what_it_gets_right(aliases: bool) -> None:
    count: Counter[str] = Counter()
    for entry in survey()["classes"]:
        found, layout = right(entry, families()["generic"], aliases=aliases)
        sure = any("almost certain" in doubt for doubt in layout.doubts)
        count["right" if found else "wrong"] += 1
        count[f"{'right' if found else 'wrong'} and almost certain"] += sure
        assert layout.doubts, "the generic family never speaks without a doubt"
    print(f"\ngeneric family, {'all' if aliases else 'tied'} tensors on disk: {dict(count)}")  # noqa: T201  # the figure itself
    assert count["wrong and almost certain"] == 0, "a wrong answer must not call itself certain"
    assert (count["right"], count["wrong"]) == (318, 0)
