"""Our trainer of new rows beside PEFT's trainable tokens: seconds of a step, peak memory of a process.

python benchmarks/bench_row_training.py [--hidden 384] [--tied] [--rounds 5] [--steps 2]

A Qwen3 of random weights with 151,936 rows; every method gets the same batch of token ids. Each method
lives in a process of its own, so that memory is its own, and in each round every process makes its
steps while the others wait: rounds are paired. Methods:

    peft      cross-entropy, `TrainableTokensConfig` of PEFT, AdamW
    ours      the same cross-entropy (`row_cross_entropy`), AdamW of the new rows
    distil    states after a third of the layers behind the token (`partial_passes`), teacher cached
    taught    the same, with the teacher's pass in every step

The first two must give the same loss, which is checked. `--busy N` lets N other processes compute at
the same time, which shows what a loaded machine does to either.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

V, N_NEW, PIECES, BEFORE = 151_936, 16, 3, 32
METHODS = ("peft", "ours", "distil", "taught")
LEAST_SPEED, MOST_MEMORY, LEAST_DISTIL = 1.3, 0.6, 4.0


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--tied", action="store_true")
    parser.add_argument("--sequences", type=int, default=8)
    parser.add_argument("--positions", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--busy", type=int, default=0)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


# ── a method in its own process ──────────────────────────────────────────────────────────────────


def network(wish: argparse.Namespace) -> Any:  # noqa: ANN401 - of a library that is imported late
    """A Qwen3 of random weights."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=V,
        hidden_size=wish.hidden,
        intermediate_size=3 * wish.hidden,
        num_hidden_layers=wish.layers,
        num_attention_heads=wish.hidden // 64,
        num_key_value_heads=max(1, wish.hidden // 128),
        head_dim=64,
        tie_word_embeddings=wish.tied,
    )
    return Qwen3ForCausalLM(config)


def batch(wish: argparse.Namespace) -> tuple[Any, Any]:
    """Sequences with a phrase of `PIECES` ids after `BEFORE` others; and its new id in each."""
    import numpy as np

    rng = np.random.default_rng(0)
    ids = rng.integers(0, V, (wish.sequences, wish.positions + PIECES - 1))
    return ids, np.arange(wish.sequences) % N_NEW


def windows(wish: argparse.Namespace) -> Any:  # noqa: ANN401
    """The batch as windows."""
    import numpy as np

    from tokengraft.training.windows import Windows

    ids, tokens = batch(wish)
    n, length = ids.shape
    after = length - BEFORE - PIECES
    return Windows(tokens, ids, np.full(n, length), np.full(n, BEFORE), np.full(n, PIECES), after)


def peft_step(wish: argparse.Namespace) -> Callable[[], float]:
    """One step of PEFT's trainable tokens."""
    import torch
    from peft import TrainableTokensConfig, get_peft_model

    model = network(wish)
    ids = torch.from_numpy(windows(wish).merged(V))
    # New rows lie behind the old ones; what they hold is set below, so that losses can be compared.
    model.resize_token_embeddings(V + N_NEW, mean_resizing=False)
    modules = {"embed_tokens": model.get_input_embeddings()}
    if not wish.tied:
        modules["lm_head"] = model.get_output_embeddings()
    with torch.no_grad():
        for module in modules.values():
            module.weight[V:] = first_rows(wish)
    config = TrainableTokensConfig(
        token_indices=list(range(V, V + N_NEW)), target_modules=list(modules)
    )
    peft = get_peft_model(model, config)
    optimizer = torch.optim.AdamW([p for p in peft.parameters() if p.requires_grad], lr=1e-4)

    def step() -> float:
        loss = peft(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def first_rows(wish: argparse.Namespace) -> Any:  # noqa: ANN401
    """Where new rows start."""
    import torch

    return torch.randn((N_NEW, wish.hidden), generator=torch.Generator().manual_seed(1)) * 0.02


def ours_step(wish: argparse.Namespace) -> Callable[[], float]:
    """One step of the same cross-entropy with new rows beside the model's."""
    import torch

    from tokengraft.training.language_model import language_model
    from tokengraft.training.row_cross_entropy import text_loss

    model = language_model(network(wish))
    ids = torch.from_numpy(windows(wish).merged(V))
    n_rows = 1 if wish.tied else 2
    rows = [first_rows(wish).requires_grad_() for _ in range(n_rows)]
    optimizer = torch.optim.AdamW(rows, lr=1e-4)

    def step() -> float:
        loss = text_loss(model, ids, rows[0], None if wish.tied else rows[1])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def distil_step(wish: argparse.Namespace, *, is_taught: bool) -> Callable[[], float]:
    """One step on states after a third of the layers."""
    import torch

    from tokengraft.training.language_model import language_model
    from tokengraft.training.partial_passes import aligned, read_behind, taught

    model = language_model(network(wish))
    layers = (max(1, round(wish.layers / 3)),)
    group = aligned(windows(wish), V)
    known = taught(model, group, layers)
    rows = first_rows(wish).requires_grad_()
    optimizer = torch.optim.AdamW([rows], lr=1e-4)

    def step() -> float:
        told = taught(model, group, layers) if is_taught else known
        (found,) = read_behind(model, group, told.past, rows, layers)
        loss = (found - told.told_LWSD[0]).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    return step


def child(wish: argparse.Namespace) -> int:
    """Make a step for every line that is read, and say what it cost."""
    import torch

    torch.set_num_threads(wish.threads)
    makes = {
        "peft": lambda: peft_step(wish),
        "ours": lambda: ours_step(wish),
        "distil": lambda: distil_step(wish, is_taught=False),
        "taught": lambda: distil_step(wish, is_taught=True),
    }
    step = makes[wish.child]()
    for _ in sys.stdin:
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        cpu, started = time.process_time(), time.perf_counter()
        loss = step()
        told = {
            "seconds": time.perf_counter() - started,
            "cpu": time.process_time() - cpu,
            "faults": resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "loss": loss,
        }
        sys.stdout.write("@" + json.dumps(told) + "\n")
        sys.stdout.flush()
    return 0


# ── the comparison ───────────────────────────────────────────────────────────────────────────────


def stepped(process: subprocess.Popen[str]) -> dict[str, float]:
    """One step of a child."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    for line in process.stdout:
        if line.startswith("@"):
            found: dict[str, float] = json.loads(line[1:])
            return found
    raise SystemExit("a method ended before its time")


def main() -> int:
    """Print medians of paired rounds; exit with 1 where a goal is missed."""
    wish = parsed()
    if wish.child:
        return child(wish)
    names = wish.methods.split(",")
    environment = {**os.environ, "OMP_NUM_THREADS": str(wish.threads)}
    own = [sys.executable, *sys.argv]
    children = {
        name: subprocess.Popen(
            [*own, "--child", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for name in names
    }
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(wish.busy)]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    try:
        first = {name: stepped(process) for name, process in children.items()}  # not counted
        for _ in range(wish.rounds):
            for name, process in children.items():
                told = [stepped(process) for _ in range(wish.steps)]
                costs[name] += told
                seconds[name].append(sum(t["seconds"] for t in told) / wish.steps)
    finally:
        for process in [*children.values(), *busy]:
            process.kill()
            process.wait()
    return shown(wish, seconds, costs, first)


def shown(
    wish: argparse.Namespace,
    seconds: dict[str, list[float]],
    costs: dict[str, list[dict[str, float]]],
    first: dict[str, dict[str, float]],
) -> int:
    """Print the table and the goals."""
    kind = "tied" if wish.tied else "untied"
    print(
        f"V {V:,}, hidden {wish.hidden}, {wish.layers} layers, {kind}, {wish.sequences} x "
        f"{wish.positions} positions, {N_NEW} new tokens, {wish.threads} thread(s), "
        f"{wish.rounds} rounds of {wish.steps} steps, {wish.busy} busy neighbours"
    )
    print("method   median s   slowest s   CPU s   faults a step   peak MB   first loss")
    for name, rounds in seconds.items():
        steps = costs[name]
        print(
            f"{name:8} {statistics.median(rounds):8.3f}   {max(t['seconds'] for t in steps):9.3f}"
            f"  {statistics.median(t['cpu'] for t in steps):6.3f}"
            f"   {statistics.median(t['faults'] for t in steps):13,.0f}"
            f"   {steps[-1]['peak_mb']:7,.0f}   {first[name]['loss']:.5f}"
        )
    if "peft" not in seconds:
        return 0
    missed = 0
    for name, goal in (("ours", LEAST_SPEED), ("distil", LEAST_DISTIL), ("taught", 0.0)):
        if name in seconds:
            ratios = [a / b for a, b in zip(seconds["peft"], seconds[name], strict=True)]
            share = costs[name][-1]["peak_mb"] / costs["peft"][-1]["peak_mb"]
            told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            print(
                f"peft / {name}: median {statistics.median(ratios):.2f} ({told}); "
                f"memory {share:.2f} of peft's" + (f"; goal {goal}" if goal else "")
            )
            missed += statistics.median(ratios) < goal
            missed += name == "ours" and share > MOST_MEMORY
    if "ours" in seconds:
        apart = abs(first["ours"]["loss"] - first["peft"]["loss"])
        print(f"losses of the first step differ by {apart:.1g}")
        missed += apart > 1e-4
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
