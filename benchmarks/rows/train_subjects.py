"""Train two subjects of the benchmark, one with tied and one with untied embeddings.

    python -m benchmarks.rows.train_subjects --text FILE… -o FOLDER [--minutes 18]

Dense Qwen3, 2,048 byte-level BPE pieces, 6 layers of width 256: 5.2 (tied) and 5.8 (untied) million
parameters. The untied one goes on from the tied one with two matrices, for as many minutes again; a
tied one that is there already is taken as it is. Four tenths of the documents are not trained
on and are written to FOLDER/held-out.txt: the benchmark of these subjects reads that file alone.
Weights are bfloat16 in FOLDER/tied and FOLDER/untied, and are not committed.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path

import torch
from benchmarks.rows.documents import documents, held_out
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

PIECES = 2048
END = "<|endoftext|>"
HELD_OUT = 0.4
LENGTH, BATCH = 256, 4  # small batches: minutes of one core are few steps
PEAK = 2e-3


def learn(texts: list[str]) -> Tokenizer:
    """Byte-level BPE as GPT-2 has it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def fresh(*, tied: bool) -> Qwen3ForCausalLM:
    """An untrained subject."""
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=PIECES,
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=6,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=64,
            max_position_embeddings=1024,
            tie_word_embeddings=tied,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).float()


def train(model: Qwen3ForCausalLM, ids: torch.Tensor, minutes: float, name: str) -> int:
    """AdamW in float32, cosine by time; returns the tokens seen.

    Not in bfloat16: processors without instructions for it are twenty times slower with it.
    """
    plain = [p for n, p in model.named_parameters() if p.dim() < 2 or "embed" in n or "head" in n]
    known = {id(p) for p in plain}
    decayed = [p for p in model.parameters() if id(p) not in known]
    groups = [
        {"params": decayed, "weight_decay": 0.1},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=PEAK, betas=(0.9, 0.95))
    begin, step = time.time(), 0
    model.train()
    while (done := (time.time() - begin) / (60 * minutes)) < 1:
        rate = (
            PEAK * min(1, (step + 1) / 100) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * done)))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = torch.randint(0, len(ids) - LENGTH - 1, (BATCH,))
        rows = ids[starts[:, None] + torch.arange(LENGTH + 1)]
        logits = model(input_ids=rows[:, :-1], use_cache=False).logits
        loss = functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if step % 100 == 0:
            rate = step * BATCH * LENGTH / (time.time() - begin)
            print(
                f"{name} step {step} {done:.0%} loss {loss.item():.3f} {rate:.0f} tok/s", flush=True
            )
    return step * BATCH * LENGTH


@torch.no_grad()
def bits_per_byte(model: Qwen3ForCausalLM, tokenizer: Tokenizer, texts: list[str]) -> float:
    """On whole held-out documents, each from its own start."""
    model.eval()
    nats, size = 0.0, 0
    for text in texts:
        ids = torch.tensor([[0, *tokenizer.encode(text).ids[: LENGTH - 1]]])
        logits = model(input_ids=ids[:, :-1]).logits[0].float()
        nats += functional.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
        size += len(tokenizer.decode(ids[0, 1:].tolist()).encode())
    return nats / math.log(2) / size


def main() -> None:
    """Train the pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, nargs="+", required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=18, help="for each of the two")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    wish = parser.parse_args()
    torch.set_num_threads(wish.threads)
    whole = documents(wish.text)
    seen = [text for text in whole if not held_out(text, HELD_OUT)]
    unseen = [text for text in whole if held_out(text, HELD_OUT)]
    wish.out.mkdir(parents=True, exist_ok=True)
    (wish.out / "held-out.txt").write_text("\n".join(unseen) + "\n", encoding="utf-8")
    if (wish.out / "tied" / "tokenizer.json").exists():
        tokenizer = Tokenizer.from_file(str(wish.out / "tied" / "tokenizer.json"))
    else:
        tokenizer = learn(seen)
    random.Random(wish.seed).shuffle(seen)
    ids = torch.tensor([i for e in tokenizer.encode_batch(seen) for i in (0, *e.ids)])
    print(f"{len(seen)} documents, {len(ids)} tokens; {len(unseen)} held out", flush=True)
    for name in ("tied", "untied"):
        if name == "tied" and (wish.out / name / "config.json").exists():
            continue
        torch.manual_seed(wish.seed)
        model = fresh(tied=name == "tied")
        if name == "untied":
            start = Qwen3ForCausalLM.from_pretrained(wish.out / "tied", dtype=torch.float32)
            model.load_state_dict(start.state_dict())
        tokens = train(model, ids, wish.minutes, name)
        score = bits_per_byte(model, tokenizer, unseen[::20])
        n = sum(p.numel() for p in model.parameters())
        print(f"{name}: {n} parameters, {tokens} tokens, {score:.3f} bits per byte", flush=True)
        model.to(torch.bfloat16).save_pretrained(wish.out / name)
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, bos_token=END, eos_token=END
        ).save_pretrained(wish.out / name)


if __name__ == "__main__":
    main()
