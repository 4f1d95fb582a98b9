"""Plan, apply and verify with 1,000 to 100,000 new tokens, beside transformers' own way.

    python benchmarks/bench_many_tokens.py [--data FOLDER] [--tokens 1000 20000] [--hidden 64]

FOLDER (or TOKENGRAFT_DATA) holds the small files of Qwen3-30B-A3B-Base; all 151,936 rows are there,
hidden size and layers are small. Each token has a meaning, so its rows are sums of several others.
Where transformers and torch are installed, the same tokens are added and the model is resized and
saved their way (add_tokens, resize_token_embeddings, save_pretrained), which starts each new row from
one and the same mean and proves nothing. Seconds are of whole processes, on the clock and of processor.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from processes import Cost, run, tokengraft

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from qwen_shapes import build_qwen3_base

WORDS = [
    "agent",
    "plan",
    "answer",
    "think",
    "tool",
    "search",
    "memory",
    "file",
    "image",
    "video",
    "write",
    "read",
    "code",
    "test",
]
THEIRS = """
import json, sys
import torch, transformers
base, out, texts = sys.argv[1:]
tokens = json.load(open(texts))
torch.set_num_threads(1)
tokenizer = transformers.AutoTokenizer.from_pretrained(base, local_files_only=True)
model = transformers.AutoModelForCausalLM.from_pretrained(base, local_files_only=True)
tokenizer.add_tokens([transformers.AddedToken(text) for text in tokens])
rows = max(len(tokenizer), model.config.vocab_size)  # else the spare rows would be cut away
model.resize_token_embeddings(rows, mean_resizing=False)
model.save_pretrained(out)
tokenizer.save_pretrained(out)
"""


def main() -> None:
    """Print a table for each number of tokens."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("TOKENGRAFT_DATA"))
    parser.add_argument("--tokens", type=int, nargs="+", default=[1_000, 20_000, 100_000])
    parser.add_argument("--hidden", type=int, default=64)
    wish = parser.parse_args()
    if wish.data is None:
        parser.error("name the folder of real files: --data, or TOKENGRAFT_DATA")
    work = Path(tempfile.mkdtemp(prefix="tokengraft-bench-"))
    try:
        base = build_qwen3_base(work / "base", Path(wish.data), hidden=wish.hidden)
        for number in wish.tokens:
            measure(work / str(number), base, number)
    finally:
        shutil.rmtree(work)


def measure(work: Path, base: Path, number: int) -> None:
    """Run the steps one after another, then theirs."""
    work.mkdir()
    texts = [f"<|token_{at}|>" for at in range(number)]
    (work / "recipe.toml").write_text(recipe(texts), encoding="utf-8")
    (work / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    plan, out = work / "plan.json", work / "out"
    print(f"{number:,} tokens")
    ours = [
        show("plan", lambda: tokengraft("plan", base, work / "recipe.toml", "-o", plan)),
        show("apply", lambda: tokengraft("apply", plan, "--base", base, "-o", out)),
    ]
    show("verify", lambda: tokengraft("verify", out, "--against", base))
    if all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
        command = [sys.executable, "-c", THEIRS, base, work / "theirs", work / "texts.json"]
        theirs = show("transformers", lambda: run(command))
        print(f"  transformers / plan and apply: {theirs / sum(ours):.1f} of processor time")
    shutil.rmtree(work)


def recipe(texts: list[str]) -> str:
    """Each token a marker with a meaning of four pieces or so."""
    n = len(WORDS)
    adds = (
        f'[[add]]\ntext = "{text}"\nuse = "marker"\n'
        f'meaning = "{WORDS[at % n]} {WORDS[at // n % n]} number {at}"\n'
        for at, text in enumerate(texts)
    )
    return "version = 1\n" + "".join(adds)


def show(name: str, step: Callable[[], Cost]) -> float:
    """Run a step, print what it cost, and return its seconds of processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    cost = step()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"  {name:12} {cost.seconds:7.1f} s {used:7.1f} s processor {cost.peak_mb:6.0f} MB peak")
    return used


if __name__ == "__main__":
    main()
