"""Train the tiny Qwen3-MoE checkpoints that ship with the repository, from nothing.

    python tools/train_tiny_model.py --out models

Needs torch and transformers 5. The script makes its own text (`tiny_chat` and the modules that it
imports), learns a tokenizer from it, trains a base model on the text and fine-tunes a chat model
on dialogues. It writes both as Hugging Face folders with measured figures in their model cards.

Everything is seeded, so a run with step counts repeats on the same machine with the same versions.
Another processor, thread count or library version may add floats in another order and give
slightly other weights. With --minutes the number of steps depends on the speed of the machine.

On Linux the environment MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 makes it about a
fifth faster, because memory is then kept between the steps.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

import tiny_chat as chat
import tiny_data as data
import tiny_eval as ev
import tiny_files as files
import tiny_model as tiny

LONG_FROM = 0.75  # the share of the training after which rows are 512 tokens long, not 256


@dataclass(frozen=True)
class Phase:
    """One of the two trainings; a time limit replaces the step count."""

    name: str
    documents: data.Source
    steps: int
    minutes: float | None
    peak: float


def train(
    model: PreTrainedModel, phase: Phase, make_rows: Callable[[int], data.Rows], device: str
) -> tuple[int, int]:
    """Run the training loop; returns the steps done and the tokens seen."""
    optimizer = tiny.optimizer_for(model, phase.peak)
    model.train()
    begin = time.time()
    rows, stretched = make_rows(256), False
    tokens = step = 0
    while True:
        spent = time.time() - begin
        done = spent / (60 * phase.minutes) if phase.minutes else step / phase.steps
        if done >= 1:
            return step, tokens
        if done >= LONG_FROM and not stretched:
            rows, stretched = make_rows(512), True
        warm = min(1.0, (step + 1) / 100)
        rate = phase.peak * warm * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * done)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids, labels = (t.to(device) for t in next(rows))
        loss, balance = tiny.loss_of(model, ids, labels)
        (loss + 0.001 * balance).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        tokens += ids[:, 1:].numel()
        if step % 50 == 0 or step == 1:
            spent = time.time() - begin
            print(
                f"{phase.name} step {step} {100 * done:5.1f}% loss {loss.item():.3f} "
                f"balance {balance.item():.2f} {tokens / spent:.0f} tokens/s {spent:.0f}s",
                flush=True,
            )


def rows_for(
    phase: Phase, tok: PreTrainedTokenizerBase, seed: int, batch: int, length: int
) -> data.Rows:
    """Rows of the wanted length, as many per step as keep the tokens per step the same."""
    return data.pack(phase.documents(tok, seed + length), length, batch * 256 // length)


def write_tokenizers(folders: dict[str, Path], seed: int) -> PreTrainedTokenizerBase:
    """Learn the tokenizer and write everything but the weights; returns the chat tokenizer."""
    r = random.Random(seed)
    texts = [chat.document(r) for _ in range(16000)]
    for _ in range(6000):
        texts += [m["content"] for m in chat.dialogue(r)["messages"]]
    bpe = files.learn_bpe(texts)
    for name, folder in folders.items():
        files.write_tokenizer(folder, bpe, chat=name == "chat")
        files.write_configs(folder, tiny.SHAPE, chat=name == "chat")
    return AutoTokenizer.from_pretrained(folders["chat"])


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("models"))
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--seed", type=int, default=20240)
    parser.add_argument("--steps", type=int, default=2800, help="steps of the base training")
    parser.add_argument("--chat-steps", type=int, default=2200, help="steps of the fine-tuning")
    parser.add_argument(
        "--chat-only", action="store_true", help="fine-tune the base in --out again"
    )
    parser.add_argument("--minutes", type=float, help="time limit instead of step counts")
    parser.add_argument("--batch", type=int, default=8, help="rows of 256 tokens per step")
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--questions", type=int, default=400, help="held-out questions to ask")
    return parser.parse_args()


def main() -> None:
    """Train both variants and write their folders."""
    args = arguments()
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    folders = {name: args.out / f"tiny-qwen3-moe-{name}" for name in ("base", "chat")}
    if args.chat_only:
        tok = AutoTokenizer.from_pretrained(folders["chat"])
    else:
        print("learning the tokenizer", flush=True)
        tok = write_tokenizers(folders, args.seed)

    figures: dict[str, Any] = {"seed": args.seed}
    base_minutes, chat_minutes = (args.minutes and args.minutes * part for part in (0.6, 0.4))
    phases = [
        Phase("base", data.base_documents, args.steps, base_minutes, 3e-3),
        Phase("chat", data.chat_documents, args.chat_steps, chat_minutes, 3e-3),
    ]
    for phase in phases[args.chat_only :]:
        fresh = phase.name == "base"
        model = tiny.new_model(device) if fresh else tiny.saved_model(folders["base"], device)
        figures["parameters"] = sum(p.numel() for p in model.parameters())
        print(f"{phase.name}: {figures['parameters']} parameters on {device}", flush=True)
        make_rows = partial(rows_for, phase, tok, args.seed, args.batch)
        begin = time.time()
        steps, tokens = train(model, phase, make_rows, device)
        minutes = (time.time() - begin) / 60
        figures[phase.name] = {"steps": steps, "tokens": tokens, "minutes": minutes}
        files.write_weights(folders[phase.name], model.state_dict(), tiny.SHAPE["layers"])
        print(f"wrote {folders[phase.name]}", flush=True)
    ev.report(folders, figures, args.seed + 1, args.questions, device)


if __name__ == "__main__":
    main()
