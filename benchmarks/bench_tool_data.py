"""Tool calls of other people's data, through data audit, training and behaviour checks.

    python benchmarks/bench_tool_data.py [--data FOLDER] [--set bfcl|glaive] [--method rows|lora] [--keep DIR]

FOLDER (or TOKENGRAFT_DATA) holds `chat/bfcl` (BFCL simple, with its answers) and `chat/demo` (glaive, in
the form of ShareGPT). The model is the small one of this repository, which was not trained for such
calls and reads 512 tokens: the figures are what they are. Prompts that leave no room for an
answer are left out of the suite; rows of the data are cut or dropped by the audit, which says so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokengraft.training.sft_encoding import Encoder

REPO = Path(__file__).resolve().parents[1]
BASE = REPO / "models" / "tiny-qwen3-moe-chat"
MARKERS = ("<tool_start>", "</tool_end>")
RECIPE = """
version = 1
[tools]
open = "<tool_start>"
close = "</tool_end>"
[[add]]
text = "<tool_start>"
use = "tool"
like = "<tool_call>"
[[add]]
text = "</tool_end>"
use = "tool"
like = "</tool_call>"
[pad]
token = "<|pad|>"
[train]
stages = ["sft"]
data = {data!r}
[train.sft]
method = {method!r}
epochs = {epochs}
batch = 16
learning_rate = 3e-3
experts = {experts}
"""
ROOM = 420  # tokens of a prompt, so that an answer has 90
Row = dict[str, Any]


def bfcl(folder: Path) -> Iterator[Row]:
    """BFCL's questions with their first right answer, as messages."""
    files = [
        folder / "chat" / "bfcl" / part / "BFCL_v4_simple_python.json"
        for part in ("", "possible_answer")
    ]
    asked, answered = (map(json.loads, path.read_text().splitlines()) for path in files)
    for question, answer in zip(asked, answered, strict=True):
        assert question["id"] == answer["id"]
        calls = []
        for call in answer["ground_truth"]:
            for name, arguments in call.items():
                given = {key: values[0] for key, values in arguments.items() if "" not in values}
                calls.append({"type": "function", "function": {"name": name, "arguments": given}})
        yield {
            "messages": [
                *question["question"][0],
                {"role": "assistant", "content": "", "tool_calls": calls},
            ],
            "tools": [_schema(function) for function in question["function"]],
        }


def _schema(function: Row) -> Row:
    text = json.dumps(function).replace('"type": "dict"', '"type": "object"')
    return {"type": "function", "function": json.loads(text)}


def glaive(folder: Path) -> list[Row]:
    """The conversations as the file has them."""
    rows: list[Row] = json.loads(
        (folder / "chat" / "demo" / "glaive_toolcall_en_demo.json").read_text()
    )
    return rows


def suite_of(rows: list[Row], encoder: Encoder) -> Iterator[Row]:
    """What the model says first in each row, as a prompt and what is wanted after it."""
    from tokengraft.training.sft_forms import Conversation, example_of

    for row in rows:
        _, example = example_of(row)
        assert isinstance(example, Conversation)
        at = next(n for n, message in enumerate(example.messages) if message["role"] == "assistant")
        whole = encoder.encode([Conversation(example.messages[: at + 1], example.tools)])[0]
        if isinstance(whole, Exception) or whole.said.index(True) > ROOM:
            continue
        prompt: Row = {"messages": list(example.messages[:at]), "tools": list(example.tools or ())}
        calls = example.messages[at].get("tool_calls")
        if not calls:
            yield {"kind": "near-miss", **prompt}
            continue
        wanted = {"tokens": list(MARKERS), "tool_calls": [call["function"] for call in calls]}
        yield {"kind": "wanted", **prompt, "wants": wanted}


def run(*arguments: object) -> Row:
    """One command of tokengraft; its JSON answer."""
    command = [sys.executable, "-m", "tokengraft", *map(str, arguments), "--json", "-q"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode not in (0, 1):
        sys.exit(done.stdout.decode() + done.stderr.decode()[-2000:])
    told: Row = json.loads(done.stdout)
    return told


def main() -> None:
    """Print the audit, the curve's ends and the behaviour."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("TOKENGRAFT_DATA"))
    parser.add_argument("--set", choices=("bfcl", "glaive"), default="bfcl")
    parser.add_argument("--method", choices=("rows", "lora"), default="rows")
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--keep", type=Path)
    wish = parser.parse_args()
    if wish.data is None:
        parser.error("--data or TOKENGRAFT_DATA must name the folder of real files")
    with ExitStack() as opened:
        if wish.keep is None:
            made = opened.enter_context(tempfile.TemporaryDirectory(prefix="tokengraft-bench-"))
            work = Path(made)
        else:
            work = wish.keep
            work.mkdir(parents=True, exist_ok=True)
        measure(wish, work)


def measure(wish: argparse.Namespace, work: Path) -> None:
    """Train and ask in the folder `work`; print what came of it."""
    rows = list(bfcl(Path(wish.data))) if wish.set == "bfcl" else glaive(Path(wish.data))
    random.Random(0).shuffle(rows)
    kept = len(rows) // 5
    _write(work / "train.jsonl", rows[kept:])
    experts = "true" if wish.method == "lora" else "false"
    recipe = RECIPE.format(
        data="train.jsonl", method=wish.method, epochs=wish.epochs, experts=experts
    )
    (work / "recipe.toml").write_text(recipe)
    out = work / "out"
    run("train", BASE, work / "recipe.toml", "-o", out, "--replace")
    from tokengraft.formats.loading import load
    from tokengraft.training.sft_encoding import Encoder

    with Encoder(load(out)) as encoder:
        _write(work / "suite.jsonl", list(suite_of(rows[:kept], encoder)))
    told = run("verify", out, "--against", BASE, "--behaviour", work / "suite.jsonl")
    audit = json.loads((work / "out.training" / "data.json").read_text())
    curve = [json.loads(line) for line in (work / "out.training" / "curves.jsonl").open()]
    losses = [line["loss"] for line in curve if "loss" in line]
    print(json.dumps({k: audit[k] for k in ("rows", "reasons", "tokens", "n_tokens", "n_in_loss")}))
    print(f"{len(losses)} steps, loss {losses[0]:.3f} to {sum(losses[-5:]) / len(losses[-5:]):.3f}")
    print(json.dumps(told.get("behaviour", told.get("checks")), indent=1, ensure_ascii=False))


def _write(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


if __name__ == "__main__":
    main()
