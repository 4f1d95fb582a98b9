"""Supervised training by TRL, from a folder of settings and data to a PEFT folder.

Every process of a launch runs this; the one that began it reads the result.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokengraft.boundaries import generation_ends, opening_of
from tokengraft.events import Listen, Note, ignore
from tokengraft.formats.loading import load
from tokengraft.training import ranks, sft_model
from tokengraft.training.sft_data import HELD_OUT, TRAIN
from tokengraft.training.sft_settings import START, Settings, device_batch
from tokengraft.training.sft_settling import settle
from tokengraft.training.sft_trainer import make_trainer

STEP = "train"
CURVES, CHECKPOINTS, RESULT, NAMES = "curves.jsonl", "checkpoints", "peft", "names.json"
SETTLED = "settled.txt"  # what was done with the output rows behind the last step


def train(work: Path, listen: Listen = ignore) -> None:
    """Train what `work` describes, going on from its last checkpoint if there is one.

    The result is a PEFT folder in `work`, written by the first process.
    """
    with _quiet():
        _train(work, listen)


def _train(work: Path, listen: Listen) -> None:
    import torch
    from datasets import Dataset
    from peft import get_peft_model, prepare_model_for_kbit_training
    from safetensors.torch import load_file
    from transformers import set_seed

    settings = Settings.load(work)
    arguments = _arguments(settings, work)
    if arguments.n_gpu > 1:  # without a launcher, the trainer would copy the model in each step
        listen(Note(STEP, f"1 of {arguments.n_gpu} GPUs is used: accelerate launch uses them all"))
        arguments._n_gpu = 1  # noqa: SLF001 - as its own documentation does
    model = sft_model.load_frozen(settings, on_cpu=arguments.device.type == "cpu")
    if settings.wish.quantize:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    set_seed(settings.seed)  # what the factors of an adapter begin with
    names = sft_model.matrix_names(model)
    model = get_peft_model(model, sft_model.adapter_config(model, settings))
    sizes = sft_model.set_rows(model, load_file(work / START))
    trainer = make_trainer(
        settings,
        arguments,
        model,
        sizes,
        train_rows=Dataset.from_file(str(work / TRAIN)),
        held_out=Dataset.from_file(str(work / HELD_OUT)) if settings.has_held_out else None,
        listen=listen,
        curves=work / CURVES,
    )
    last = _last_checkpoint(work / CHECKPOINTS)
    if last is not None:
        listen(Note(STEP, f"going on from {last.name}"))
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    if settings.wish.method == "rows" and len(sizes) > 1 and trainer.accelerator.is_main_process:
        checkpoint = load(Path(settings.staged))
        told = settle(
            trainer,
            model,
            settings.ids,
            settings.seed,
            opening=opening_of(checkpoint),
            ends=generation_ends(checkpoint),
        )
        (work / SETTLED).write_text(told, encoding="utf-8")
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(work / RESULT))
    if trainer.accelerator.is_main_process:
        (work / NAMES).write_text(json.dumps(names) + "\n", encoding="utf-8")
    trainer.accelerator.wait_for_everyone()
    del trainer, model
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what libraries say of themselves; afterwards they speak as before."""
    import datasets
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    data_bars = datasets.are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
        if not data_bars:
            datasets.enable_progress_bars()


def _arguments(settings: Settings, work: Path) -> Any:
    """TRL's settings. What is not the recipe's to choose is said here, each with its reason."""
    import torch
    from trl import SFTConfig

    wish = settings.wish
    on_cpu = not (torch.cuda.is_available() or torch.backends.mps.is_available())
    at_once, times = device_batch(wish, ranks.state().num_processes)
    checkpointing = wish.gradient_checkpointing
    return SFTConfig(
        output_dir=str(work / CHECKPOINTS),
        use_cpu=on_cpu,
        bf16=not on_cpu,
        per_device_train_batch_size=at_once,
        per_device_eval_batch_size=at_once,
        gradient_accumulation_steps=times,
        num_train_epochs=wish.epochs,
        max_steps=wish.steps or -1,
        learning_rate=wish.learning_rate,
        lr_scheduler_type=wish.schedule,
        warmup_steps=wish.warmup,  # below 1 it is a share of all steps
        weight_decay=0.0,  # a new row that is rarely seen would shrink towards nothing
        max_grad_norm=1.0,
        gradient_checkpointing=not on_cpu if checkpointing is None else checkpointing,
        packing=wish.packing,
        max_length=settings.length if wish.packing else None,  # rows are cut already
        router_aux_loss_coef=_no_router_loss(settings),
        seed=settings.seed,
        data_seed=settings.seed,
        save_strategy="steps" if wish.checkpoints else "no",
        save_steps=1 / wish.checkpoints if wish.checkpoints else 500,
        save_total_limit=1,
        eval_strategy="epoch" if settings.has_held_out else "no",
        prediction_loss_only=True,
        logging_steps=1,
        report_to=[] if wish.log == "jsonl" else [wish.log],
        disable_tqdm=True,
        dataloader_pin_memory=not on_cpu,
        dataset_num_proc=None,
    )


def _no_router_loss(settings: Settings) -> float | None:
    """0 for experts: the router is not trained, and its loss would pull at rows instead."""
    config = json.loads((Path(settings.staged) / "config.json").read_text(encoding="utf-8"))
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    return 0.0 if any("router_aux_loss_coef" in part for part in parts) else None


def _last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole: the trainer's state is its last file."""
    found = [
        path
        for path in folder.glob("checkpoint-*")
        if path.name.rpartition("-")[2].isdigit() and (path / "trainer_state.json").is_file()
    ]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
