"""`verify --deep` on a longer context: what is skipped, what is judged, and models that are run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import tiny
from oracles.asking import ask
from raw_tensors import encode, tensor_bytes, write_weights
from test_verifying import graft
from tokengraft.checkpoint import Checkpoint
from tokengraft.cli.app import app
from tokengraft.errors import ChildFailed
from tokengraft.flow import making
from tokengraft.formats.loading import load
from tokengraft.results import Check, Verification
from tokengraft.verifying import long_texts, memory, verify
from tokengraft.verifying.documents import changes_positions
from tokengraft.verifying.long_texts_jobs import CUT, KEYS, LONG, LONG_KEYS, SHORT
from tokengraft.verifying.records import read_graft
from tokengraft.verifying.windows import N_KEYS

Json = dict[str, Any]
LONG_TOKENS = 512  # twice those of a tiny model
NAN = float("nan")


def recipe(method: str = "yarn", length: int = LONG_TOKENS) -> str:
    return f'version = 1\n[context]\nlength = {length}\nmethod = "{method}"\n'


def made(folder: Path, method: str = "yarn", **fields: Any) -> tuple[Path, Checkpoint]:
    base = tiny.build(folder / "base", **fields)
    return folder / "out", graft(base, folder / "out", recipe=recipe(method))


def words(n: int) -> str:
    """Running text of about two tokens a word, a line break here and there."""
    rng = np.random.default_rng(7)
    texts = ("hello", "world", "the", "and", "of", "in", "тест", "fox", "sea", "a")
    return "".join(
        f"{texts[rng.integers(len(texts))]}{chr(10) if i % 9 == 8 else ' '}" for i in range(n)
    )


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text(words(12_000), encoding="utf-8")
    return path


def checked(out: Path, base: Checkpoint | None, *paths: Path, **more: Any) -> Check:
    (check,) = long_texts.check_long_texts(read_graft(out), base, paths, **more)
    return check


# ── why it is not measured ───────────────────────────────────────────────────────────────────────


def test_a_plan_that_leaves_positions_alone_says_nothing_of_long_texts(
    tmp_path: Path, texts: Path
) -> None:
    base = graft(tiny.build(tmp_path / "base"), tmp_path / "out")
    assert list(long_texts.check_long_texts(read_graft(tmp_path / "out"), base, [texts])) == []


def test_positions_that_are_only_spelled_anew_are_not_measured(tmp_path: Path, texts: Path) -> None:
    newer = {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}
    config = {**newer, "rope_theta": tiny.DROP, "rope_scaling": tiny.DROP}
    base = graft(tiny.build(tmp_path / "base", files={"config.json": config}), tmp_path / "out")
    made_ = read_graft(tmp_path / "out")
    assert made_.plan is not None
    assert changes_positions(made_.plan)  # rope_theta is written beside it for older programs
    assert list(long_texts.check_long_texts(made_, base, [texts])) == []
    names = {check.name for check in verify(tmp_path / "out", texts=[texts]).checks}
    assert "long-texts" not in names
    spoilt = made_.plan.model_copy(update={"recipe": "version = ["})
    assert long_texts.asks_for_context(spoilt)


def test_without_deep_base_texts_torch_or_weights_it_is_skipped_with_the_reason(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, base = made(tmp_path)
    proved = {check.name: check for check in verify(out, texts=[texts]).checks}
    assert proved["long-texts"].status == "skipped"
    assert proved["long-texts"].evidence == "not asked for: --deep --texts FILE"
    assert checked(out, None, texts).evidence == "needs the base: --against"
    without = checked(out, base)
    assert without.status == "skipped"
    assert without.evidence == (
        f"needs texts to read: tokengraft verify {out} --against {base.root} --deep --texts FILE"
    )
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert checked(out, base, texts).evidence.startswith("torch and transformers not installed")
    bare, its_base = made(tmp_path / "bare", shards=0)
    assert checked(bare, its_base, texts).evidence == "no weights in this folder"


def test_texts_that_are_too_short_are_counted(tmp_path: Path, texts: Path) -> None:
    out, base = made(tmp_path)
    texts.write_text("hello world", encoding="utf-8")
    check = checked(out, base, texts, python="python")
    assert check.status == "skipped"
    assert "the longest text has 2 tokens, and a window needs 512" in check.evidence


def test_a_model_that_does_not_fit_is_skipped_with_figures(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, base = made(tmp_path)
    monkeypatch.setattr(long_texts, "available_bytes", lambda: 2**30)
    check = checked(out, base, texts, python="python")
    assert check.status == "skipped"
    numbers = sum(ref.n_elements for ref in base.tensors.tensors.values())  # type: ignore[union-attr]
    needed = 4 * (numbers + 8 * 512 * tiny.INNER) + 2**30
    assert f"needs about {needed:,} bytes in float32 for texts of 512 tokens" in check.evidence
    assert f"and {2**30:,} are free" in check.evidence


def test_memory_is_the_systems_own_estimate_or_the_rest_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert memory.available_bytes() > 0  # asked of the system in another way
    meminfo.write_text("MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable:    3 kB\n")
    assert memory.available_bytes() == 3 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 100\n")
    assert memory.available_bytes() == 3 * 1024
    (tmp_path / "memory.max").write_text("1000\n")
    assert memory.available_bytes() == 200
    (tmp_path / "memory.max").write_text("500\n")
    assert memory.available_bytes() == 0


# ── what is judged ───────────────────────────────────────────────────────────────────────────────


def answering(
    monkeypatch: pytest.MonkeyPatch, loss: Callable[[int, str], float] | str, *, ends: int = 2
) -> None:
    """Let the child answer a loss by model and kind of text, or an error of the last model."""

    def run(command: Sequence[str], *, seconds: float) -> Json:
        groups = json.loads(Path(command[-1]).read_text(encoding="utf-8"))["groups"]
        kinds = [SHORT, KEYS, CUT, LONG, LONG_KEYS]
        if isinstance(loss, str):
            return {"models": [{"groups": []}] * (ends - 1) + [{"error": loss}]}
        return {
            "models": [
                {
                    "groups": [
                        [
                            {
                                "means": [loss(at, kind)] * len(text["ranges"]),
                                "all_likeliest": at == 1,
                            }
                            for text in group["texts"]
                        ]
                        for kind, group in zip(kinds, groups, strict=True)
                    ]
                }
                for at in (0, 1)
            ]
        }

    monkeypatch.setattr(long_texts, "run_child", run)


def test_what_was_measured_is_not_judged(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, base = made(tmp_path)
    answering(monkeypatch, lambda at, _: 1.0 + at)
    check = checked(out, base, texts, python="python")
    assert check.status == "unknown"
    assert check.evidence.startswith("measured, not judged: 8 windows of 512 tokens from texts.txt")
    found = check.measured
    assert found is not None
    assert [(loss.text_tokens, loss.begin, loss.end) for loss in found.losses] == [
        *((256, 1, 128), (256, 128, 256)),
        *((512, 1, 128), (512, 128, 256), (512, 256, 512), (512, 384, 512)),
    ]
    assert {loss.difference.mean for loss in found.losses if loss.difference} == {1.0}
    assert [cell.found_after for cell in found.passkeys] == [N_KEYS] * 6
    assert {cell.found_before for cell in found.passkeys} == {0}


def test_losses_that_are_not_finite_fail_where_the_bases_are(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, base = made(tmp_path)
    answering(monkeypatch, lambda at, kind: NAN if at and kind == LONG else 1.0)
    check = checked(out, base, texts, python="python")
    assert check.status == "fail"
    assert check.evidence.startswith("the result's losses are no finite numbers")
    assert "NaN" not in Verification(passed=False, checks=(check,)).to_json()
    answering(
        monkeypatch, lambda *_: NAN
    )  # a model that was broken before is not the result's fault
    assert checked(out, base, texts, python="python").status == "unknown"
    monkeypatch.setattr(long_texts, "_stays", lambda *_: True)  # nor where frequencies stay
    assert checked(out, base, texts, python="python").status == "unknown"


def test_dynamic_scaling_must_leave_short_texts_as_they_were(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, base = made(tmp_path, "dynamic")
    answering(monkeypatch, lambda at, kind: 1.5 if at and kind == SHORT else 1.0)
    check = checked(out, base, texts, python="python")
    assert check.status == "fail"
    assert check.evidence.startswith(
        "texts of 256 tokens have the frequencies that they had before, and their losses are 0.5000 "
        "apart"
    )
    answering(monkeypatch, lambda at, kind: 1.5 if at and kind == LONG else 1.0)
    check = checked(out, base, texts, python="python")
    assert check.status == "unknown"
    assert "texts of 256 tokens lose what they lost before, to the bit" in check.evidence


def test_a_model_that_cannot_be_run_fails_only_if_its_base_can(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, base = made(tmp_path)
    answering(monkeypatch, "ValueError: no such class", ends=1)
    check = checked(out, base, texts, python="python")
    assert (check.status, check.evidence) == (
        "unknown",
        "the base could not be run: ValueError: no such class",
    )
    answering(monkeypatch, "ValueError: no such class")
    check = checked(out, base, texts, python="python")
    assert check.status == "fail"
    assert "the result could not be: ValueError" in check.evidence


def test_a_child_that_dies_or_takes_too_long_proves_nothing(
    tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, base = made(tmp_path)

    def late(*_: Any, **__: Any) -> Json:
        raise ChildFailed("the child did not answer within 1 s")

    monkeypatch.setattr(long_texts, "run_child", late)
    check = checked(out, base, texts, python="python")
    assert check.status == "unknown"
    assert check.evidence == "the models could not be run: the child did not answer within 1 s"


# ── models that are run ──────────────────────────────────────────────────────────────────────────

SMALL = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
FAMILIES: tuple[Json, ...] = (
    {**SMALL, "model_type": "llama", "intermediate_size": 24, "max_position_embeddings": 64},
    # caps its logits after the head
    {
        **SMALL,
        "model_type": "gemma2",
        "intermediate_size": 24,
        "head_dim": 8,
        "query_pre_attn_scalar": 8,
        "num_key_value_heads": 1,
        "final_logit_softcapping": 2.0,
    },
    # scales them
    {**SMALL, "model_type": "granite", "intermediate_size": 24, "logits_scaling": 8.0},
    {**SMALL, "model_type": "gpt_neox", "intermediate_size": 24},
    # hands router logits on with what its layers made
    {
        **SMALL,
        "model_type": "qwen3_moe",
        "intermediate_size": 24,
        "moe_intermediate_size": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "output_router_logits": True,
    },
)


@pytest.mark.oracle5
def test_losses_in_pieces_are_those_of_one_call(tf5: Path, tmp_path: Path) -> None:
    jobs = [{"script": str(long_texts.SCRIPT), "config": config, "n": 40} for config in FAMILIES]
    for answer in ask(tf5, "ask_losses.py", jobs, home=tmp_path):
        for found in answer["found"]:
            assert np.allclose(answer["plain"], found, atol=1e-5), answer["class"]
        assert np.allclose(answer["plain"][-2:], answer["last"], atol=1e-5), answer["class"]
        assert answer["likeliest"] == [True, True]  # as it would be written greedily
        assert answer["other"] == [True, False]
        assert answer["scored"]["all_likeliest"] is True
        assert np.allclose(answer["scored"]["means"], [np.mean(answer["plain"][-2:])], atol=1e-5)


@pytest.mark.oracle5
def test_a_result_with_a_number_that_is_none_is_found_by_running_it(
    tf5: Path, tmp_path: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out, base = made(tmp_path)
    tensors = tensor_bytes(out)
    dtype, shape, _ = tensors["model.norm.weight"]
    broken = encode(np.full(shape, NAN, np.float32), dtype)
    (out / "model.safetensors").unlink()
    write_weights(out, {**tensors, "model.norm.weight": (dtype, shape, broken)}, shards=1)
    check = checked(out, base, texts, python=str(tf5))
    assert check.status == "fail", check.evidence
    assert check.measured is not None
    assert all(loss.before and not loss.after for loss in check.measured.losses)


@pytest.mark.oracle5
def test_a_trained_model_reads_short_texts_as_before_under_dynamic_scaling(
    data: Path, tf5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    base = tmp_path / "base"
    shutil.copytree(data / "models" / "stories260K", base, copy_function=shutil.copyfile)
    path = tmp_path / "recipe.toml"
    path.write_text(recipe("dynamic", 1024), encoding="utf-8")
    making.apply(path, base=str(base), out=tmp_path / "out")
    stories = data / "text" / "tinystories" / "tiny_stories_944k.txt"
    check = checked(tmp_path / "out", load(base), stories, python=str(tf5))
    assert check.status == "unknown", check.evidence
    assert "8 windows of 1,024 tokens from tiny_stories_944k.txt" in check.evidence
    assert "texts of 512 tokens lose what they lost before, to the bit" in check.evidence
    found = check.measured
    assert found is not None
    by_range = {(loss.text_tokens, loss.begin): loss for loss in found.losses}
    first, second = by_range[512, 256], by_range[1024, 512]
    assert first.before is not None
    assert second.before is not None
    assert 1.2 < first.before.mean < 1.7  # it is a trained model, and this is its text
    assert second.before.mean > first.before.mean
    assert [cell.n_keys for cell in found.passkeys] == [N_KEYS] * 6


def test_files_of_texts_may_be_several(tmp_path: Path, texts: Path) -> None:
    out, _ = made(tmp_path)
    other = tmp_path / "other.txt"
    other.write_text("the fox\n", encoding="utf-8")
    told_ = CliRunner().invoke(
        app, ["verify", str(out), "--texts", str(texts), "--texts", str(other), "--json"]
    )
    assert told_.exit_code == 0
    checks = {c["name"]: c for c in json.loads(told_.stdout)["checks"]}
    assert "texts of texts.txt, other.txt" in checks["old-text"]["evidence"]
