"""Qwen3-30B-A3B-Base: its real small files, its real vocabulary axis, judged by other libraries."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

import grafts
from oracles.asking import ask, remembered, shared
from oracles.tables import expected_table
from qwen_shapes import EMBED, HEAD, N_TOKENS, V, build_qwen3_base
from raw_tensors import row_bytes, tensor_bytes
from tokengraft.errors import StalePlan, TargetExists
from tokengraft.flow import making, proving
from tokengraft.formats.json_text import apply_splices
from tokengraft.formats.patching import patched
from tokengraft.formats.plan_files import read_plan
from tokengraft.plans import Keep, PatchJson, Plan

NEW = (
    "<|my_agi_mode|>",
    "<tool_start>",
    "</tool_end>",
    "<|recursion|>",
    "<|think|>",
    "<|conflict|>",
    "<|pad|>",
)
USES = ("role", "tool", "tool", "thinking", "thinking", "thinking")
ADDS = [f'[[add]]\ntext = "{t}"\nuse = "{use}"\n' for t, use in zip(NEW, USES, strict=False)]
SETTINGS = '[pad]\ntoken = "<|pad|>"\n[context]\nlength = 131072\n'
RECIPE = "version = 1\n" + "".join(ADDS) + SETTINGS
INSIDE = [f"до {text}after, and a{text}b\n" for text in NEW]
OLD = [
    "The quick brown fox.\n\n  def f(x):\n\treturn 1",
    "Съешь ещё этих мягких булок 🤖 <|im_start|>user",
]
FROM_BASE = ("<tool_response>", "</tool_response>", "<think>", "</think>")
TEXTS = "A short text.\n\nКороткий текст <think>\n\ndef f(): return 0  # <|endoftext|>\n"


@pytest.fixture(scope="module")
def home(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base`, the plan that a recipe gives for it, and `out`, which that plan's file gives."""

    def make(folder: Path) -> None:
        base = build_qwen3_base(folder / "base", data)
        (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")
        (folder / "texts.txt").write_text(TEXTS, encoding="utf-8")
        planned = making.make_plan(str(base), folder / "recipe.toml")
        making.write_plan(planned, folder / "plan.json")
        making.apply(folder / "plan.json", base=str(base), out=folder / "out")

    return shared(tmp_path_factory, "qwen3", make)


@pytest.fixture(scope="module")
def plan(home: Path) -> Plan:
    return read_plan(home / "plan.json").plan


def answers(home: Path, python: Path, name: str) -> Any:
    """What one environment says of the result, then of the base."""
    result = {"folder": str(home / "out"), "texts": [*INSIDE, *OLD], "table": True}
    base = {"folder": str(home / "base"), "texts": OLD}
    jobs = [result, base]
    return remembered(
        home, name, lambda: ask(python, "ask_tokenizers.py", jobs, home=home / f"{name}-home")
    )


@pytest.fixture(scope="module")
def five(home: Path, tf5: Path) -> Any:
    return answers(home, tf5, "five")


@pytest.fixture(scope="module")
def four(home: Path, tf4: Path) -> Any:
    return answers(home, tf4, "four")


# ── audit and plan ───────────────────────────────────────────────────────────────────────────────


def test_the_audit_finds_22_added_tokens_against_26_and_the_turn_end_that_does_not_stop(
    home: Path,
) -> None:
    found = {finding.rule: finding for finding in making.audit(str(home / "base")).findings}
    assert "tokenizer.json declares 22 added tokens, tokenizer_config.json 26" in (
        found["T101"].summary
    )
    assert "151645" in found["R301"].summary
    assert {found[rule].severity for rule in ("T101", "R301")} == {"error"}


def test_the_audit_of_the_result_finds_what_the_plan_predicted_and_no_error(
    home: Path, plan: Plan
) -> None:
    after = making.audit(str(home / "out"))
    assert plan.predicted == after.findings
    assert {f.rule for f in after.findings if f.severity != "note"} == set()


def test_the_files_are_reconciled_first_and_new_ids_begin_at_151669(plan: Plan) -> None:
    assert [(t.text, t.id, t.action) for t in plan.tokens] == [
        *((text, 151665 + at, "keep") for at, text in enumerate(FROM_BASE)),
        *((text, 151669 + at, "add") for at, text in enumerate(NEW)),
    ]
    assert len(plan.reconciled) == 1
    assert "declares 22 added tokens, tokenizer_config.json 26" in plan.reconciled[0]


def test_rows_go_into_spare_ones_and_the_plan_says_what_each_way_of_copying_costs(
    plan: Plan, home: Path
) -> None:
    for name in (EMBED, HEAD):
        rows = plan.row_edits()[name]
        assert (rows.n_rows_before, rows.n_rows_after) == (V, V)
        assert rows.rows[0] == Keep(first=0, count=N_TOKENS)
        assert rows.rows[-1] == Keep(first=N_TOKENS + 7, count=V - N_TOKENS - 7)
    copied = sum(f.size_bytes for f in plan.files if f.action == "copy")
    assert plan.totals.bytes_copied.copy_ == copied
    assert plan.totals.bytes_copied.link == plan.totals.bytes_copied.reflink == 0
    assert plan.totals.rows_written == 14


# ── bits ─────────────────────────────────────────────────────────────────────────────────────────


def test_both_matrices_keep_151936_rows_and_every_old_row_keeps_its_bits(home: Path) -> None:
    for name in (EMBED, HEAD):
        before, after = row_bytes(home / "base", name), row_bytes(home / "out", name)
        assert len(after) == V == len(before)
        changed = [row for row in range(V) if before[row] != after[row]]
        assert changed == list(range(N_TOKENS, N_TOKENS + len(NEW)))
        assert bytes(len(after[0])) not in after[N_TOKENS : N_TOKENS + len(NEW)]


def test_every_other_tensor_is_bit_identical_and_lies_in_its_old_file(home: Path) -> None:
    before, after = tensor_bytes(home / "base"), tensor_bytes(home / "out")
    assert before.keys() == after.keys()
    assert {name for name in before if before[name] != after[name]} == {EMBED, HEAD}
    index = "model.safetensors.index.json"
    assert (home / "base" / index).read_bytes() == (home / "out" / index).read_bytes()


def test_of_the_small_files_only_the_named_keys_change(home: Path) -> None:
    before, after = grafts.tree(home / "base"), grafts.tree(home / "out")
    changed = {path for path in before if before[path] != after[path]}
    shards = {f"model-0000{n}-of-00004.safetensors" for n in (1, 4)}
    small = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert changed == small | shards
    for path in ("config.json", "generation_config.json"):
        old, new = json.loads(before[path]), json.loads(after[path])
        keys = {key for key in {*old, *new} if old.get(key) != new.get(key)}
        assert (
            keys
            == {
                "config.json": {"max_position_embeddings", "pad_token_id", "rope_scaling"},
                "generation_config.json": {"eos_token_id", "pad_token_id"},
            }[path]
        )
        assert [key for key in new if key in old] == list(old)


def test_undo_gives_the_base_back_bit_for_bit(home: Path, tmp_path: Path) -> None:
    making.undo(home / "out", target=tmp_path / "back")
    assert grafts.tree(home / "base") == grafts.tree(tmp_path / "back")


def test_verify_passes_alone_on_the_built_in_corpus(home: Path, whole_corpus: None) -> None:
    verified = proving.verify(home / "out")
    assert verified.passed
    proved = {c.name for c in verified.checks if c.status == "pass"}
    assert {c.name for c in verified.checks} - proved == {"transformers", "logits", "long-texts"}
    (old_text,) = [c.evidence for c in verified.checks if c.name == "old-text"]
    n_bytes = int(old_text.split(" bytes")[0].rsplit(" ", 1)[1].replace(",", ""))
    assert n_bytes >= 1_000_000


def test_verify_passes_beside_its_base(home: Path) -> None:
    base, texts = str(home / "base"), home / "texts.txt"
    verified = proving.verify(home / "out", against=base, texts=[texts])
    assert verified.passed
    said = {c.name: c.status for c in verified.checks}
    assert said["tensors-against-base"] == said["files-against-base"] == "pass"


# ── the libraries of others ──────────────────────────────────────────────────────────────────────


@pytest.mark.oracle5
@pytest.mark.oracle4
def test_both_transformers_and_raw_tokenizers_agree_on_the_id_of_every_token(
    home: Path, five: Any, four: Any, plan: Plan
) -> None:
    expected = expected_table(home / "base", NEW)
    assert five[0]["versions"][0][:2] == "5."
    assert four[0]["versions"][0][:2] == "4."
    for answer in (five[0], four[0]):
        assert expected == answer["auto"]["table"]
        assert expected == answer["raw"]["table"]
        assert answer["auto"]["size"] == len(expected) == 151676
    assert plan.ids is not None
    assert plan.ids.after.n_tokens == len(expected)


@pytest.mark.oracle5
@pytest.mark.oracle4
def test_every_new_token_is_one_id_inside_text_and_old_text_keeps_its_ids(
    five: Any, four: Any
) -> None:
    for answer in (five, four):
        for part in ("auto", "raw"):
            ids = answer[0][part]["texts"]
            for at in range(len(NEW)):
                assert ids[at].count(N_TOKENS + at) == 2
                assert [i for i in ids[at] if i >= N_TOKENS] == [N_TOKENS + at] * 2
            assert ids[len(NEW) :] == answer[1]["auto"]["texts"]
        assert answer[0]["auto"]["decoded"] == [*INSIDE, *OLD]
    assert five[0]["auto"]["texts"] == four[0]["auto"]["texts"]


@pytest.mark.oracle5
@pytest.mark.oracle4
def test_pad_eos_stop_list_and_context_are_read_alike(five: Any, four: Any) -> None:
    for answer in (five[0], four[0]):
        names = answer["auto"]["names"]
        assert (names["pad_token"], names["eos_token"]) == ("<|pad|>", "<|endoftext|>")
        assert {"<|my_agi_mode|>", "<|pad|>"} <= set(answer["auto"]["special"])
        assert not {"<tool_start>", "<|think|>"} & set(answer["auto"]["special"])
        config = answer["config"]
        assert config["length"] == 131072
        assert config["vocab_size"] == V
        assert config["pad"] == config["generation_pad"] == 151675
        assert config["stop"] == [151643, 151645]
        rope = config["rope"]
        assert (rope["rope_type"], rope["factor"]) == ("yarn", 4.0)
        assert rope["original_max_position_embeddings"] == 32768
        assert 1e6 in (config["theta"], rope.get("rope_theta"))


# ── growth ───────────────────────────────────────────────────────────────────────────────────────

GROWN = 152_000  # 151,669 + 300 rounded up to a multiple of 64


@pytest.fixture(scope="module")
def grown(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of adding 300 tokens to the base."""

    def make(folder: Path) -> None:
        adds = "".join(f'[[add]]\ntext = "<|t{n}|>"\n' for n in range(300))
        (folder / "recipe.toml").write_text(f"version = 1\n{adds}", encoding="utf-8")
        making.apply(folder / "recipe.toml", base=str(home / "base"), out=folder / "out")

    return shared(tmp_path_factory, "qwen3-grown", make) / "out"


def test_300_tokens_grow_both_matrices_and_config_index_and_headers_agree(
    home: Path, grown: Path
) -> None:
    before, after = tensor_bytes(home / "base"), tensor_bytes(grown)
    assert {n: t for n, t in before.items() if n not in (EMBED, HEAD)} == {
        n: t for n, t in after.items() if n not in (EMBED, HEAD)
    }
    for name in (EMBED, HEAD):
        assert after[name][:2] == ("BF16", (GROWN, 64))
        assert before[name][2][: N_TOKENS * 128] == after[name][2][: N_TOKENS * 128]
    assert json.loads((grown / "config.json").read_bytes())["vocab_size"] == GROWN
    index = json.loads((grown / "model.safetensors.index.json").read_bytes())
    assert index["metadata"]["total_size"] == sum(len(t[2]) for t in after.values())
    assert index["weight_map"].keys() == after.keys()


def test_rows_left_over_by_growing_hold_the_mean_of_the_used_ones(grown: Path) -> None:
    for name in (EMBED, HEAD):
        bits = np.frombuffer(tensor_bytes(grown)[name][2], "<u2").reshape(GROWN, 64)
        floats = (bits.astype("<u4") << 16).view("<f4").astype(np.float64)
        left = floats[N_TOKENS + 300 :]
        assert len(left) == 31
        assert (left == left[0]).all()
        assert left[0].any()
        mean = floats[:N_TOKENS].mean(axis=0)
        assert np.abs(left[0] - mean).max() <= np.abs(mean).max() * 2**-8


def test_verify_passes_on_grown_matrices_and_undo_brings_the_base_back(
    home: Path, grown: Path, tmp_path: Path
) -> None:
    base = str(home / "base")
    assert proving.verify(grown, against=base, texts=[home / "texts.txt"]).passed
    making.undo(grown, target=tmp_path / "back")
    assert grafts.tree(home / "base") == grafts.tree(tmp_path / "back")


@pytest.mark.oracle5
def test_transformers_runs_the_grown_model(
    home: Path, grown: Path, tf5: Path, tmp_path: Path
) -> None:
    last = {grown: N_TOKENS + 299, home / "out": N_TOKENS + 6}
    jobs = [
        {"do": "shapes", "folder": str(folder), "ids": [0, 151644, N_TOKENS, token_id]}
        for folder, token_id in last.items()
    ]
    big, kept = ask(tf5, "ask_models.py", jobs, home=tmp_path)
    for answer, rows in ((big, GROWN), (kept, V)):
        assert answer["rows"] == [rows, rows]
        assert answer["vocab_size"] == rows
        assert answer["logits"] == [1, 4, rows]
        assert answer["finite"]
        assert not answer["tied"]


# ── thousands ────────────────────────────────────────────────────────────────────────────────────

INITS = ("zero", "mean", "auto", "zero", "zero")


def test_4000_tokens_are_spliced_in_packed_into_columns_and_applied_from_files(
    data: Path, tmp_path: Path
) -> None:
    assert_many(4_000, data, tmp_path)  # `tests/slow` has a hundred thousand
    assert (tmp_path / "plan.json").stat().st_size < 600_000  # with its recipe, half of it


def assert_many(number: int, data: Path, folder: Path) -> None:
    base = build_qwen3_base(folder / "base", data, hidden=8, layers=1, shards=1)
    adds = (f'[[add]]\ntext = "<|t{n}|>"\ninit = "{INITS[n % 97 % 5]}"\n' for n in range(number))
    (folder / "recipe.toml").write_text("version = 1\n" + "".join(adds), encoding="utf-8")
    planned = making.make_plan(str(base), folder / "recipe.toml")
    assert_spliced(planned, base)
    making.write_plan(planned, folder / "plan.json")
    assert planned.plan == read_plan(folder / "plan.json").plan
    making.apply(folder / "plan.json", base=str(base), out=folder / "out")
    table = Tokenizer.from_file(str(folder / "out" / "tokenizer.json")).get_vocab()
    assert table == expected_table(base, [f"<|t{n}|>" for n in range(number)])
    before, after = row_bytes(base, HEAD), row_bytes(folder / "out", HEAD)
    assert before[:N_TOKENS] == after[:N_TOKENS]
    assert len(after) == -(-(N_TOKENS + number) // 64) * 64
    assert after[N_TOKENS] == bytes(16) != after[N_TOKENS + 2]


def assert_spliced(planned: making.Planned, base: Path) -> None:
    """The new text holds what it should, quickly, and every other byte is where it was."""
    old = (base / "tokenizer.json").read_bytes()
    edit = planned.plan.file_edits()["tokenizer.json"]
    assert isinstance(edit, PatchJson)
    started = time.process_time()
    new = apply_splices(old, patched(old, edit, planned.plan.tokens))
    assert time.process_time() - started < 3  # half a second; benchmarks measure it
    at = next(n for n in range(len(old)) if old[n] != new[n])
    assert new.endswith(old[at:])
    value = json.loads(old)
    value["added_tokens"] += [
        {"id": token.id, "content": token.text, **dataclasses.asdict(token.added_token())}
        for token in planned.plan.tokens
    ]
    assert value == json.loads(new)


# ── small files alone ────────────────────────────────────────────────────────────────────────────


def test_small_files_alone_give_a_graft_that_the_whole_checkpoint_takes_later(
    home: Path, tmp_path: Path
) -> None:
    small, later = tmp_path / "small", tmp_path / "later"
    shutil.copytree(home / "base", small, ignore=shutil.ignore_patterns("*.safetensors"))
    making.apply(home / "recipe.toml", base=str(small), out=later)
    checks = {c.name: c.status for c in proving.verify(later, texts=[home / "texts.txt"]).checks}
    assert checks["kept-rows"] == checks["rows-as-planned"] == "skipped"
    assert "fail" not in checks.values()
    grafted = tmp_path / "grafted"
    making.apply(later / "tokengraft" / "plan.json", base=str(home / "base"), out=grafted)
    assert tensor_bytes(home / "out") == tensor_bytes(grafted)
    assert proving.verify(grafted, against=str(home / "base"), texts=[home / "texts.txt"]).passed


def test_a_plan_is_refused_where_the_base_changed_or_the_place_is_taken(
    home: Path, tmp_path: Path
) -> None:
    with pytest.raises(TargetExists) as taken:
        making.apply(home / "plan.json", base=str(home / "base"), out=home / "out")
    assert taken.value.exit_code == 4
    other = tmp_path / "other"
    shutil.copytree(home / "base", other)
    raw = (other / "config.json").read_bytes()
    (other / "config.json").write_bytes(raw.replace(b"1000000", b"1000001"))
    with pytest.raises(StalePlan) as stale:
        making.apply(home / "plan.json", base=str(other), out=tmp_path / "never")
    assert stale.value.exit_code == 4
