"""Lengths that other files name, engines' own readings, the recipe's checks, and the audit beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

import rope_configs
import tiny
from test_planning import changes, planned
from test_positions_keys import YARN, checkpoint, stretched
from tokengraft import auditing
from tokengraft.auditing.verdict_settings import _shown
from tokengraft.errors import RecipeError
from tokengraft.flow.recipes import new_recipe
from tokengraft.formats.loading import load
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.positions import stretch, told, usual
from tokengraft.recipes import Context

Json = dict[str, Any]
FOUR_TIMES = "[context]\nlength = 1024\n"


def built(folder: Path, **files: Json) -> Path:
    return tiny.build(folder / "src", files={f"{k}.json": v for k, v in files.items()})


def notes(folder: Path, recipe: str = FOUR_TIMES) -> str:
    return "; ".join(planned(folder, recipe).plan.notes)


# --- other places --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "then"),
    [(256, 1024), (200, 1024), (1024, None), (4096, None), (10**30, None), (None, None)],
)
def test_the_tokenizers_limit_follows_where_it_would_cut(
    limit: int | None, then: int | None, tmp_path: Path
) -> None:
    folder = built(tmp_path, tokenizer_config={"model_max_length": limit})
    found = changes(planned(folder, FOUR_TIMES).plan, "tokenizer_config.json")
    assert found.get("/model_max_length") == then


def test_the_tokenizers_limit_comes_down_with_the_length_that_it_repeats(tmp_path: Path) -> None:
    scaled = {"max_position_embeddings": 1024}
    scaled["rope_scaling"] = {**YARN, "original_max_position_embeddings": 256}  # type: ignore[assignment]
    folder = built(tmp_path, config=scaled, tokenizer_config={"model_max_length": 1024})
    made = planned(folder, "[context]\nlength = 512\n").plan
    assert changes(made, "tokenizer_config.json") == {"/model_max_length": 512}


@pytest.mark.parametrize(
    ("pinned", "then", "said"),
    [(256, 1024, ""), (20, None, "keeps max_length 20: generate() stops there"), (5000, None, "")],
)
def test_a_pinned_length_of_generation_follows(
    pinned: int, then: int | None, said: str, tmp_path: Path
) -> None:
    folder = built(tmp_path, generation_config={"max_length": pinned})
    made = planned(folder, FOUR_TIMES).plan
    assert changes(made, "generation_config.json").get("/max_length") == then
    assert said in "; ".join(made.notes)
    assert ("keeps max_length" in "; ".join(made.notes)) is bool(said)


def test_every_key_that_names_the_length_is_raised(tmp_path: Path) -> None:
    """vLLM takes the least of them."""
    folder = built(
        tmp_path, config={"seq_length": 256, "n_positions": 128, "model_max_length": 9999}
    )
    found = changes(planned(folder, FOUR_TIMES).plan, "config.json")
    assert (found["/seq_length"], found["/n_positions"]) == (1024, 1024)
    assert "/model_max_length" not in found


@pytest.mark.parametrize(
    ("window", "said"),
    [
        ({"sliding_window": 128}, "attention looks back 128 tokens only (sliding_window)"),
        ({"sliding_window": 128, "use_sliding_window": False}, ""),
        ({"sliding_window": 4096}, ""),
        ({"sliding_window": None}, ""),
    ],
)
def test_a_window_shorter_than_the_context_is_named(
    window: Json, said: str, tmp_path: Path
) -> None:
    told_now = notes(built(tmp_path, config=window))
    assert said in told_now
    assert ("sliding_window" in told_now) is bool(said)


# --- what programs make of it --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "method", "said"),
    [
        (
            "qwen3",
            "linear",
            "llama.cpp's server stops at 32768 tokens unless it is told --override-kv ARCH.context_length=",
        ),
        ("qwen3", "dynamic", "vLLM raises its limit and scales nothing"),
        ("qwen3", "dynamic", "llama.cpp's converter leaves dynamic scaling out"),
        ("qwen3", "dynamic", "mlx-lm stops at dynamic scaling"),
        ("qwen3", "llama3", "writes no llama3 scaling for qwen3 models"),
        ("qwen3", "longrope", "writes no lists of factors for qwen3 models"),
        ("qwen3", "longrope", "mlx-lm divides by the long list in short texts too"),
        ("phi (0.4)", "yarn", "llama.cpp's converter writes no scaling for phi models"),
    ],
)
def test_a_program_that_does_not_read_it_is_named(
    name: str, method: str, said: str, tmp_path: Path
) -> None:
    config = rope_configs.OLDER[name]
    found = stretched(tmp_path, config, length=131072, method=method)
    assert said in "; ".join(told(load(tmp_path / "src"), found))


@pytest.mark.parametrize(("name", "method"), [("qwen3", "yarn"), ("llama", "llama3")])
def test_a_program_that_reads_it_is_not_named(name: str, method: str, tmp_path: Path) -> None:
    found = stretched(tmp_path, rope_configs.OLDER[name], length=131072, method=method)
    said = "; ".join(told(load(tmp_path / "src"), found))
    assert all(program not in said for program in ("vLLM", "llama.cpp", "mlx"))


def test_dynamic_scaling_is_said_to_leave_short_texts_alone(tmp_path: Path) -> None:
    said = notes(tiny.build(tmp_path / "src"), FOUR_TIMES + 'method = "dynamic"\n')
    assert "texts of up to 256 tokens are read as before" in said
    assert "static" not in said


def test_unknown_positions_are_called_unknown(tmp_path: Path) -> None:
    said = notes(built(tmp_path, config={"head_dim": "wide"}))
    assert "what becomes of its positions is unknown: config.json does not say head_dim" in said


# --- the recipe ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('method = "longrope"\nshort_factor = [1.0]\n', "are given together or not at all"),
        ("short_factor = [1.0]\nlong_factor = [2.0]\n", "belong to longrope, not to yarn"),
        ('method = "longrope"\nshort_factor = [0.0]\nlong_factor = [2.0]\n', "greater than 0"),
        ('method = "longrope"\nshort_factor = []\nlong_factor = []\n', "at least 1 item"),
    ],
)
def test_lists_of_factors_are_checked_where_the_recipe_is_read(keys: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe("version = 1\n[context]\nlength = 5\n" + keys)
    assert said in caught.value.detail
    assert "context" in caught.value.detail


# --- the audit and the preset say what a plan does -----------------------------------------------

CONFIGS = (
    *rope_configs.OLDER.values(),
    *rope_configs.NEWER.values(),
    {"model_type": "qwen3", "max_position_embeddings": 40960, "hidden_size": 64},
)


def verdict(folder: Path) -> auditing.Verdict:  # type: ignore[name-defined]
    return auditing.audit(load(folder), goal="context", source="SRC")


@with_settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    config=st.sampled_from(CONFIGS),
    limit=st.sampled_from((None, 100, 32768, 10**9)),
    pinned=st.sampled_from((None, 20, 32768)),
)
def test_the_verdict_names_the_keys_that_a_plan_of_the_preset_sets(
    config: Json, limit: int | None, pinned: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("agree")
    tiny.build(folder, shards=0, files={"tokenizer_config.json": {"model_max_length": limit}})
    text = json.dumps(config).replace('"vocab_size": 64', '"vocab_size": 384')
    (folder / "config.json").write_text(text, encoding="utf-8")
    value = {} if pinned is None else {"max_length": pinned}
    (folder / "generation_config.json").write_text(json.dumps(value), encoding="utf-8")
    found = verdict(folder)
    assert found.verdict == "safe-change"
    (named,) = (reason for reason in found.reasons if "a plan sets: " in reason)
    text = new_recipe(str(folder), ["context"])
    wish, _ = parse_recipe(text)
    assert wish.context == usual(load(folder))
    recipe = text.partition("\n[context]")[2]
    made = planned(folder, "[context]" + recipe).plan
    files = ("config.json", "tokenizer_config.json", "generation_config.json")
    words = ("rope", "rotary", "max_length", "max_position", "head_dim")
    set_ = {
        f"{file}#{pointer} = {_shown(value)}"  # type: ignore[arg-type]
        for file in files
        for pointer, value in changes(made, file).items()
        if any(word in pointer for word in words)
    }
    assert set_
    listed = named.partition("a plan sets: ")[2].removesuffix(". No weight changes.")
    assert set(listed.split("; ")) == set_


@pytest.mark.parametrize(
    ("config", "answer", "said"),
    [
        ({"rope_scaling": {**YARN, "original_max_position_embeddings": 64}}, "leave-as-is", "yarn"),
        ({"model_type": "gptj", "n_positions": 256}, "do-not", "read no scaling of positions"),
        ({"rope_scaling": {"rope_type": "proportional"}}, "leave-as-is", "proportional"),
    ],
)
def test_the_verdict_where_no_plan_is_proposed(
    config: Json, answer: str, said: str, tmp_path: Path
) -> None:
    folder = built(tmp_path, config=config)
    found = verdict(folder)
    assert found.verdict == answer
    assert said in found.reasons[0]
    written = new_recipe(str(folder), ["context"])
    assert "[context]\n" not in written
    assert said in written


def test_the_preset_where_nothing_says_a_length(tmp_path: Path) -> None:
    folder = built(tmp_path, config={"max_position_embeddings": tiny.DROP})
    assert "cannot be lengthened by a recipe: no config.json" in new_recipe(
        str(folder), ["context"]
    )


def test_a_plan_with_another_stretch_is_checked_before_any_file_is_read_twice(
    tmp_path: Path,
) -> None:
    """`stretch` never changes what it was given."""
    found = checkpoint(tmp_path, rope_configs.NEWER["gemma3 (nested)"])
    before = json.dumps(found.value("config.json"))
    stretch(found, Context(length=131072))
    assert json.dumps(found.value("config.json")) == before
