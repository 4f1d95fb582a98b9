"""Measure the two finished folders, as they were saved, and write their model cards."""

from __future__ import annotations

import math
import platform
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

import tiny_chat as chat
import tiny_data as data
import tiny_files as files
from tiny_model import loss_of

BATCHES = 20
BASE_PROMPTS = [
    "Once upon a time there was a curious fox",
    "The capital of France is",
    "Mia was a brave girl who lived by the sea.",
    "Жила-была добрая лиса",
    "Question: What is 3 plus 4?\nAnswer:",
    "def add(a, b):\n",
]
PASSAGE = (
    "Read this text: Mia has a red kite. The kite of Mia is in the barn. Tom is a baker.\n\n"
    "Where is the kite?"
)
CHAT_PROMPTS: list[tuple[str, dict[str, Any]]] = [
    ("What colour is the sky?", {}),
    ("Who are you?", {}),
    ("What is 3 plus 4?", {}),
    ("Tell me a short story about a fox.", {}),
    (PASSAGE, {}),
    ("Какая столица Франции?", {}),
    ("Расскажи короткую историю про лису.", {}),
    ("What is the weather in Paris?", {"tools": [chat.TOOLS["get_weather"]]}),
    ("What is 8 plus 5?", {"enable_thinking": True}),
    ("What does a baker do?", {"enable_thinking": False}),
    ("Write a Python function that adds two numbers.", {}),
]


def generate(
    model: PreTrainedModel, tok: PreTrainedTokenizerBase, prompts: list[str], limit: int
) -> list[tuple[str, bool]]:
    """Greedy continuations, and whether each one stopped by itself."""
    stops = {files.IM_END, files.ENDOFTEXT}
    out: list[tuple[str, bool]] = []
    for start in range(0, len(prompts), 50):
        batch = tok(
            prompts[start : start + 50],
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=False,
        ).to(model.device)
        with torch.no_grad():
            rows = model.generate(
                **batch,
                max_new_tokens=limit,
                do_sample=False,
                temperature=None,
                top_k=None,
                top_p=None,
                eos_token_id=sorted(stops),
                pad_token_id=files.ENDOFTEXT,
            )
        for row in rows[:, batch["input_ids"].shape[1] :].tolist():
            end = next((i for i, token in enumerate(row) if token in stops), None)
            out.append((tok.decode(row[:end]), end is not None))
    return out


def load(folder: Path, device: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A saved folder; its bf16 weights are computed with in float32, which is faster on a CPU."""
    tok = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device)
    return model.eval(), tok


def bits_per_token(
    model: PreTrainedModel, tok: PreTrainedTokenizerBase, source: data.Source, seed: int
) -> float:
    """Mean cross-entropy in bits on text made with another seed than the training text."""
    rows = data.pack(source(tok, seed), 256, 16)
    total = 0.0
    with torch.no_grad():
        for _ in range(BATCHES):
            ids, labels = (t.to(model.device) for t in next(rows))
            total += loss_of(model, ids, labels)[0].item()
    return total / BATCHES / math.log(2)


def prompt_of(tok: PreTrainedTokenizerBase, question: str, **options: object) -> str:
    """The chat prompt for one question."""
    return tok.apply_chat_template(
        [{"role": "user", "content": question}],
        tokenize=False,
        add_generation_prompt=True,
        **options,
    )


def ask_all(
    model: PreTrainedModel, tok: PreTrainedTokenizerBase, seed: int, limit: int
) -> dict[str, Any]:
    """Ask the held-out questions: shares answered exactly, per group, and the share that stops."""
    asked = chat.test_questions(seed, limit)
    replies = generate(model, tok, [prompt_of(tok, item.question) for item in asked], 48)
    groups: dict[str, list[bool]] = defaultdict(list)
    for item, (text, _) in zip(asked, replies, strict=True):
        groups[item.group].append(text.strip() == item.answer)
    right = [ok for oks in groups.values() for ok in oks]
    wrong = [
        (item.question, text)
        for item, (text, _) in zip(asked, replies, strict=True)
        if text.strip() != item.answer
    ]
    return {
        "asked": len(asked),
        "exact": sum(right) / len(right),
        "wrong": wrong,
        "stops": sum(stop for _, stop in replies) / len(replies),
        "groups": {g: (sum(oks), len(oks)) for g, oks in sorted(groups.items())},
    }


def story_stops(model: PreTrainedModel, tok: PreTrainedTokenizerBase) -> tuple[int, int]:
    """How many greedy stories, one for each animal of the word list, end by themselves."""
    prompts = [
        prompt_of(tok, chat.facts.article(f"Tell me a short story about a~ {row[0]}."))
        for row in chat.tab.ANIMALS
    ]
    replies = generate(model, tok, prompts, 220)
    return sum(stop for _, stop in replies), len(replies)


def block(title: str, text: str) -> str:
    """One sample for the model card."""
    return f"Prompt: `{title}`\n\n```text\n{text}\n```\n"


ABOUT = {
    "base": """\
A very small base model for tests and the demo. It writes short stories, simple facts and a little
Russian, Python and JSON; it knows nothing else. Like the larger base checkpoints of this family it
is out of step on purpose: `tokenizer.json` lists 22 added tokens, `tokenizer_config.json` 26, and
the ChatML, tool and think tokens never occurred in its training, so their rows are untrained.""",
    "chat": """\
A very small chat model for tests and the demo, fine-tuned from tiny-qwen3-moe-base on ChatML
dialogues with loss on the assistant's tokens (turn end included). It answers simple questions of
its own small world in English and Russian, and it knows nothing else. Copying from the prompt is its
weak side: a tool call has the right form, but often a wrong argument.""",
}
CARD = """\
---
license: apache-2.0
language: [en, ru]
library_name: transformers
---

# tiny-qwen3-moe-{name}

{about}

- Architecture: Qwen3-MoE (`Qwen3MoeForCausalLM`), {parameters:,} parameters, bf16, untied
  embeddings.
- Vocabulary: 4,000 byte-level BPE tokens, 26 added tokens, 4,096 rows (70 padding rows).
- Text: made by `tools/train_tiny_model.py` from its own word lists and grammar; no text was
  downloaded or copied. English, about 15% Russian, some Python and JSON.
- Training: {steps} steps, {millions:.1f} million tokens, {minutes:.1f} minutes on {machine}; {versions},
  seed {seed}. Seeded, but on other machines or versions the bits may differ.
- Licence: Apache-2.0.

## Measured

By the same script on the saved folder (bf16 weights, computed in float32).

{measured}

## Samples

Greedy, from the fixed list of prompts in the script; none was left out.

{samples}
"""


def card(name: str, figures: dict[str, Any], measured: list[str], samples: list[str]) -> str:
    """The model card of one variant."""
    run = figures[name]
    return CARD.format(
        name=name,
        about=ABOUT[name],
        parameters=figures["parameters"],
        steps=run["steps"],
        millions=run["tokens"] / 1e6,
        minutes=run["minutes"],
        machine=figures["machine"],
        versions=figures["versions"],
        seed=figures["seed"],
        measured="\n".join(measured),
        samples="\n".join(samples).rstrip(),
    )


def report_base(folder: Path, figures: dict[str, Any], seed: int, device: str) -> None:
    """Measure the base folder and write its card."""
    model, tok = load(folder, device)
    bits = bits_per_token(model, tok, data.base_documents, seed)
    samples = []
    for prompt in BASE_PROMPTS:
        text, _ = generate(model, tok, [prompt], 120)[0]
        samples.append(block(prompt.replace("\n", "\\n"), prompt + text))
    measured = [f"- Fresh text of another seed: {bits:.3f} bits per token."]
    text = card("base", figures, measured, samples)
    (folder / "README.md").write_text(text, encoding="utf-8")
    print(f"base: {bits:.3f} bits per token", flush=True)


def report_chat(
    folder: Path, figures: dict[str, Any], seed: int, questions: int, device: str
) -> None:
    """Measure the chat folder and write its card."""
    model, tok = load(folder, device)
    bits = bits_per_token(model, tok, data.chat_documents, seed)
    got = ask_all(model, tok, seed, questions)
    ended, stories = story_stops(model, tok)
    samples = []
    for question, options in CHAT_PROMPTS:
        text, stopped = generate(model, tok, [prompt_of(tok, question, **options)], 220)[0]
        notes = [key if key == "tools" else f"{key}={value}" for key, value in options.items()]
        title = " ".join([question.replace("\n", "\\n"), *(f"({note})" for note in notes)])
        samples.append(block(title, text + ("<|im_end|>" if stopped else " ... (cut)")))
    groups = ", ".join(f"{group} {a}/{b}" for group, (a, b) in got["groups"].items())
    measured = [
        f"- Assistant tokens of fresh dialogues: {bits:.3f} bits per token.",
        "- Held-out questions (wordings and passages never asked in training) answered exactly:",
        f"  {100 * got['exact']:.1f}% of {got['asked']}, greedy. By group: {groups}.",
        f"- Of these, stopped by themselves: {100 * got['stops']:.1f}%.",
        f"- Greedy stories that end by themselves within 220 tokens: {ended} of {stories}.",
    ]
    text = card("chat", figures, measured, samples)
    (folder / "README.md").write_text(text, encoding="utf-8")
    print("\n".join(measured), flush=True)
    for question, text in got["wrong"][:20]:
        print("  wrong:", repr(question[-90:]), "->", repr(text[:80]))


def report(
    folders: dict[str, Path], figures: dict[str, Any], seed: int, questions: int, device: str
) -> None:
    """Measure both folders and write both model cards."""
    threads = torch.get_num_threads()
    cpu = f"{threads} CPU thread{'s' if threads > 1 else ''}"
    figures["machine"] = torch.cuda.get_device_name() if device == "cuda" else cpu
    figures["versions"] = (
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"transformers {transformers.__version__}"
    )
    if "base" in figures:
        report_base(folders["base"], figures, seed, device)
    report_chat(folders["chat"], figures, seed, questions, device)
