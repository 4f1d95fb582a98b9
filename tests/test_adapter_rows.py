"""Adapters that bring rows of tokens along: what PEFT merges, and every refusal."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from oracles import asking
from raw_tensors import Tensor, tensor_bytes, write_safetensors
from tokengraft.errors import RecipeError
from tokengraft.flow import making as flow
from tokengraft.flow import proving
from tokengraft.formats.adapters import Adapter
from tokengraft.formats.rows import narrow
from tokengraft.planning import adapter_rows
from tokengraft.plans import Plan, RemapRows, Stored

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
N_ROWS = 320
FIRST = tiny.Tiny(n_rows=N_ROWS).n_tokens()
NEW = [FIRST, FIRST + 1]
ADD = '[[add]]\ntext = "<|a|>"\n[[add]]\ntext = "<|b|>"\n'
LORA: dict[str, Any] = {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "o_proj"]}
# name: (tied, arguments of LoraConfig, old rows that training changed)
SHAPES: dict[str, tuple[bool, dict[str, Any], list[int]]] = {
    "chosen": (False, {"trainable_token_indices": {"embed_tokens": NEW, "lm_head": NEW}}, []),
    "chosen-of-one-matrix": (False, {"trainable_token_indices": NEW}, []),
    "chosen-tied": (True, {"trainable_token_indices": NEW[::-1]}, []),
    "whole": (False, {"modules_to_save": ["embed_tokens", "lm_head"]}, []),
    "whole-tied": (True, {"modules_to_save": ["embed_tokens"]}, []),
    "whole-and-old-rows": (False, {"modules_to_save": ["embed_tokens", "lm_head"]}, [3, 70]),
}


@pytest.fixture(scope="session")
def adapted(tmp_path_factory: pytest.TempPathFactory, tf5: Path) -> Path:
    """All shapes, made by PEFT in one process."""

    def make(root: Path) -> None:
        jobs = []
        for seed, (name, (tied, lora, spoil)) in enumerate(SHAPES.items()):
            folder = root / name
            base = tiny.build(folder / "base", tied=tied, n_rows=N_ROWS)
            job = {"folder": str(folder), "base": str(base), "lora": {**LORA, **lora}}
            jobs.append({**job, "new": NEW, "seed": seed, "spoil": spoil})
        asking.ask(tf5, "ask_peft_rows.py", jobs, home=root / "home")

    return asking.shared(tmp_path_factory, "rows-by-peft", make)


def recipe(folder: Path, text: str = ADD) -> Path:
    path = folder / "recipe.toml"
    path.write_text(f'version = 1\n{text}[lora]\nadapter = "adapter"\n', encoding="utf-8")
    return path


def rows_of(folder: Path, name: str) -> list[bytes]:
    _, shape, payload = tensor_bytes(folder)[name]
    width = len(payload) // shape[0]
    return [payload[at : at + width] for at in range(0, len(payload), width)]


def stored(plan: Plan) -> dict[str, int]:
    edits = [edit for edit in plan.edits if isinstance(edit, RemapRows)]
    return {e.tensor: sum(isinstance(source, Stored) for source in e.rows) for e in edits}


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if not shape[2]])
def test_rows_and_deltas_of_one_folder_are_what_peft_merges(
    name: str, adapted: Path, tmp_path: Path
) -> None:
    base, merged = adapted / name / "base", adapted / name / "merged"
    shutil.copytree(adapted / name / "adapter", tmp_path / "adapter")
    out = tmp_path / "out"
    flow.apply(recipe(tmp_path), base=str(base), out=out)
    told = {check.name: check for check in proving.verify(out, against=str(base)).checks}
    assert {check.status for check in told.values()} <= {"pass", "skipped"}
    assert told["low-rank-as-planned"].status == told["kept-rows"].status == "pass"
    tied = SHAPES[name][0]
    given = [EMBED] if tied or name == "chosen-of-one-matrix" else [EMBED, HEAD]
    for tensor in [EMBED] if tied else [EMBED, HEAD]:
        ours, old = rows_of(out, tensor), rows_of(base, tensor)
        theirs = rows_of(merged, tensor) if tensor in tensor_bytes(merged) else []
        for token_id in NEW:
            if tensor in given:
                assert ours[token_id] == theirs[token_id] != old[token_id], (tensor, token_id)
            else:  # PEFT leaves the padding there; ours start by `init`
                assert theirs[token_id] == old[token_id] != ours[token_id]
        assert ours[:FIRST] == old[:FIRST]
        assert [row for at, row in enumerate(ours) if at not in NEW] == [
            row for at, row in enumerate(old) if at not in NEW
        ]
    queries = "model.layers.0.self_attn.q_proj.weight"
    assert tensor_bytes(out)[queries] != tensor_bytes(base)[queries]


def test_old_rows_that_training_changed_are_told_and_refused(adapted: Path, tmp_path: Path) -> None:
    place = adapted / "whole-and-old-rows"
    shutil.copytree(place / "adapter", tmp_path / "adapter")
    with pytest.raises(RecipeError, match="2 problems") as refused:
        flow.make_plan(str(place / "base"), recipe(tmp_path))
    said = refused.value.detail
    assert (
        "lm_head.weight: 2 rows of old tokens are not those of lm_head.weight (ids 3, 70)" in said
    )
    assert "embed_tokens.weight: 2 rows of old tokens" in said
    assert "train rows with trainable_token_indices" in said


# ── without PEFT ─────────────────────────────────────────────────────────────────────────────────

Q = "base_model.model.model.layers.0.self_attn.q_proj"
DELTA = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"


def _f32(values: Any) -> Tensor:
    array = np.asarray(values, "<f4")
    return "F32", array.shape, array.tobytes()


@dataclass
class Bench:
    """A base, and an adapter with rows, to be spoiled."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    def plan(self, text: str = ADD) -> Plan:
        place = self.folder / "adapter"
        place.mkdir(exist_ok=True)
        (place / "adapter_config.json").write_text(json.dumps(self.config))
        write_safetensors(place / "adapter_model.safetensors", self.tensors)
        return flow.make_plan(str(self.folder / "base"), recipe(self.folder, text)).plan

    def refusal(self, text: str = ADD) -> str:
        with pytest.raises(RecipeError) as refused:
            self.plan(text)
        return refused.value.detail

    def old_rows(self, tensor: str = EMBED) -> np.ndarray:
        halves = np.frombuffer(b"".join(rows_of(self.folder / "base", tensor)), "<u2")
        return (halves.astype("<u4") << 16).view("<f4").reshape(N_ROWS, tiny.D).copy()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    tiny.build(tmp_path / "base", n_rows=N_ROWS)
    ones = {"A": np.ones((2, tiny.D)), "B": np.ones((tiny.HEADS * tiny.HEAD_DIM, 2))}
    tensors = {f"{Q}.lora_{side}.weight": _f32(values) for side, values in ones.items()}
    tensors[DELTA] = _f32(np.arange(2 * tiny.D).reshape(2, tiny.D))
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "trainable_token_indices": NEW}
    return Bench(tmp_path, config, tensors)


def test_an_honest_adapter_gives_its_rows(bench: Bench) -> None:
    plan = bench.plan()
    assert stored(plan) == {EMBED: 2, HEAD: 0}
    assert any("matched by their ids" in note for note in plan.notes)


def test_an_adapter_of_rows_alone_is_enough(bench: Bench) -> None:
    bench.tensors = {DELTA: bench.tensors[DELTA]}
    plan = bench.plan()
    assert stored(plan)[EMBED] == 2
    assert not any("is added to" in note for note in plan.notes)


def test_old_rows_that_stayed_as_they_were_are_no_matter(bench: Bench) -> None:
    bench.config["trainable_token_indices"] = [7, *NEW]
    own = bench.old_rows()[7]
    bench.tensors[DELTA] = _f32(np.vstack([own, np.ones((2, tiny.D))]))
    assert stored(bench.plan())[EMBED] == 2
    bench.tensors[DELTA] = _f32(np.vstack([own + 1, np.ones((2, tiny.D))]))
    assert "1 rows of old tokens are not those" in bench.refusal()


def test_chosen_rows_are_read_together_wherever_their_ids_lie(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [NEW[1], 7, 3, 4, NEW[0]]
    own = bench.old_rows()
    bench.config["trainable_token_indices"] = ids
    bench.tensors[DELTA] = _f32(np.vstack([np.ones(tiny.D), own[[7, 3, 4]], np.full(tiny.D, 2.0)]))
    asked: list[tuple[int, int]] = []
    read = Adapter.raw_rows

    def counting(adapter: Adapter, name: str, first: int, count: int) -> bytes:
        asked.append((first, count))
        return read(adapter, name, first, count)

    monkeypatch.setattr(Adapter, "raw_rows", counting)
    assert stored(bench.plan())[EMBED] == 2
    assert asked == [(0, 5)]
    monkeypatch.setattr(adapter_rows, "BLOCK_BYTES", 2 * 4 * tiny.D)
    asked.clear()
    out = bench.folder / "out"
    flow.apply(recipe(bench.folder), base=str(bench.folder / "base"), out=out)
    assert asked == [(0, 2), (2, 2), (4, 1)]
    for token_id, value in zip(NEW, (2.0, 1.0), strict=True):
        assert rows_of(out, EMBED)[token_id] == narrow(np.full((1, tiny.D), value), "BF16")
    bench.tensors[DELTA] = _f32(np.vstack([np.ones(tiny.D), own[[7, 4, 3]], np.full(tiny.D, 2.0)]))
    assert "2 rows of old tokens are not those of model.embed_tokens.weight (ids 3, 4)" in (
        bench.refusal()
    )


def test_a_matrix_that_training_resized_is_compared_as_far_as_it_goes(bench: Bench) -> None:
    """resize_token_embeddings leaves padding rows out: the matrix is shorter than the base's."""
    whole = bench.old_rows()[: NEW[-1] + 1]
    whole[NEW] = 5.0
    bench.config |= {"trainable_token_indices": None, "modules_to_save": ["embed_tokens"]}
    del bench.tensors[DELTA]
    bench.tensors["base_model.model.model.embed_tokens.weight"] = _f32(whole)
    assert stored(bench.plan())[EMBED] == 2


def test_the_tokenizer_beside_the_adapter_is_believed(bench: Bench) -> None:
    bench.plan()
    added = [{"id": token_id, "content": text} for token_id, text in zip(NEW, "xy", strict=True)]
    path = bench.folder / "adapter" / "tokenizer.json"
    path.write_text(json.dumps({"added_tokens": added}))
    assert f"id {FIRST} is 'x' in the adapter's tokenizer and '<|a|>' here" in bench.refusal()
    for one, text in zip(added, ("<|a|>", "<|b|>"), strict=True):
        one["content"] = text
    path.write_text(json.dumps({"added_tokens": added}))
    assert not any("matched by their ids" in note for note in bench.plan().notes)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"trainable_token_indices": [FIRST]}, "does not say whose the 2 rows"),
        ({"trainable_token_indices": [FIRST, FIRST]}, "does not say whose"),
        ({"trainable_token_indices": ["a", 1]}, "does not say whose"),
        ({"trainable_token_indices": {"lm_head": NEW}}, "holds no such rows"),
        ({"trainable_token_indices": None}, "does not say whose"),
        ({"trainable_token_indices": [FIRST, 5000]}, "row for id 5000, where the recipe adds no"),
        ({"modules_to_save": ["score"]}, "names score, of which the adapter holds nothing"),
        ({"use_dora": True}, "DoRA scales whole columns"),
    ],
)
def test_what_does_not_fit_is_told(bench: Bench, setting: dict[str, Any], said: str) -> None:
    bench.config |= setting
    assert said in bench.refusal()


def test_tensors_that_do_not_fit_are_told(bench: Bench) -> None:
    bench.config["modules_to_save"] = ["score", "norm"]
    bench.tensors["base_model.model.score.weight"] = _f32(np.ones((2, tiny.D)))
    bench.tensors["base_model.model.model.norm.weight"] = _f32(np.ones(tiny.D))
    said = bench.refusal()
    assert "score is replaced, and it is no matrix with a row for each token" in said
    assert "norm is replaced" in said
    bench.config["modules_to_save"] = None
    del (
        bench.tensors["base_model.model.score.weight"],
        bench.tensors["base_model.model.model.norm.weight"],
    )
    bench.tensors[DELTA] = _f32(np.ones((2, tiny.D + 1)))
    assert f"rows of {EMBED} have {tiny.D} numbers" in bench.refusal()
    bench.tensors[DELTA] = ("I64", (2, tiny.D), bytes(16 * tiny.D))
    assert "is I64, and cannot become rows" in bench.refusal()


def test_rows_of_two_sources_are_refused(bench: Bench) -> None:
    (bench.folder / "rows.safetensors").write_bytes(b"")
    assert "[rows] values does too" in bench.refusal(f'{ADD}[rows]\nvalues = "rows.safetensors"\n')


def test_matrices_with_rows_of_other_tokens_are_refused(bench: Bench) -> None:
    bench.config["trainable_token_indices"] = {"embed_tokens": NEW, "lm_head": NEW[:1]}
    name = "base_model.model.lm_head.token_adapter.trainable_tokens_delta"
    bench.tensors[name] = _f32(np.ones((1, tiny.D)))
    assert "of other tokens than those for" in bench.refusal()


def test_one_matrix_with_two_rows_for_a_token_is_refused(bench: Bench) -> None:
    shutil.rmtree(bench.folder / "base")
    tiny.build(bench.folder / "base", n_rows=N_ROWS, tied=True)
    bench.config["trainable_token_indices"] = {"embed_tokens": NEW, "lm_head": NEW}
    name = "base_model.model.lm_head.token_adapter.trainable_tokens_delta"
    bench.tensors[name] = bench.tensors[DELTA]
    assert stored(bench.plan()) == {EMBED: 2}
    bench.tensors[name] = _f32(np.ones((2, tiny.D)))
    assert f"two rows for id {FIRST}" in bench.refusal()
    assert stored(bench.plan(ADD + "[rows]\nuntie = true\n")) == {EMBED: 2, HEAD: 2}


@pytest.mark.parametrize("brought", [["lm_head"], ["embed_tokens", "lm_head"]])
def test_a_tied_model_with_a_stored_head_takes_rows_from_either(
    bench: Bench, brought: list[str]
) -> None:
    """By config.json it is tied, and its files hold both matrices: one row reads and writes."""
    shutil.rmtree(bench.folder / "base")
    files = {"config.json": {"tie_word_embeddings": True}}
    tiny.build(bench.folder / "base", n_rows=N_ROWS, files=files)
    rows = bench.tensors.pop(DELTA)
    bench.config["trainable_token_indices"] = dict.fromkeys(brought, NEW)
    for module in brought:
        place = "lm_head" if module == "lm_head" else "model.embed_tokens"
        name = f"base_model.model.{place}.token_adapter.trainable_tokens_delta"
        bench.tensors[name] = rows
    assert stored(bench.plan()) == {EMBED: 2, HEAD: 2}
    if len(brought) > 1:
        bench.tensors[name] = _f32(np.ones((2, tiny.D)))
        assert f"two rows for id {FIRST}" in bench.refusal()


def test_what_is_wrong_with_its_rows_is_told_of_the_adapter(bench: Bench) -> None:
    bench.tensors[DELTA] = _f32(np.full((2, tiny.D), np.inf))
    with pytest.raises(RecipeError) as refused:
        bench.plan()
    (problem,) = refused.value.problems
    assert problem[0] == "[lora]"
    assert "holds a value that is no number" in problem[1]


def test_an_adapter_whose_rows_are_of_no_new_token_says_so(bench: Bench) -> None:
    bench.config["trainable_token_indices"] = [7, 8]
    bench.tensors[DELTA] = _f32(bench.old_rows()[7:9])
    plan = bench.plan()
    assert stored(plan) == {EMBED: 0, HEAD: 0}
    assert any("no row of a token that the recipe adds" in note for note in plan.notes)
