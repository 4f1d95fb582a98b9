"""The whole way on small checkpoints of every shape: audit, plan, apply, verify, undo."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

import grafts
from raw_tensors import row_bytes, tensor_bytes
from tiny import DROP, QWEN_LIKE, Added, Tiny, build
from tokengraft.errors import StalePlan, TargetExists, TokengraftError, UnsupportedFormat
from tokengraft.flow import making, proving

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
AXES: dict[str, tuple[Any, ...]] = {
    "kind": ("bpe", "bpe", "byte-fallback"),
    "tied": (False, True),
    "dtype": ("BF16", "F16", "F32"),
    "shards": (1, 2, 0),
    "legacy": (False, True),
    "template": ("config", "jinja", "both", False),
    "out_of_step": (False, True),
    "base": (True, False),
    "merges": ("strings", "pairs"),
    "indent": (2, 1, None, "\t"),
    "newline": ("\n", "\r\n"),
    "ascii_only": (False, True),
    "final_newline": (True, False),
}
RECIPE = """version = 1
[[add]]
text = "<|мысль|>"
use = "role"
meaning = "hello world"
[[add]]
text = "<tool_start>"
use = "tool"
like = "<think>"
[[add]]
text = "<|recursion|>"
use = "thinking"
init = "zero"
[[rename]]
from = "<|im_end|>"
to = "<|end|>"
[pad]
token = "auto"
[context]
length = 1024
"""
NEW = ("<|мысль|>", "<tool_start>", "<|recursion|>")
TEXTS = (
    "hello world\n\nпривет, тест\t<|im_start|>user\n<think>  the end</think>\r\n🤖 e\u0301 \u00e9\n"
)


def cases(count: int) -> list[dict[str, Any]]:
    """Checkpoints in which each value of each axis, and each pair of values, comes up."""
    random = Random(20)
    pool = [{axis: random.choice(values) for axis, values in AXES.items()} for _ in range(400)]
    chosen: list[dict[str, Any]] = []
    seen: set[Any] = set()
    while len(chosen) < count:
        best = max(pool, key=lambda case: len(pairs(case) - seen))
        chosen.append(best)
        seen |= pairs(best)
    return chosen


def pairs(case: Mapping[str, Any]) -> set[Any]:
    return set(itertools.combinations(sorted((k, str(v)) for k, v in case.items()), 2))


CASES = cases(26)
IDS = [
    "-".join(str(case[axis]) for axis in ("kind", "tied", "dtype", "shards", "template"))
    for case in CASES
]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8")
    (tmp_path / "texts.txt").write_text(TEXTS, encoding="utf-8")
    return path


def assert_proved(out: Path, base: Path | None) -> None:
    """Every check passes or says why it was not run."""
    against = None if base is None else str(base)
    verified = proving.verify(out, against=against, texts=[out.parent / "texts.txt"])
    unproved = {c.name: c.evidence for c in verified.checks if c.status in ("fail", "unknown")}
    assert {} == unproved
    assert verified.passed


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_shape_of_checkpoint_is_grafted_proved_and_given_back(
    case: dict[str, Any], recipe: Path, tmp_path: Path
) -> None:
    base, out = build(tmp_path / "base", **case), tmp_path / "out"
    before = grafts.tree(base)
    making.audit(str(base))
    planned = making.make_plan(str(base), recipe)
    making.apply_planned(planned, out=out)
    assert planned.plan.predicted == making.audit(str(out)).findings
    assert {f.rule for f in planned.plan.predicted if f.severity == "error"} == set()
    assert_proved(out, None)
    assert_proved(out, base)
    assert_rows(base, out, Tiny(**case))
    making.undo(out, target=tmp_path / "back")
    assert before == grafts.tree(tmp_path / "back")
    assert before == grafts.tree(base)


def assert_rows(base: Path, out: Path, shape: Tiny) -> None:
    """By hand: old rows and other tensors keep their bits, new rows are there, ids are in order."""
    ours = json.loads((out / "tokenizer.json").read_bytes())
    table = {entry["content"]: entry["id"] for entry in ours["added_tokens"]}
    n_old = shape.n_tokens()
    assert [table[text] for text in NEW] == [n_old, n_old + 1, n_old + 2]
    assert "<|im_end|>" not in table
    before, after = tensor_bytes(base), tensor_bytes(out)
    assert before.keys() == after.keys()
    for name in before:
        if name not in (EMBED, HEAD):
            assert before[name] == after[name]
            continue
        old, new = row_bytes(base, name), row_bytes(out, name)
        assert old[:n_old] == new[:n_old]
        like = next(i for i, t in shape.table().items() if t.content == "<think>")
        assert new[n_old + 1] == old[like]
        assert not any(new[n_old + 2])
        config = json.loads((out / "config.json").read_bytes())
        assert len(new) == config["vocab_size"] >= len(old)


@pytest.mark.parametrize("case", [{"indent": 1, "newline": "\r\n"}, {"ascii_only": True}, {}])
def test_files_keep_their_style(case: dict[str, Any], recipe: Path, tmp_path: Path) -> None:
    base = build(tmp_path / "base", legacy=True, **case)
    making.apply(recipe, base=str(base), out=tmp_path / "out")
    for path in sorted((tmp_path / "out").glob("*.json")):
        raw = path.read_bytes()
        if case.get("newline") == "\r\n":
            assert raw.count(b"\n") == raw.count(b"\r\n") > 0
        if case.get("ascii_only") and rb"\u" in (base / path.name).read_bytes():
            assert raw.isascii()  # a file of plain ASCII does not say how it would write others
        assert raw.endswith(b"\n")


def test_two_grafts_one_on_the_other_are_undone_one_after_the_other(
    recipe: Path, tmp_path: Path
) -> None:
    base, one, two = build(tmp_path / "base", shards=2), tmp_path / "one", tmp_path / "two"
    making.apply(recipe, base=str(base), out=one)
    adds = "".join(f'[[add]]\ntext = "<|more{n}|>"\n' for n in range(80))
    second = tmp_path / "second.toml"
    second.write_text(f"version = 1\n{adds}", encoding="utf-8")
    planned = making.make_plan(str(one), second)
    making.apply_planned(planned, out=two)
    assert_proved(two, one)
    n_rows = planned.plan.row_edits()[HEAD].n_rows_after
    assert len(row_bytes(two, HEAD)) == n_rows == len(row_bytes(one, HEAD)) + 64
    making.undo(two, target=tmp_path / "one-back")
    assert grafts.tree(one) == grafts.tree(tmp_path / "one-back")
    assert_proved(tmp_path / "one-back", base)
    making.undo(tmp_path / "one-back", target=tmp_path / "base-back")
    assert grafts.tree(base) == grafts.tree(tmp_path / "base-back")


def test_a_recipe_that_asks_for_nothing_gives_a_copy_and_says_so(tmp_path: Path) -> None:
    base = build(tmp_path / "base")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("version = 1\n", encoding="utf-8")
    planned = making.make_plan(str(base), recipe)
    assert not planned.plan.changes_anything
    making.apply_planned(planned, out=tmp_path / "out")
    found = grafts.tree(tmp_path / "out")
    assert grafts.tree(base) == {path: found[path] for path in grafts.tree(base)}


# ── a graft for later ────────────────────────────────────────────────────────────────────────────


def later(base: Path, recipe: Path, folder: Path) -> Path:
    """Graft a copy of the base without its weights; the plan that lies in the result."""
    small = folder / "small"
    shutil.copytree(base, small, ignore=shutil.ignore_patterns("*.safetensors"))
    making.apply(recipe, base=str(small), out=folder / "later")
    return folder / "later" / "tokengraft" / "plan.json"


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("copy", ["copy", "link"])
def test_a_graft_made_on_small_files_is_applied_to_the_weights_later(
    tied: bool, copy: making.CopyMode, recipe: Path, tmp_path: Path
) -> None:
    base = build(tmp_path / "base", tied=tied, shards=2, n_rows=384, layers=3)
    plan = later(base, recipe, tmp_path)
    verified = proving.verify(tmp_path / "later", texts=[tmp_path / "texts.txt"])
    checks = {c.name: c.status for c in verified.checks}
    assert checks["kept-rows"] == checks["rows-as-planned"] == checks["safetensors"] == "skipped"
    out, direct = tmp_path / "out", tmp_path / "direct"
    making.apply(plan, base=str(base), out=out, copy=copy)
    making.apply(recipe, base=str(base), out=direct)
    assert tensor_bytes(direct) == tensor_bytes(out)
    small = {path for path in grafts.tree(base) if not path.endswith(".safetensors")}
    assert {p: (direct / p).read_bytes() for p in small} == {
        p: (out / p).read_bytes() for p in small
    }
    assert_proved(out, None)
    assert_proved(out, base)
    making.undo(out, target=tmp_path / "back")
    assert grafts.tree(base) == grafts.tree(tmp_path / "back")


def test_a_graft_for_later_is_refused_with_another_tokenizer_or_config(
    recipe: Path, tmp_path: Path
) -> None:
    base = build(tmp_path / "base", shards=2, n_rows=384)
    plan = later(base, recipe, tmp_path)
    others = {
        "tokenizer": build(
            tmp_path / "t", shards=2, n_rows=384, added=(*QWEN_LIKE, Added("<|x|>"))
        ),
        "config": build(
            tmp_path / "c", shards=2, n_rows=384, files={"config.json": {"rope_theta": 5.0}}
        ),
    }
    for other in others.values():
        with pytest.raises(StalePlan) as stale:
            making.apply(plan, base=str(other), out=tmp_path / "never")
        assert stale.value.exit_code == 4


def test_a_graft_for_later_is_refused_where_the_matrices_have_other_rows(
    recipe: Path, tmp_path: Path
) -> None:
    base = build(tmp_path / "base", shards=2, n_rows=384)
    plan = later(base, recipe, tmp_path)
    small = {path.name: path.read_bytes() for path in (tmp_path / "small").iterdir()}
    other = build(tmp_path / "other", shards=2, n_rows=448)
    for name, data in small.items():
        (other / name).write_bytes(data)
    with pytest.raises(TokengraftError):
        making.apply(plan, base=str(other), out=tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_a_plan_made_with_weights_is_refused_without_them(recipe: Path, tmp_path: Path) -> None:
    base = build(tmp_path / "base", shards=2)
    making.write_plan(making.make_plan(str(base), recipe), tmp_path / "plan.json")
    for path in base.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(StalePlan):
        making.apply(tmp_path / "plan.json", base=str(base), out=tmp_path / "never")


def test_weights_that_change_in_an_applied_graft_for_later_fail_verify(
    recipe: Path, tmp_path: Path
) -> None:
    base = build(tmp_path / "base", shards=2, n_rows=384, layers=3)
    out = tmp_path / "out"
    making.apply(later(base, recipe, tmp_path), base=str(base), out=out)
    shard = out / "model-00001-of-00002.safetensors"
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.write_bytes(raw)
    for against in (None, str(base)):
        assert not proving.verify(out, against=against, texts=[tmp_path / "texts.txt"]).passed


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────


def _change_config(base: Path) -> None:
    path = base / "config.json"
    path.write_bytes(path.read_bytes().replace(b"silu", b"gelu"))


def _change_row(base: Path) -> None:
    path = base / "model.safetensors"
    raw = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(raw[:8], "little")
    (begin, _) = json.loads(raw[8:header])[EMBED]["data_offsets"]
    raw[header + begin] ^= 1
    path.write_bytes(raw)


def _lose_file(base: Path) -> None:
    (base / "merges.txt").unlink()


@pytest.mark.parametrize("change", [_change_config, _change_row, _lose_file])
def test_a_plan_whose_base_changed_is_refused(change: Any, recipe: Path, tmp_path: Path) -> None:
    base = build(tmp_path / "base")
    making.write_plan(making.make_plan(str(base), recipe), tmp_path / "plan.json")
    change(base)
    with pytest.raises(StalePlan) as stale:
        making.apply(tmp_path / "plan.json", base=str(base), out=tmp_path / "out")
    assert stale.value.exit_code == 4
    assert not (tmp_path / "out").exists()


def test_an_existing_place_is_refused_and_left_as_it_is(recipe: Path, tmp_path: Path) -> None:
    base, out = build(tmp_path / "base"), tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(TargetExists) as taken:
        making.apply(recipe, base=str(base), out=out)
    assert taken.value.exit_code == 4
    assert grafts.tree(out) == {"notes.txt": b"mine"}


def test_a_folder_with_pickles_alone_is_refused_unread(recipe: Path, tmp_path: Path) -> None:
    base = build(tmp_path / "base", shards=0)
    (base / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    for ask in (lambda: making.audit(str(base)), lambda: making.make_plan(str(base), recipe)):
        with pytest.raises(UnsupportedFormat) as refused:
            ask()
        assert refused.value.exit_code == 3


def test_a_base_without_an_added_tokens_decoder_is_grafted_in_tokenizer_json(
    recipe: Path, tmp_path: Path
) -> None:
    files = {"tokenizer_config.json": {"added_tokens_decoder": DROP}}
    base, out = build(tmp_path / "base", files=files), tmp_path / "out"
    making.apply(recipe, base=str(base), out=out)
    assert_proved(out, base)
    assert_rows(base, out, Tiny())


def test_a_base_may_hold_more_than_a_graft_for_later_knew(recipe: Path, tmp_path: Path) -> None:
    base = build(tmp_path / "base", shards=2, n_rows=384)
    plan = later(base, recipe, tmp_path)
    (base / "README.md").write_text("a card that the small folder did not have\n", encoding="utf-8")
    making.apply(plan, base=str(base), out=tmp_path / "out")
    assert_proved(tmp_path / "out", None)
    assert_proved(tmp_path / "out", base)
    (tmp_path / "out" / "README.md").write_text("another card\n", encoding="utf-8")
    assert not proving.verify(tmp_path / "out", texts=[tmp_path / "texts.txt"]).passed


def test_special_tokens_with_flags_are_in_the_tables_and_not_in_the_list_of_texts(
    tmp_path: Path,
) -> None:
    # transformers 5 makes listed texts anew with default flags, over the tables.
    base, recipe = build(tmp_path / "base"), tmp_path / "recipe.toml"
    adds = ('text = "<|plain|>"', 'text = "<|wide|>"\nlstrip = true')
    text = "".join(f"[[add]]\n{add}\nspecial = true\n" for add in adds)
    recipe.write_text(f"version = 1\n{text}", encoding="utf-8")
    making.apply(recipe, base=str(base), out=tmp_path / "out")
    config = json.loads((tmp_path / "out" / "tokenizer_config.json").read_bytes())
    assert config["additional_special_tokens"][-1] == "<|plain|>"
    wide = config["added_tokens_decoder"][str(Tiny().n_tokens() + 1)]
    assert (wide["content"], wide["lstrip"], wide["special"]) == ("<|wide|>", True, True)
