"""Run models of folders on the CPU; a script for a Python with transformers 5 and torch.

Usage: python ask_models.py JOBS.json ANSWERS.json. A job is one of
    {"do": "greedy", "folder": F, "prompts": [...], "n": 200}
    {"do": "shapes", "folder": F, "ids": [...]}
    {"do": "resize", "base": F, "ours": F, "tokens": [[content, flags], ...], "rows": N,
     "kept": N, "texts": [...], "old_ids": [[...], ...]}
    {"do": "apart", "base": F, "ours": F, "again": F, "old_ids": [[...], ...], "kept": N}
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

Job = dict[str, Any]


def main(jobs: str, answers: str) -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    found = [DO[job["do"]](job) for job in json.loads(Path(jobs).read_text(encoding="utf-8"))]
    Path(answers).write_text(json.dumps(found), encoding="utf-8")


def model_of(folder: str) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32
    ).eval()


def tokenizer_of(folder: str) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)


def greedy(job: Job) -> Job:
    """Continue each prompt by the likeliest token, `n` times, whatever stops a model."""
    tokenizer, model = tokenizer_of(job["folder"]), model_of(job["folder"])
    rows = model.get_input_embeddings().weight.shape[0]
    written = []
    for prompt in job["prompts"]:
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        cache, step = None, ids
        for _ in range(job["n"]):
            seen = model(step, past_key_values=cache, use_cache=True)
            cache, step = seen.past_key_values, seen.logits[:, -1:].argmax(-1)
            ids = torch.cat([ids, step], 1)
        written.append(ids[0].tolist())
    return {"ids": written, "texts": [tokenizer.decode(ids) for ids in written], "rows": rows}


def shapes(job: Job) -> Job:
    model = model_of(job["folder"])
    inputs, outputs = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    logits = model(torch.tensor([job["ids"]])).logits
    return {
        "class": type(model).__name__,
        "rows": [len(inputs), len(outputs)],
        "tied": inputs.data_ptr() == outputs.data_ptr(),
        "logits": list(logits.shape),
        "finite": bool(torch.isfinite(logits).all()),
        "vocab_size": model.config.vocab_size,
    }


def resize(job: Job) -> Job:
    """Add the same tokens the library's way, and compare the outcome with ours."""
    tokenizer, ours_tokenizer = tokenizer_of(job["base"]), tokenizer_of(job["ours"])
    base, theirs, ours = (model_of(job[key]) for key in ("base", "base", "ours"))
    tokenizer.add_tokens([transformers.AddedToken(text, **flags) for text, flags in job["tokens"]])
    if job["rows"] != base.config.vocab_size:
        theirs.resize_token_embeddings(job["rows"], mean_resizing=False)
    return {
        "their_ids": tokenizer.convert_tokens_to_ids([text for text, _ in job["tokens"]]),
        "our_ids": ours_tokenizer.convert_tokens_to_ids([text for text, _ in job["tokens"]]),
        "same_table": tokenizer.get_vocab() == ours_tokenizer.get_vocab(),
        "same_texts": [tokenizer.encode(t) == ours_tokenizer.encode(t) for t in job["texts"]],
        "row_counts": [len(m.get_input_embeddings().weight) for m in (theirs, ours)],
        "same_rows": same_rows(theirs, ours, job["kept"]),
        "other_tensors": other_tensors(theirs, ours),
        "logits": logits_apart((base, theirs, ours), job["old_ids"], job["kept"]),
    }


def same_rows(theirs: Any, ours: Any, kept: int) -> bool:
    parts = (m.get_input_embeddings().weight[:kept] for m in (theirs, ours))
    heads = (m.get_output_embeddings().weight[:kept] for m in (theirs, ours))
    return torch.equal(*parts) and torch.equal(*heads)


def other_tensors(theirs: Any, ours: Any) -> list[str]:
    """Names of tensors that differ, the two matrices left aside."""
    matrices = ("embed_tokens.weight", "lm_head.weight")
    other = ours.state_dict()
    return [
        name
        for name, tensor in theirs.state_dict().items()
        if not name.endswith(matrices) and not torch.equal(tensor, other[name])
    ]


def logits_apart(models: tuple[Any, ...], texts: list[list[int]], kept: int) -> float:
    """The largest difference between the models' logits of old tokens, on old texts."""
    apart = 0.0
    for ids in texts:
        first, *others = (model(torch.tensor([ids])).logits[..., :kept] for model in models)
        apart = max(apart, *((first - other).abs().max().item() for other in others))
    return apart


def apart(job: Job) -> Job:
    """Compare a model of two matrices with its tied base, and with itself once it was saved again."""
    base, ours = model_of(job["base"]), model_of(job["ours"])
    ours.save_pretrained(job["again"])
    again = model_of(job["again"])
    matrices = [
        (m.get_input_embeddings().weight, m.get_output_embeddings().weight) for m in (ours, again)
    ]
    return {
        "apart": [reads.data_ptr() != writes.data_ptr() for reads, writes in matrices],
        "logits": logits_apart((base, ours), job["old_ids"], job["kept"]),
        "kept": [torch.equal(a, b) for a, b in zip(*matrices, strict=True)],
    }


DO = {"apart": apart, "greedy": greedy, "resize": resize, "shapes": shapes}

if __name__ == "__main__":
    main(*sys.argv[1:3])
