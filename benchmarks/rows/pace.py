"""At which CPU second rows that are distilled are read as well as those of last-layer distillation.

python -m benchmarks.rows.pace --model FOLDER --text FILE… --distillation FOLDER --rates THEIRS,OURS
    [--tokens 32] [--windows 0.34] [--epochs 2] [--passes 1,2,4] [--before N] [--after N] [--batch N]

Both train rows that are only read, on the same windows, in one run of one thread; rates are what the
benchmark chose, in numbers as its tables give them. Each number of passes is a training of its own, since
the rate falls along it: teacher's passes, sensitivities and validation are counted, loading and the search
for windows are not, as in the tables. Recovery is that of test windows. Ours validates the start and the end, and
may be told to see less of each window and to take other batches; theirs has the settings of its authors.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from benchmarks.rows import ours_trained, strata, trained_peers
from benchmarks.rows.cases import Context, Values, context
from benchmarks.rows.measure import expected, read
from benchmarks.rows.strata import choose
from benchmarks.rows.subject import TEST, load_subject


def main() -> None:
    """Train both, print a line for each."""
    wish = _arguments()
    torch.set_num_threads(1)
    for part, usual in strata.PER_TOKEN.items():
        strata.PER_TOKEN[part] = max(2, round(usual * wish.windows))
    trained_peers.EPOCHS = wish.epochs
    trained_peers.ORIGINALS["token-distillation"] = wish.distillation
    subject = load_subject(wish.model, wish.text, most_documents=6_000)
    stratum = choose(subject, "S2", background=200, wanted=wish.tokens, neutral=200)
    told = expected(subject.model, stratum.windows[TEST])
    sizes = np.array([len(raw) for raw in subject.words.bytes_V])

    def lost(rows_ND: Values) -> float:
        return float(read(subject.model, told, stratum.phrases, rows_ND, sizes).kl_N.sum())

    theirs, ours = wish.rates
    train = trained_peers.distillation(third=False, with_text=False)
    for seed in range(wish.seeds):
        given = context(subject, stratum, seed)
        nothing = lost(given.mean_of_all(given.input_VD))
        begun = ours_trained.first(given)
        print(f"seed {seed}: start {1 - lost(begun.input_ND) / nothing:.3f}", flush=True)
        rows, least = _timed(lambda given=given: train(given, theirs).input_ND)
        goal = 1 - lost(rows) / nothing
        print(f"  td-last: {goal:.3f} in {least:.2f} s", flush=True)
        for n in wish.passes:
            rows, seconds = _timed(lambda n=n, given=given: _ours(given, ours, n, wish))
            found = 1 - lost(rows) / nothing
            reached = "reached" if found >= goal else "not reached"
            print(
                f"  {n} passes: {found:.3f} in {seconds:.2f} s, {seconds / least:.2f} of theirs, {reached}",
                flush=True,
            )


def _ours(given: Context, rate: float, passes: int, wish: argparse.Namespace) -> Values:
    start_ND = ours_trained.first(given).input_ND
    settings = {
        "passes": passes,
        "validate_each": passes,
        "batch": wish.batch,
        "before": wish.before,
        "after": wish.after,
    }
    return ours_trained.distilled(given, start_ND, rate, output_ND=start_ND, settings=settings)


def _timed(train: Callable[[], Values]) -> tuple[Values, float]:
    begin = time.process_time()
    rows = train()
    return rows, time.process_time() - begin


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rows.pace", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--text", type=Path, nargs="+", required=True)
    parser.add_argument("--distillation", type=Path, required=True)
    parser.add_argument(
        "--rates", type=lambda text: [float(r) for r in text.split(",")], required=True
    )
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--windows", type=float, default=0.34)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=trained_peers.BATCH, help="windows, ours")
    parser.add_argument("--before", type=int, help="positions before a phrase that ours sees")
    parser.add_argument("--after", type=int, help="places behind it that ours compares")
    parser.add_argument(
        "--passes", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2, 4]
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
