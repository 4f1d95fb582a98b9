"""`verify --deep` on a longer context: what is read, what is measured, what is judged, what is skipped."""

from __future__ import annotations

import json
import math
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
from tokengraft.positions import config_of, start_of, stretch
from tokengraft.recipes import Context
from tokengraft.results import Check, Estimate, LongTexts, Loss, Passkeys, Verification
from tokengraft.verifying import long_texts, memory, verify, windows
from tokengraft.verifying.long_texts_jobs import CUT, KEYS, LONG, LONG_KEYS, SHORT, Asked, ranges
from tokengraft.verifying.long_texts_told import mean, told
from tokengraft.verifying.records import read_graft
from tokengraft.verifying.windows import MAX_WINDOWS, N_KEYS, Hidden, opening, passkeys

Json = dict[str, Any]
SHORT_TOKENS, LONG_TOKENS = 256, 512  # of a tiny model, and twice that
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


# ── what is read ─────────────────────────────────────────────────────────────────────────────────


def letters(many: Sequence[str]) -> list[list[int]]:
    """An encoder for which every letter is a token."""
    return [[ord(letter) for letter in text] for text in many]


def test_windows_are_spread_over_a_text_and_do_not_overlap() -> None:
    text = "".join(f"{n:07}\n" for n in range(1000))
    found = windows.windows([text], letters, 100, (1,))
    assert len(found) == MAX_WINDOWS
    assert {len(ids) for ids in found} == {100}
    assert {ids[0] for ids in found} == {1}
    begins = [int("".join(map(chr, ids[1:8]))) for ids in found]  # each begins with a line
    assert begins == [0, 126, 251, 376, 501, 626, 751, 876]


def test_a_short_text_gives_fewer_windows_and_a_shorter_one_none() -> None:
    assert len(windows.windows(["x" * 350], letters, 100, ())) == 3
    assert windows.windows(["x" * 99], letters, 100, ()) == []
    assert windows.windows(["", "x"], letters, 100, ()) == []


def test_every_file_gives_windows_as_long_as_there_is_one() -> None:
    found = windows.windows(["a" * 900, "b" * 250, "c"], letters, 100, ())
    assert "".join(chr(ids[0]) for ids in found) == "ababaaaa"


def test_keys_lie_at_their_depth_in_texts_of_exactly_that_length() -> None:
    filler = windows.windows(["." * 4000], letters, 1000, (7, 8))
    found = list(passkeys(filler, letters, 600, (7, 8)))
    assert [one.depth_percent for one in found] == [10, 50, 90] * N_KEYS
    keys = set()
    for one in found:
        text = "".join(map(chr, one.ids[2:]))
        assert one.ids[:2] == (7, 8)
        assert len(one.ids) == 600
        key = text[-5:]
        keys.add(key)
        assert key.isdigit()
        assert one.n_answer == len(f" {key}")
        assert text.count(key) == 3  # twice where it is told, once where it is asked for
        dots = text[: text.index("The pass key")].count("."), text.count(".")
        assert abs(100 * dots[0] / dots[1] - one.depth_percent) < 3
    assert len(keys) == N_KEYS


def test_where_there_is_no_room_no_key_is_hidden() -> None:
    assert list(passkeys([tuple(range(50))], letters, 50, ())) == []


SPECIAL = {"SpecialToken": {"id": "<s>", "type_id": 0}}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [SPECIAL, {"Sequence": {"id": "A", "type_id": 0}}, SPECIAL],
    "pair": [],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}},
}


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (TEMPLATE, (3,)),
        ({"type": "Sequence", "processors": [{"type": "ByteLevel"}, TEMPLATE]}, (3,)),
        ({"type": "ByteLevel"}, ()),
        ({**TEMPLATE, "special_tokens": {}}, ()),
        (None, ()),
    ],
)
def test_texts_open_with_what_the_post_processor_puts_there(
    step: Json | None, expected: tuple[int, ...], tmp_path: Path
) -> None:
    base = tiny.build(tmp_path / "a", files={"tokenizer.json": {"post_processor": step}})
    assert opening(load(base)) == expected


def test_ranges_are_halves_of_the_short_length_and_then_its_doubles() -> None:
    assert ranges(512, 512) == [(1, 256), (256, 512)]
    assert ranges(512, 2048) == [(1, 256), (256, 512), (512, 1024), (1024, 2048)]
    assert ranges(512, 1500) == [(1, 256), (256, 512), (512, 1024), (1024, 1500)]
    assert ranges(2, 3) == [(1, 2), (2, 3)]


def test_jobs_hold_the_same_tokens_for_both_models_and_the_end_for_the_base_alone() -> None:
    window = (9, *range(100, 131))
    keys = {n: [Hidden(tuple(range(n)), 10, 3)] for n in (8, 32)}
    jobs = Asked(("t",), 8, 64, [window], (9,), keys).jobs()
    assert list(jobs) == [SHORT, KEYS, CUT, LONG, LONG_KEYS]
    assert jobs[SHORT]["texts"] == [{"ids": list(window[:8]), "ranges": [(1, 4), (4, 8)]}]
    assert jobs[CUT]["texts"] == [{"ids": [9, *window[-7:]], "ranges": [(4, 8)]}]
    assert jobs[CUT]["models"] == [0]
    assert jobs[LONG]["texts"][0]["ids"] == list(window)
    assert jobs[LONG]["texts"][0]["ranges"][-1] == (28, 32)
    assert window[-4:] == tuple(jobs[CUT]["texts"][0]["ids"][4:8])  # what both score there
    assert jobs[LONG_KEYS]["texts"][0]["ranges"] == [(29, 32)]


def test_a_window_within_the_trained_length_has_short_texts_alone() -> None:
    jobs = Asked(("t",), 64, 256, [tuple(range(32))]).jobs()
    assert list(jobs) == [SHORT]
    assert jobs[SHORT]["texts"][0]["ranges"] == [(1, 16), (16, 32)]


@pytest.mark.parametrize("method", ["linear", "dynamic", "yarn", "llama3", "longrope"])
def test_scaling_starts_from_the_trained_length_whatever_the_method(
    method: str, tmp_path: Path
) -> None:
    out, base = made(tmp_path, method)
    config = config_of(load(out))
    assert config is not None
    assert start_of(config) == SHORT_TOKENS
    assert start_of(config_of(base)) == SHORT_TOKENS  # type: ignore[arg-type]
    assert stretch(base, Context(length=LONG_TOKENS)).original[0] == SHORT_TOKENS


# ── what is made of it ───────────────────────────────────────────────────────────────────────────


def test_a_mean_has_the_interval_of_a_bootstrap() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(2.0, 1.0, 40)
    found = mean(values.tolist())
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert math.isclose(found.mean, values.mean())
    drawn = rng.choice(values, (4000, 40)).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert abs(found.low - low) < 0.05
    assert abs(found.high - high) < 0.05
    assert mean(values.tolist()) == found  # drawn the same each time


def test_one_text_has_no_interval_and_what_is_not_finite_has_no_mean() -> None:
    assert mean([1.5]) == Estimate(mean=1.5, low=None, high=None)
    assert mean([1.5, NAN]) is None
    assert mean([1.5, math.inf]) is None
    assert mean([]) is None


def a_mean(value: float, spread: float | None = 0.1) -> Estimate:
    if spread is None:
        return Estimate(mean=value, low=None, high=None)
    return Estimate(mean=value, low=value - spread, high=value + spread)


def a_loss(difference: Estimate, *, seen: int = 512, length: int = 512) -> Loss:
    return Loss(
        text_tokens=length,
        seen_before=seen,
        begin=length // 2,
        end=length,
        n_texts=8,
        before=a_mean(2.0),
        after=a_mean(2.0 + difference.mean),
        difference=difference,
    )


def measured(*losses: Loss, keys: tuple[Passkeys, ...] = (), length: int = 2048) -> LongTexts:
    return LongTexts(
        texts=("a.txt",),
        trained_tokens=512,
        wanted_tokens=2048,
        n_windows=8,
        window_tokens=length,
        dtype="float32",
        losses=losses,
        passkeys=keys,
    )


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (a_mean(0.3), "get worse, from 2.000 to 2.300 nats a token at positions 256 to 511"),
        (a_mean(-0.3), "get better, from 2.000 to 1.700"),
        (a_mean(0.01), "show no clear difference, from 2.000 to 2.010"),
        (a_mean(0.3, None), "go from 2.000 to 2.300 nats a token at positions 256 to 511, in one"),
        (a_mean(0.0, 0.0), "lose what they lost before, to the bit"),
    ],
)
def test_short_texts_are_told_as_they_turned_out(difference: Estimate, said: str) -> None:
    assert f"texts of 512 tokens {said}" in "; ".join(told(measured(a_loss(difference))))


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (
            a_mean(0.3),
            "is foretold worse with all of it: 2.300 nats a token with all 2,048 and 2.000",
        ),
        (a_mean(-0.3), "is foretold better with all of it"),
        (a_mean(0.01), "is foretold no better with all of it"),
        (a_mean(0.3, None), "the end of a long text: 2.300"),
    ],
)
def test_the_end_of_a_long_text_says_whether_its_length_helps(
    difference: Estimate, said: str
) -> None:
    text = "; ".join(told(measured(a_loss(difference, length=2048))))
    assert said in text
    assert "for the base with the last 512" in text


def a_cell(length: int, before: int, after: int) -> Passkeys:
    return Passkeys(
        text_tokens=length,
        depth_percent=50,
        n_keys=3,
        found_before=before,
        found_after=after,
        before=-1.0,
        after=None,
    )


def test_keys_are_counted_by_length_and_no_key_before_says_nothing_after() -> None:
    text = "; ".join(told(measured(keys=(a_cell(512, 3, 2), a_cell(2048, 0, 1)))))
    assert "texts of 512 tokens: 3 of 3 before, 2 of 3 after" in text
    assert "texts of 2,048 tokens: 0 of 3 before, 1 of 3 after" in text
    assert "these keys cannot measure" not in text
    text = "; ".join(told(measured(keys=(a_cell(512, 0, 0), a_cell(2048, 0, 0)))))
    assert text.endswith("these keys cannot measure in long ones")
    assert "no room for them" in "; ".join(told(measured()))


def test_windows_that_stop_early_are_told() -> None:
    text = "; ".join(told(measured(length=1024)))
    assert "the windows stop at 1,024 of 2,048 tokens" in text
    assert "no window is longer than the 512 tokens" in "; ".join(told(measured(length=512)))


# ── why it is not measured ───────────────────────────────────────────────────────────────────────


def test_a_plan_that_leaves_positions_alone_says_nothing_of_long_texts(
    tmp_path: Path, texts: Path
) -> None:
    base = graft(tiny.build(tmp_path / "base"), tmp_path / "out")
    assert list(long_texts.check_long_texts(read_graft(tmp_path / "out"), base, [texts])) == []


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
        assert answer["likeliest"] == answer["argmax"]


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
