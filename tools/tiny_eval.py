"""Measure the two finished folders, as they were saved, and write their model cards."""

from __future__ import annotations

import math
import platform
from collections import defaultdict
from pathlib import Path
from typing import Any

import tiny_chat as chat
import tiny_files as files
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

BASE_PROMPTS = ["Once upon a time there was a curious fox", "The capital of France is",
                "Mia was a brave girl who lived by the sea.", "Жила-была добрая лиса",
                "Question: What is 3 plus 4?\nAnswer:", "def add(a, b):"]
PASSAGE = ("Read this text: Mia has a red kite. The kite of Mia is in the barn. Tom is a baker.\n\n"
           "Where is the kite?")
CHAT_PROMPTS: list[tuple[str, dict[str, Any]]] = [
    ("What colour is the sky?", {}), ("Who are you?", {}), ("What is 3 plus 4?", {}),
    ("Tell me a short story about a fox.", {}), (PASSAGE, {}), ("Какая столица Франции?", {}),
    ("Расскажи короткую историю про лису.", {}),
    ("What is the weather in Paris?", {"tools": [chat.TOOLS["get_weather"]]}),
    ("What is 8 plus 5?", {"enable_thinking": True}), ("What does a baker do?", {"enable_thinking": False}),
    ("Write a Python function that adds two numbers.", {}),
]


def generate(model: Any, tok: Any, prompts: list[str], limit: int) -> list[tuple[str, bool]]:
    """Greedy continuations, and whether each one stopped by itself."""
    stops = {files.IM_END, files.ENDOFTEXT}
    out: list[tuple[str, bool]] = []
    for start in range(0, len(prompts), 50):
        batch = tok(prompts[start : start + 50], return_tensors="pt", padding=True, padding_side="left",
                    add_special_tokens=False).to(model.device)
        with torch.no_grad():
            rows = model.generate(**batch, max_new_tokens=limit, do_sample=False, temperature=None,
                                  top_k=None, top_p=None, eos_token_id=sorted(stops),
                                  pad_token_id=files.ENDOFTEXT)
        for row in rows[:, batch["input_ids"].shape[1] :].tolist():
            end = next((i for i, token in enumerate(row) if token in stops), None)
            out.append((tok.decode(row[:end]), end is not None))
    return out


def load(folder: Path, device: str) -> tuple[Any, Any]:
    """A saved folder; its bf16 weights are computed with in float32, which is faster on a CPU."""
    tok = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device)
    return model.eval(), tok


def bits_per_token(model: Any, rows: Any, loss_of: Any, batches: int, device: str) -> float:
    """Mean cross-entropy in bits on text made with another seed."""
    total = 0.0
    with torch.no_grad():
        for _ in range(batches):
            ids, labels = (t.to(device) for t in next(rows))
            total += loss_of(model, ids, labels)[0].item()
    return total / batches / math.log(2)


def prompt_of(tok: Any, question: str, **options: Any) -> str:
    """The chat prompt for one question."""
    return tok.apply_chat_template([{"role": "user", "content": question}], tokenize=False,
                                   add_generation_prompt=True, **options)


def ask_all(model: Any, tok: Any, seed: int, limit: int) -> dict[str, Any]:
    """Ask the held-out questions: shares answered exactly, per group, and the share that stops."""
    asked = chat.test_questions(seed, limit)
    replies = generate(model, tok, [prompt_of(tok, item.question) for item in asked], 48)
    groups: dict[str, list[bool]] = defaultdict(list)
    for item, (text, _) in zip(asked, replies, strict=True):
        groups[item.group].append(text.strip() == item.answer)
    right = [ok for oks in groups.values() for ok in oks]
    wrong = [(item.question, text) for item, (text, _) in zip(asked, replies, strict=True)
             if text.strip() != item.answer]
    return {"asked": len(asked), "exact": sum(right) / len(right), "wrong": wrong,
            "stops": sum(stop for _, stop in replies) / len(replies),
            "groups": {g: (sum(oks), len(oks)) for g, oks in sorted(groups.items())}}


def story_stops(model: Any, tok: Any) -> tuple[int, int]:
    """How many greedy stories, one for each animal of the word list, end by themselves."""
    prompts = [prompt_of(tok, chat.facts.article(f"Tell me a short story about a~ {row[0]}."))
               for row in chat.w.ANIMALS]
    replies = generate(model, tok, prompts, 220)
    return sum(stop for _, stop in replies), len(replies)


def block(title: str, text: str) -> str:
    """One sample for the model card."""
    return f"Prompt: `{title}`\n\n```text\n{text}\n```\n"


def card(chat_variant: bool, figures: dict[str, Any], samples: list[str]) -> str:
    """The model card of one variant."""
    name = "tiny-qwen3-moe-chat" if chat_variant else "tiny-qwen3-moe-base"
    run = figures["chat" if chat_variant else "base"]
    lines = ["---", "license: apache-2.0", "language: [en, ru]", "library_name: transformers", "---", "",
             f"# {name}", ""]
    if chat_variant:
        lines += ["A very small chat model for tests and the demo, fine-tuned from tiny-qwen3-moe-base on",
                  "ChatML dialogues with loss on the assistant's tokens (turn end included). It answers",
                  "simple questions in its own small world; it knows nothing else."]
    else:
        lines += ["A very small base model for tests and the demo. It writes short stories, simple facts",
                  "and a little Russian, Python and JSON; it knows nothing else. Like the larger base",
                  "checkpoints of this family it is out of step on purpose: `tokenizer.json` lists 22",
                  "added tokens, `tokenizer_config.json` 26, and the ChatML, tool and think tokens never",
                  "occurred in its training, so their rows are untrained."]
    lines += ["", "- Architecture: Qwen3-MoE (`Qwen3MoeForCausalLM`), "
              f"{figures['parameters']:,} parameters, bf16, untied embeddings.",
              "- Vocabulary: 4,000 byte-level BPE tokens, 26 added tokens, 4,096 rows (70 padding rows).",
              "- Text: made by `tools/train_tiny_model.py` from its own word lists and grammar; no text",
              "  was downloaded or copied. English, about 15% Russian, some Python and JSON.",
              f"- Training: {run['steps']} steps, {run['tokens'] / 1e6:.1f} million tokens, "
              f"{run['minutes']:.1f} minutes on {figures['machine']},", f"  {figures['versions']}, seed "
              f"{figures['seed']}. Seeded; on other machines or versions bits may differ.",
              "- Licence: Apache-2.0.", "", "## Measured", "",
              "Measured by the same script on the saved folder (bf16 weights, computed in float32).", ""]
    if chat_variant:
        got = figures["chat_eval"]
        per_group = ", ".join(f"{g} {a}/{b}" for g, (a, b) in got["groups"].items())
        lines += [f"- Validation, assistant tokens of fresh dialogues: {figures['chat_bits']:.3f} bits per token.",
                  f"- Held-out questions (wordings never asked in training) answered exactly, greedy: "
                  f"{100 * got['exact']:.1f}% of {got['asked']}.", f"  By group: {per_group}.",
                  f"- Of these, stopped by themselves: {100 * got['stops']:.1f}%.",
                  f"- Stories that end by themselves within 220 tokens: {got['stories'][0]} of "
                  f"{got['stories'][1]}."]
    else:
        lines += [f"- Validation, fresh text of another seed: {figures['base_bits']:.3f} bits per token."]
    lines += ["", "## Samples", "", "Greedy, not chosen by hand: the script's fixed list of prompts.", ""]
    return "\n".join(lines) + "\n" + "\n".join(samples)


def report(folders: dict[bool, Path], figures: dict[str, Any], seed: int, questions: int,
           loss_of: Any, pack: Any, base_documents: Any, chat_documents: Any, device: str) -> None:
    """Measure both folders and write both model cards."""
    threads = torch.get_num_threads()
    cpu = f"{threads} CPU thread{'s' if threads > 1 else ''}"
    figures["machine"] = torch.cuda.get_device_name() if device == "cuda" else cpu
    figures["versions"] = (f"Python {platform.python_version()}, torch {torch.__version__}, "
                           f"transformers {transformers.__version__}")
    base, base_tok = load(folders[False], device)
    rows = pack(base_documents(base_tok, seed), 256, 16)
    figures["base_bits"] = bits_per_token(base, rows, loss_of, 20, device)
    samples = []
    for prompt in BASE_PROMPTS:
        text, _ = generate(base, base_tok, [prompt], 120)[0]
        samples.append(block(prompt.replace("\n", "\\n"), prompt + text))
    (folders[False] / "README.md").write_text(card(False, figures, samples), encoding="utf-8")
    print(f"base: {figures['base_bits']:.3f} bits per token", flush=True)

    tuned, tok = load(folders[True], device)
    rows = pack(chat_documents(tok, seed), 256, 16)
    figures["chat_bits"] = bits_per_token(tuned, rows, loss_of, 20, device)
    result = ask_all(tuned, tok, seed, questions)
    result["stories"] = story_stops(tuned, tok)
    figures["chat_eval"] = result
    samples = []
    for question, options in CHAT_PROMPTS:
        prompt = prompt_of(tok, question, **options)
        text, stopped = generate(tuned, tok, [prompt], 220)[0]
        note = "".join(f" ({key})" if key == "tools" else f" ({key}={value})"
                       for key, value in options.items())
        end = "<|im_end|>" if stopped else " ... (cut)"
        samples.append(block(question.replace("\n", "\\n") + note, text + end))
    (folders[True] / "README.md").write_text(card(True, figures, samples), encoding="utf-8")
    print(f"chat: {figures['chat_bits']:.3f} bits per token, exact {result['exact']:.3f}, "
          f"stops {result['stops']:.3f}, stories {result['stories']}, groups {result['groups']}")
    for question, text in result["wrong"][:25]:
        print("  wrong:", repr(question[-90:]), "->", repr(text[:80]))
