"""Ask models and write down what they say; runs in a process of its own.

Usage: python -P run_behaviour.py ASKED.json ANSWER.json. Imports nothing of tokengraft. Answers are
greedy, whatever the folder's generation_config.json says of sampling; its stop tokens hold.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

TOKENS_AT_ONCE = 4096  # of prompts that are answered together, filled up to the longest of them
MOST_AT_ONCE = 64
WINDOW_TOKENS = 1024  # longer texts are read in pieces


def main(asked: str, answer: str) -> None:
    """Write `models`: one for each folder, with `answers` and `texts`, or `error` if it stumbled."""
    import torch
    import transformers

    wish = json.loads(Path(asked).read_text(encoding="utf-8"))
    limit_memory(wish["memory_bytes"])
    torch.manual_seed(0)
    told: list[dict[str, Any]] = []
    for folder in wish["folders"]:
        try:
            told.append(ask(folder, wish))
        except Exception as error:  # noqa: BLE001 - whatever a foreign model makes it raise is the answer
            told.append({"error": f"{type(error).__name__}: {error}"})
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    found = {"models": told, "versions": versions}
    Path(answer).write_text(json.dumps(found), encoding="utf-8")


def limit_memory(size_bytes: int) -> None:
    """Let what does not fit be an error of this process, and of no other on the machine."""
    with suppress(ImportError, ValueError, OSError):  # Windows has no such limit, macOS may refuse
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if hard == resource.RLIM_INFINITY or size_bytes < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (size_bytes, hard))


def ask(folder: dict[str, Any], wish: dict[str, Any]) -> dict[str, Any]:
    """Answers to all prompts and costs of all texts, as far as this folder is to be asked for them."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    named = {"trust_remote_code": False, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(folder["path"], **named)
    # A small model computes faster, and without steps that depend on the batch, in float32.
    model = AutoModelForCausalLM.from_pretrained(
        folder["path"], dtype=torch.float32 if wish["float32"] else "auto", **named
    ).eval()
    if torch.cuda.is_available():
        model = model.cuda()
    found: dict[str, Any] = {}
    with torch.inference_mode():
        if folder["prompts"]:
            found["answers"] = answers(model, tokenizer, folder, wish)
        if folder["texts"]:
            opening = folder["opening"]
            found["texts"] = [cost(model, tokenizer, text, opening) for text in wish["texts"]]
    return found


def answers(
    model: Any,  # noqa: ANN401
    tokenizer: Any,  # noqa: ANN401
    folder: dict[str, Any],
    wish: dict[str, Any],
) -> list[dict[str, Any]]:
    """Answer every prompt, the shortest first, as many together as fit."""
    written = [render(tokenizer, prompt) for prompt in wish["prompts"]]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in written]
    for prompt, one in zip(wish["prompts"], ids, strict=True):
        if prompt["prompt"] is not None:  # a template writes what a conversation begins with
            one[:0] = folder["opening"]
    stops = folder["stops"]
    pad = next(i for i in range(len(stops) + 1) if i not in stops)  # outside the attention anyway
    found: list[dict[str, Any]] = [{} for _ in ids]
    waiting = sorted(range(len(ids)), key=lambda n: len(ids[n]))
    while waiting:
        fits = [
            n for at, n in enumerate(waiting[:MOST_AT_ONCE])
            if at == 0 or len(ids[n]) * (at + 1) <= TOKENS_AT_ONCE
        ]  # fmt: skip
        waiting = waiting[len(fits) :]
        said = generate(model, [ids[n] for n in fits], stops, pad, wish["max_new_tokens"])
        for n, new in zip(fits, said, strict=True):
            found[n] = read(tokenizer, wish["prompts"][n], written[n], new, stops)
    return found


def render(tokenizer: Any, prompt: dict[str, Any]) -> str:  # noqa: ANN401
    """The prompt as text."""
    if prompt["prompt"] is not None:
        return str(prompt["prompt"])
    return str(
        tokenizer.apply_chat_template(
            prompt["messages"],
            tools=prompt["tools"],
            tokenize=False,
            add_generation_prompt=True,
            **prompt["chat_template_kwargs"],
        )
    )


def generate(
    model: Any,  # noqa: ANN401
    prompts: list[list[int]],
    stops: list[int],
    pad: int,
    max_new_tokens: int,
) -> list[list[int]]:
    """Greedy continuations, each up to and with its stop token."""
    import torch
    from transformers import GenerationConfig

    longest = max(map(len, prompts))
    ids = torch.tensor([[pad] * (longest - len(one)) + one for one in prompts])
    mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts])
    # Of one's own: the folder's may sample, or penalise what is repeated.
    plain = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=stops or None,
        pad_token_id=pad,
    )
    model.generation_config = plain
    rows = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=plain,
    )
    found = []
    for row in rows[:, longest:].tolist():
        end = next((at for at, one in enumerate(row) if one in stops), None)
        found.append(row if end is None else row[: end + 1])
    return found


def read(
    tokenizer: Any,  # noqa: ANN401
    prompt: dict[str, Any],
    written: str,
    new: list[int],
    stops: list[int],
) -> dict[str, Any]:
    """An answer: its ids and text, whether it stopped, which spans are open, and what it is read as."""
    stopped = bool(new) and new[-1] in stops
    said = new[:-1] if stopped else new
    found: dict[str, Any] = {
        "ids": said,
        "text": tokenizer.decode(said, skip_special_tokens=False),
        "prompt": written,
        "stopped": stopped,
        "parsed": None,
    }
    template = getattr(tokenizer, "response_template", None)
    if template is None:
        return found
    found["spans"] = spans(template, found["text"])
    try:
        text = tokenizer.decode(new, skip_special_tokens=False)
        more = {"tools": prompt["tools"]} if prompt["tools"] else {}
        found["parsed"] = tokenizer.parse_response(text, prefix=written, **more)
    except Exception as error:  # noqa: BLE001 - an answer that cannot be read back is a figure
        found["unreadable"] = f"{type(error).__name__}: {error}"[:300]
    return found


def spans(template: dict[str, Any], text: str) -> list[list[Any]]:
    """What the response template opens in an answer: the text that opens, and whether it is closed.

    A field whose end may be empty (a role's) has no span.
    """
    import re

    found: list[list[Any]] = []
    for field in template["fields"].values():
        opened, closed = (_pattern(field, end) for end in ("open", "close"))
        if opened is None or closed is None or re.search(closed, "") is not None:
            continue
        for match in re.finditer(opened, text, re.DOTALL):
            rest = text[match.end() :]
            found.append([match.group(0), re.search(closed, rest, re.DOTALL) is not None])
    return found


def _pattern(field: dict[str, Any], end: str) -> str | None:
    import re

    if f"{end}_pattern" in field:
        return str(field[f"{end}_pattern"])
    literal = field.get(end)
    literals = [literal] if isinstance(literal, str) else literal
    return None if not literals else "|".join(map(re.escape, literals))


def cost(
    model: Any,  # noqa: ANN401
    tokenizer: Any,  # noqa: ANN401
    text: str,
    opening: list[int],
) -> dict[str, float]:
    """Bits and bytes of a text; behind its first token, which nothing foretells without an opening."""
    import math

    import torch

    ids = [*opening, *tokenizer(text, add_special_tokens=False)["input_ids"]]
    bits = 0.0
    most = getattr(model.config, "max_position_embeddings", None) or WINDOW_TOKENS
    window = min(WINDOW_TOKENS, most)
    for begin in range(0, max(len(ids) - 1, 0), window):
        part = torch.tensor([ids[begin : begin + window + 1]], device=model.device)
        logits = model(input_ids=part[:, :-1], use_cache=False).logits[0].float()
        losses = torch.nn.functional.cross_entropy(logits, part[0, 1:], reduction="none")
        bits += float(losses.double().sum()) / math.log(2)
    first = 0 if opening else len(tokenizer.decode(ids[:1]).encode("utf-8", "replace"))
    return {"bits": bits, "bytes": max(len(text.encode("utf-8", "replace")) - first, 0)}


if __name__ == "__main__":
    main(*sys.argv[1:3])
