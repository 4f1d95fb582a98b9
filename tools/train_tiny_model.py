"""Train the tiny Qwen3-MoE checkpoints that ship with the repository, from nothing.

    python tools/train_tiny_model.py --out models

The script makes its own text (tiny_words, tiny_stories, tiny_facts, tiny_russian, tiny_chat), learns
a tokenizer from it, trains a base model on the text and fine-tunes a chat model on dialogues, and
writes both as Hugging Face folders with measured figures in their model cards.

Everything is seeded, so a run repeats on the same machine with the same versions. Another processor,
thread count or library version may add floats in another order and give slightly other weights.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tiny_chat as chat
import tiny_eval as ev
import tiny_files as files
import torch
from torch.nn import functional
from transformers import AutoTokenizer, Qwen3MoeConfig, Qwen3MoeForCausalLM
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeExperts

SHAPE = {"hidden": 96, "layers": 4, "heads": 4, "kv_heads": 2, "head_dim": 32, "experts": 8,
         "expert": 80}
IGNORE = -100
BASE_NAME, CHAT_NAME = "tiny-qwen3-moe-base", "tiny-qwen3-moe-chat"
Rows = Iterator[tuple[torch.Tensor, torch.Tensor]]


def pack(documents: Iterator[list[tuple[list[int], list[int]]]], length: int, batch: int) -> Rows:
    """Pack tokenized documents into rows; each row starts with the start of a document.

    A document that does not fit is cut at the end of the row. The text is endless, so the lost tail
    costs nothing, and every row begins the way a prompt begins.
    """
    ids: list[list[int]] = []
    labels: list[list[int]] = []
    row: list[int] = []
    marks: list[int] = []
    for group in documents:
        for tokens, targets in group:
            row += tokens
            marks += targets
            if len(row) > length:
                ids.append(row[: length + 1])
                labels.append(marks[: length + 1])
                row, marks = [], []
            if len(ids) == batch:
                yield torch.tensor(ids), torch.tensor(labels)
                ids, labels = [], []


def base_documents(tok: Any, seed: int) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Documents of the base text, each closed by the end-of-text token."""
    r = random.Random(seed)
    while True:
        texts = [chat.document(r) for _ in range(256)]
        rows = tok(texts)["input_ids"]
        yield [(row + [files.ENDOFTEXT], row + [files.ENDOFTEXT]) for row in rows]


def assistant_labels(ids: list[int], newline: int, blank: int) -> list[int]:
    """Labels that keep the tokens the assistant has to write, its turn end included.

    An opening think tag belongs to the prompt (the template writes it), so it is not a target.
    """
    labels = [IGNORE] * len(ids)
    i = 0
    while i < len(ids):
        if ids[i] != files.IM_START:
            i += 1
            continue
        start = ids.index(newline, i) + 1
        end = ids.index(files.IM_END, i)
        if ids[i + 1 : start - 1] == ids_of_assistant:
            if ids[start] == files.THINK:
                start += 4 if ids[start + 1] == blank else 2
            labels[start : end + 1] = ids[start : end + 1]
        i = end + 1
    return labels


ids_of_assistant: list[int] = []


def chat_documents(tok: Any, seed: int) -> Iterator[list[tuple[list[int], list[int]]]]:
    """Rendered dialogues with loss on what the assistant writes."""
    r = random.Random(seed)
    ids_of_assistant[:] = tok("assistant")["input_ids"]
    newline, blank = tok("\n")["input_ids"][0], tok("\n\n")["input_ids"][0]
    while True:
        made = [chat.dialogue(r) for _ in range(128)]
        texts = [tok.apply_chat_template(d["messages"], tools=d["tools"], tokenize=False)
                 for d in made]
        out = []
        for row in tok(texts)["input_ids"]:
            labels = assistant_labels(row, newline, blank)
            out.append((row + [files.ENDOFTEXT], labels + [IGNORE]))
        yield out


def sorted_experts(self: Any, x: torch.Tensor, chosen: torch.Tensor,
                   weights: torch.Tensor) -> torch.Tensor:
    """The forward pass of the experts, with one gather and one scatter for all of them.

    The library's loop gathers per expert and its backward pass fills whole weight tensors with
    zeros for each expert, which costs a third of the time on a CPU.
    """
    order = torch.argsort(chosen.reshape(-1), stable=True)
    token = order // chosen.shape[1]
    counts = torch.bincount(chosen.reshape(-1), minlength=self.num_experts).tolist()
    parts = []
    for part, gate_up, down in zip(x.index_select(0, token).split(counts),
                                   self.gate_up_proj.unbind(0), self.down_proj.unbind(0), strict=True):
        gate, up = functional.linear(part, gate_up).chunk(2, dim=-1)
        parts.append(functional.linear(functional.silu(gate) * up, down))
    scaled = torch.cat(parts) * weights.reshape(-1).index_select(0, order)[:, None]
    return torch.zeros_like(x).index_add_(0, token, scaled)


def use_sorted_experts(model: Any) -> None:
    """Switch to `sorted_experts` after checking that it gives the library's result."""
    model.set_experts_implementation("eager")
    ids = torch.arange(64, device=model.device)[None]
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        Qwen3MoeExperts.forward = sorted_experts
        if not torch.allclose(model(input_ids=ids).logits, expected, atol=1e-5):
            raise SystemExit("the faster expert forward pass differs from the library's")


def new_model(device: str) -> Qwen3MoeForCausalLM:
    """A fresh model of the shape above; rows of the vocabulary that never occur stay as drawn here."""
    values = files.config(False, SHAPE)
    for key in ("architectures", "torch_dtype", "transformers_version", "model_type"):
        values.pop(key)
    model = Qwen3MoeForCausalLM(Qwen3MoeConfig(**values)).float().to(device)
    use_sorted_experts(model)
    return model


def optimizer_for(model: torch.nn.Module, peak: float) -> torch.optim.AdamW:
    """AdamW; no decay on embeddings and norms, so rows that never occur are not changed by decay."""
    decay, plain = [], []
    for name, value in model.named_parameters():
        matrix = value.dim() > 1 and "embed_tokens" not in name and "lm_head" not in name
        (decay if matrix else plain).append(value)
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.95), eps=1e-8)


def loss_of(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy on the marked tokens and the router's balance loss."""
    hidden = model.model(input_ids=ids[:, :-1], output_router_logits=True, use_cache=False)
    targets = labels[:, 1:]
    keep = targets != IGNORE
    logits = model.lm_head(hidden.last_hidden_state[keep])
    balance = logits.new_zeros(())
    for gate in hidden.router_logits:
        share = gate.float().softmax(-1)
        used = functional.one_hot(share.topk(2, -1).indices, share.shape[-1]).sum(1).float()
        balance = balance + share.shape[-1] * (used.mean(0) * share.mean(0)).sum()
    return functional.cross_entropy(logits.float(), targets[keep]), balance


def train(model: Any, make_rows: Callable[[int], Rows], steps: int, minutes: float | None,
          peak: float, device: str, name: str) -> tuple[int, int]:
    """Run the training loop; returns the steps done and the tokens seen.

    With a time limit the cosine follows the clock; otherwise it follows the step count.
    """
    optimizer = optimizer_for(model, peak)
    model.train()
    begin = time.time()
    long_from = 0.75
    rows, stretched = make_rows(256), False
    tokens = step = 0
    while True:
        done = (time.time() - begin) / (60 * minutes) if minutes else step / steps
        if done >= 1:
            return step, tokens
        if done >= long_from and not stretched:
            rows, stretched = make_rows(512), True
        warm = min(1.0, (step + 1) / 100)
        rate = peak * warm * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * done)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        ids, labels = (t.to(device) for t in next(rows))
        loss, balance = loss_of(model, ids, labels)
        (loss + 0.001 * balance).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        tokens += ids[:, 1:].numel()
        if step % 50 == 0 or step == 1:
            print(f"{name} step {step} {100 * done:5.1f}% loss {loss.item():.3f} "
                  f"balance {balance.item():.2f} "
                  f"{tokens / (time.time() - begin):.0f} tokens/s {time.time() - begin:.0f}s",
                  flush=True)


def main() -> None:
    """Train both variants and write their folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("models"))
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--seed", type=int, default=20240)
    parser.add_argument("--steps", type=int, default=2800, help="steps of the base training")
    parser.add_argument("--chat-steps", type=int, default=1400, help="steps of the fine-tuning")
    parser.add_argument("--minutes", type=float, help="time limit instead of step counts")
    parser.add_argument("--batch", type=int, default=8, help="rows of 256 tokens per step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--questions", type=int, default=400, help="held-out questions to ask")
    args = parser.parse_args()
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)

    print("learning the tokenizer", flush=True)
    r = random.Random(args.seed)
    texts = [chat.document(r) for _ in range(16000)]
    for _ in range(6000):
        texts += [m["content"] for m in chat.dialogue(r)["messages"]]
    bpe = files.learn_bpe(texts)
    folders = {False: args.out / BASE_NAME, True: args.out / CHAT_NAME}
    for is_chat, folder in folders.items():
        files.write_tokenizer(folder, bpe, is_chat)
        files.write_configs(folder, is_chat, SHAPE)
    tok = AutoTokenizer.from_pretrained(folders[True])

    model = new_model(device)
    count = sum(p.numel() for p in model.parameters())
    print(f"{count} parameters on {device}", flush=True)
    figures: dict[str, Any] = {"parameters": count, "seed": args.seed}
    plan: list[tuple[bool, Any, int, float, float]] = [
        (False, base_documents, args.steps, 0.7, 3e-3), (True, chat_documents, args.chat_steps, 0.3, 2e-3)]
    for is_chat, documents, steps, part, peak in plan:
        minutes = args.minutes * part if args.minutes else None

        def make_rows(length: int, documents: Any = documents) -> Rows:
            return pack(documents(tok, args.seed + length), length, args.batch * 256 // length)

        name = "chat" if is_chat else "base"
        begin = time.time()
        done, tokens = train(model, make_rows, steps, minutes, peak, device, name)
        figures[name] = {"steps": done, "tokens": tokens, "minutes": (time.time() - begin) / 60}
        files.write_weights(folders[is_chat], model.state_dict(), SHAPE["layers"])
        print(f"wrote {folders[is_chat]}", flush=True)

    ev.report(folders, figures, args.seed + 1, args.questions, loss_of, pack, base_documents,
              chat_documents, device)


if __name__ == "__main__":
    main()
