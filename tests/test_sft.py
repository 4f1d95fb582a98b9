"""Supervised training on the small chat model: what moves, what stays, and going on after a stop."""
# ruff: noqa: E402 - without torch the imports below fail, and the file is skipped before them

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs tokengraft[train]")
pytest.importorskip("trl", reason="needs tokengraft[train]")

import tiny
from sft_jobs import CHAT, conversations, job, write_rows
from tokengraft.errors import MissingExtra, UsageError
from tokengraft.events import Event, Note, Progress
from tokengraft.formats.adapters import read_adapter
from tokengraft.formats.loading import load
from tokengraft.planning.low_rank import plan_low_rank
from tokengraft.recipes import Supervised
from tokengraft.training import sft_stage, sft_trainer
from tokengraft.training.reading import read_rows
from tokengraft.training.sft_encoding import Encoded, Encoder
from tokengraft.training.sft_forms import example_of
from tokengraft.training.sft_settings import NotTrainable, check_wish, device_batch
from tokengraft.training.stages import Job, StageResult

pytestmark = pytest.mark.filterwarnings("ignore")  # libraries on what they will change one day
SEEN = {"in_loss": 8, "given": 0, "rows": 4}
STEPS = ("train.sft.steps=4", "train.sft.batch=8", "train.sft.checkpoints=2")


def curve(made: Job) -> list[dict[str, Any]]:
    lines = (made.work / "curves.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sft")


@pytest.fixture(scope="module")
def rows(folder: Path) -> tuple[Job, StageResult]:
    made = job(folder, overrides=STEPS, work="rows")
    return made, sft_stage.run(made)


@pytest.fixture(scope="module")
def lora(folder: Path) -> tuple[Job, StageResult]:
    wish = ('train.sft.method="lora"', "train.sft.rank=4", "train.sft.experts=true")
    made = job(folder, overrides=(*STEPS, *wish, "train.sft.learning_rate=0.01"), work="lora")
    return made, sft_stage.run(made)


def logits(model: Any, ids: list[int]) -> Any:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits


def staged_model(made: Job, result: StageResult) -> Any:
    """The staged model with the rows of a result, as apply would write them but not rounded."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(made.staged, dtype=torch.float32)
    ids = list(sft_stage.ids_of_new_tokens(made).values())
    with torch.no_grad():
        assert result.rows.output_ND is not None
        model.get_input_embeddings().weight[ids] = torch.tensor(result.rows.input_ND).float()
        model.get_output_embeddings().weight[ids] = torch.tensor(result.rows.output_ND).float()
    return model


def an_example(made: Job) -> list[int]:
    with Encoder(load(made.staged)) as encoder:
        one = encoder.encode([example_of(next(conversations(1)))[1]])[0]
    assert isinstance(one, Encoded)
    return list(one.ids)


def test_rows_move_and_the_loss_falls(rows: tuple[Job, StageResult]) -> None:
    made, result = rows
    assert result.adapter is None
    assert result.rows.texts == made.rows.texts == ("<tool_start>", "</tool_end>", "<|pad|>")
    assert result.rows.output_ND is not None
    assert made.rows.output_ND is not None
    moved_in = np.abs(result.rows.input_ND - made.rows.input_ND).max(axis=1)
    moved_out = np.abs(result.rows.output_ND - made.rows.output_ND).max(axis=1)
    assert (moved_in[:2] > 1e-3).all()
    assert moved_in[2] == 0  # a pad token is never read
    assert (moved_out > 1e-3).all()  # and is learned not to be written
    losses = [line["loss"] for line in curve(made) if "loss" in line]
    assert losses[-1] < losses[0] - 0.1  # every step has all rows


def test_nothing_but_new_rows_is_trained(rows: tuple[Job, StageResult]) -> None:
    from safetensors.numpy import load_file

    made, _ = rows
    tensors = load_file(made.work / "peft" / "adapter_model.safetensors")
    assert {tensor.shape for tensor in tensors.values()} == {(3, 96)}
    assert len(tensors) == 2


def test_plain_peft_gives_the_untouched_base_what_was_trained(
    lora: tuple[Job, StageResult],
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    made, result = lora
    base = AutoModelForCausalLM.from_pretrained(CHAT, dtype=torch.float32)
    told = json.loads((made.work / "peft" / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == str(CHAT)
    adapted = PeftModel.from_pretrained(base, made.work / "peft")
    ids = an_example(made)
    found = logits(adapted, ids)
    # And the rows in the model with the plain adapter, as a server has them, come to the same.
    assert result.adapter is not None
    other = PeftModel.from_pretrained(staged_model(made, result), result.adapter)
    assert torch.allclose(found, logits(other, ids), atol=1e-4)
    plain = AutoModelForCausalLM.from_pretrained(CHAT, dtype=torch.float32)
    assert not torch.allclose(found, logits(plain, ids), atol=1e-2)


def test_the_plain_adapter_can_be_baked(lora: tuple[Job, StageResult]) -> None:
    made, result = lora
    assert result.adapter is not None
    planned = plan_low_rank(load(made.base), read_adapter(result.adapter))
    assert planned.problems == ()
    touched = {edit.tensor for edit in planned.edits}
    assert "model.layers.0.self_attn.q_proj.weight" in touched
    assert "model.layers.3.mlp.experts.7.down_proj.weight" in touched


def test_an_adapter_may_stay_beside_the_model(folder: Path) -> None:
    wish = ('train.sft.method="lora"', 'train.sft.save="adapter"', "train.sft.targets='attention'")
    some = ("train.sft.batch=2", "train.sft.epochs=1", "train.sft.validation=0.5")
    made = job(folder, overrides=(*some, *wish), work="beside")
    result = sft_stage.run(made)
    assert any("held_out_loss" in line for line in curve(made))
    assert result.adapter is None
    assert any("stays beside the model" in note for note in result.notes)
    config = json.loads((made.work / "adapter" / "adapter_config.json").read_text())
    assert sorted(config["target_modules"]) == ["k_proj", "o_proj", "q_proj", "v_proj"]
    assert config["trainable_token_indices"] is None


class Killed(BaseException):
    """Stands for the end of the process: nothing catches it."""


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not_been(
    rows: tuple[Job, StageResult], folder: Path
) -> None:
    whole, expected = rows

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and (event.step, event.done) == ("sft", 4):
            raise Killed  # step 3 was told, and the last checkpoint is of step 2

    made = job(folder, overrides=STEPS, work="stopped", listen=stop)
    with pytest.raises(Killed):
        sft_stage.run(made)
    assert 3 == max(line["step"] for line in curve(made))
    heard: list[Event] = []
    result = sft_stage.run(replace(made, listen=heard.append))
    assert any(isinstance(event, Note) and "checkpoint-2" in event.text for event in heard)
    assert curve(made) == curve(whole)
    assert np.array_equal(result.rows.input_ND, expected.rows.input_ND)


def test_packing_gives_the_loss_of_rows_apart(folder: Path, rows: tuple[Job, StageResult]) -> None:
    one = ("train.sft.steps=1", "train.sft.batch=1", "train.sft.checkpoints=0")
    small = folder / "packed"
    small.mkdir()
    write_rows(small / "data.jsonl", conversations(2))
    apart = job(small, overrides=("train.sft.steps=1", "train.sft.batch=2"), work="apart")
    packed = job(small, overrides=(*one, "train.sft.packing=true"), work="packed")
    sft_stage.run(apart)
    sft_stage.run(packed)
    # Both rows are in one step, the one as two sequences, the other as one.
    assert curve(packed)[0]["loss"] == pytest.approx(curve(apart)[0]["loss"], rel=1e-4)
    assert curve(packed)[0]["tokens"] < curve(apart)[0]["tokens"] + 1


def test_the_loss_is_that_of_trl(
    rows: tuple[Job, StageResult], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = rows
    monkeypatch.setattr(sft_trainer, "may_spare", lambda *_: False)
    same = ("train.sft.steps=2", "train.sft.gradient_checkpointing=true", *STEPS[1:])
    made = job(folder, overrides=same, work="theirs")
    sft_stage.run(made)
    expected, found = curve(made)[0], curve(whole)[0]
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    for key in ("accuracy", "grad_norm", "tokens"):
        assert found[key] == pytest.approx(expected[key], rel=1e-4)


def test_tables_are_read_row_by_row(tmp_path: Path) -> None:
    from datasets import Dataset

    talks = list(conversations(3))
    function = {"name": "f", "arguments": {"other": 1}}
    talks[1]["messages"][1]["tool_calls"] = [{"type": "function", "function": function}]
    rows = [{**row, "tools": json.dumps(row["tools"])} for row in talks]
    Dataset.from_list(rows).to_parquet(tmp_path / "data.parquet")
    found = list(read_rows("data.parquet", tmp_path))
    assert [1, 2, 3] == [row.line for row in found]
    # A table gives every record the keys of all, as null: they are no keys of the record.
    for expected, row in zip(talks, found, strict=True):
        assert example_of(row.value) == example_of(expected)


def test_the_mask_is_that_of_transformers(rows: tuple[Job, StageResult]) -> None:
    from transformers import AutoTokenizer

    made, _ = rows
    tokenizer = AutoTokenizer.from_pretrained(made.staged)
    talks = [*conversations(4), {"messages": [{"role": "user", "content": "é"}]}]
    talks[-1]["messages"] += [{"role": "assistant", "content": "ёж 🙂"}] * 2
    with Encoder(load(made.staged)) as encoder:
        found = encoder.encode([example_of(row)[1] for row in talks])
    for row, one in zip(talks, found, strict=True):
        told = tokenizer.apply_chat_template(
            row["messages"],
            tools=row.get("tools"),
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        assert isinstance(one, Encoded)
        assert list(one.ids) == list(told["input_ids"])
        assert [int(said) for said in one.said] == list(told["assistant_masks"])


def test_one_matrix_that_does_both_jobs_is_trained_as_one(tmp_path: Path) -> None:
    base = tiny.build(tmp_path / "base", tied=True)
    (tmp_path / "data.jsonl").write_text('{"text": "<|new|> Hello <|new|>"}\n' * 4)
    recipe = 'version = 1\n[[add]]\ntext = "<|new|>"\n[train]\ndata = "data.jsonl"\n'
    few = ("train.sft.steps=2", "train.sft.batch=2", "train.sft.validation=0")
    made = job(tmp_path, base=base, recipe=recipe, overrides=few)
    result = sft_stage.run(made)
    assert result.rows.output_ND is None
    assert np.abs(result.rows.input_ND - made.rows.input_ND).max() > 1e-4
    told = json.loads((made.work / "data.json").read_text())
    assert told["tokens"][0] == {"text": "<|new|>", "id": told["tokens"][0]["id"], **SEEN}


# ── what is refused ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("wish", "quantized", "error", "said"),
    [
        (Supervised(method="full"), "", UsageError, "not every weight"),
        (Supervised(quantize="4bit"), "", MissingExtra, "bitsandbytes"),
        (Supervised(log="wandb"), "", MissingExtra, "wandb"),
        (Supervised(method="lora"), "gptq", NotTrainable, "quantised"),
        (Supervised(batch=6, device_batch=4), "", UsageError, "does not divide"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_read(
    wish: Supervised, quantized: str, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        check_wish(wish, quantized)


def test_full_training_is_answered_with_the_command_that_does_it() -> None:
    with pytest.raises(UsageError) as refused:
        check_wish(Supervised(method="full"), "")
    assert "trl sft --model_name_or_path OUT" in refused.value.hint


def test_a_batch_is_divided_among_processes() -> None:
    assert device_batch(Supervised(batch=16), 1) == (8, 2)
    assert device_batch(Supervised(batch=16), 2) == (8, 1)
    assert device_batch(Supervised(batch=12, device_batch=3), 2) == (3, 2)
    assert device_batch(Supervised(batch=14), 1) == (7, 2)
    with pytest.raises(UsageError, match="divided among 3"):
        device_batch(Supervised(batch=16), 3)


def test_a_module_that_is_not_there_is_named(folder: Path) -> None:
    made = job(
        folder,
        overrides=(*STEPS, 'train.sft.method="lora"', 'train.sft.targets=["nothing_proj"]'),
        work="none",
    )
    with pytest.raises(NotTrainable, match="nothing_proj"):
        sft_stage.run(made)
