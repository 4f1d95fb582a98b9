"""Measure embedding rows on a model: strata, peers, ours.

python -m benchmarks.rows --model FOLDER --text FILE… [--methods a,b] [--seeds 3]
    [--again a,b] [--distillation FOLDER] -o OUT

OUT gets results.json, tables.md and one SVG a stratum. What every seed of a method gave is kept there: a
run that was interrupted, or that names other methods or more seeds, measures what is missing and writes
tables of all. What code has changed since is measured anew if `--again` names it.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from benchmarks.rows import generating, probing, strata, trained_peers, whole
from benchmarks.rows.absent import without_phrases
from benchmarks.rows.kept import digest, every_seed, forget, is_same_run, keep, kept
from benchmarks.rows.measure import USES, Result, measure, names, seeds_of
from benchmarks.rows.ours import OURS
from benchmarks.rows.ours_trained import OURS_TRAINED
from benchmarks.rows.peers import PEERS
from benchmarks.rows.plots import recovery_plot
from benchmarks.rows.strata import WANTED, Stratum, choose
from benchmarks.rows.subject import TEST, Subject, load_subject
from benchmarks.rows.tables import against_peers, markdown, recovery, summarise
from benchmarks.rows.trained_peers import ORIGINALS, TRAINED, Swept, swept_key

# What must be the same for results of two runs to stand in one table.
_SAME = (
    "model",
    "text",
    "tokens",
    "windows",
    "background",
    "neutral",
    "documents",
    "epochs",
    "use",
)
METHODS = {**PEERS, **TRAINED, **OURS, **OURS_TRAINED}
TRACKS = {"training-free": (OURS, PEERS), "trained": (OURS_TRAINED, TRAINED)}


def main() -> int:
    """Measure and write."""
    wish = _arguments()
    torch.set_num_threads(wish.threads)
    unknown = {*wish.methods, *wish.again} - set(METHODS)
    if unknown:
        print(f"no such method: {', '.join(sorted(unknown))}; there are {', '.join(METHODS)}")
        return 2
    if wish.distillation:
        if not (wish.distillation / "train_loop.py").exists():
            print(f"{wish.distillation} has no train_loop.py")
            return 2
        ORIGINALS["token-distillation"] = wish.distillation
    begin = time.time()
    _size(wish)
    subject = load_subject(wish.model, wish.text, most_documents=wish.documents)
    donor = None
    if wish.donor:
        donor = load_subject(wish.donor, wish.text[:1], most_documents=8)
    _describe(subject)
    settings = {key: str(getattr(wish, key)) for key in _SAME}
    if not is_same_run(wish.out, settings):
        print(f"{wish.out} holds results of other settings: {wish.out / 'settings.json'}")
        return 2
    told: dict[str, Any] = {}
    pages = []
    for name in wish.strata:
        stratum = choose(
            subject,
            name,
            background=wish.background,
            neutral=wish.neutral,
            wanted=wish.tokens,
        )
        if not len(stratum.windows[TEST]):
            print(f"  {name}: the text has no such tokens")
            continue
        if not is_same_run(wish.out / name, {"measured on": digest(stratum)}):
            print(f"{wish.out / name} holds results of other windows: take another folder")
            return 2
        results = _results(subject, stratum, wish, donor)
        told[name] = _told(subject, stratum, results)
        pages.append(f"### {name}: {_sizes(stratum)}\n\n{markdown(told[name]['lines'])}\n")
        plot = recovery_plot(f"{subject.name} {name}", told[name]["lines"])
        (wish.out / f"{name}.svg").write_text(plot, encoding="utf-8")
        print(pages[-1], flush=True)
    if not told:
        return 1
    told["run"] = {
        "subject": subject.name,
        "tied": subject.model.tied,
        "seeds": max(line.get("seeds", 1) for one in told.values() for line in one["lines"]),
        "minutes": round((time.time() - begin) / 60, 1),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "threads": wish.threads,
        "epochs": wish.epochs,
        "command": shown_command(sys.argv[1:]),
    }
    text = json.dumps(_plain(told), indent=1, ensure_ascii=False)
    (wish.out / "results.json").write_text(text + "\n", encoding="utf-8")
    (wish.out / "tables.md").write_text("\n".join(pages), encoding="utf-8")
    print(f"{told['run']['minutes']} minutes; wrote {wish.out}")
    return 0


def _results(
    subject: Subject, stratum: Stratum, wish: argparse.Namespace, donor: Subject | None
) -> list[Result]:
    """Measure what was not, and give all that was, in the order of `METHODS`."""
    folder = wish.out / stratum.name
    for method in wish.again:
        forget(folder, method)
    left = {}
    for name in dict.fromkeys(("mean", *wish.methods, *wish.again)):
        known = {seed: kept(folder, name, seed) for seed in seeds_of(name, wish.seeds)}
        left[name] = (METHODS[name], [seed for seed, found in known.items() if found is None])
        method, first = METHODS[name], known[0]
        if isinstance(method, Swept) and first:
            method.rates[swept_key(subject, stratum.phrases)] = first[0].figures["rate"]
    skipped = {}
    for seed, found in measure(subject, stratum, left, donor=donor, uses=wish.use):
        keep(folder, seed, found)
        if found[0].skipped:
            skipped[found[0].method] = found
    results: list[Result] = []
    for method in dict.fromkeys(("mean", *METHODS)):
        results += every_seed(folder, method) or skipped.get(method, [])
    return results


def _size(wish: argparse.Namespace) -> None:
    """Take a share of everything that is measured on."""
    for part, usual in strata.PER_TOKEN.items():
        strata.PER_TOKEN[part] = max(2, round(usual * wish.windows))
    whole.CHUNKS = round(whole.CHUNKS * wish.windows)
    generating.A_TOKEN = max(2, round(generating.A_TOKEN * wish.windows))
    probing.BATCH = max(1, round(probing.BATCH * wish.windows))
    trained_peers.EPOCHS = wish.epochs


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rows", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a checkpoint folder")
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="UTF-8 text")
    parser.add_argument("--donor", type=Path, help="a model with the same vocabulary, for OMP")
    parser.add_argument(
        "--distillation",
        type=Path,
        help="the folder of token distillation's authors that has train_loop.py",
    )
    parser.add_argument("--methods", type=_listed, default=list(METHODS), help="a,b,…")
    parser.add_argument(
        "--again", type=_listed, default=[], help="methods whose results are thrown away first"
    )
    parser.add_argument("--strata", type=_listed, default=list(WANTED))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tokens", type=int, help="tokens a stratum, instead of the defaults")
    parser.add_argument(
        "--windows", type=float, default=1.0, help="share of the usual windows, texts, prompts"
    )
    parser.add_argument(
        "--use", type=_listed, default=list(USES), help="of what takes time: generation,probe"
    )
    parser.add_argument("--epochs", type=int, default=1, help="of trained methods")
    parser.add_argument(
        "--background", type=int, default=20_000, help="neutral positions to measure on"
    )
    parser.add_argument("--neutral", type=int, help="neutral positions to fit on")
    parser.add_argument("--documents", type=int, default=6_000, help="read at most so many")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, required=True)
    return parser.parse_args()


def shown_command(given: list[str]) -> str:
    """The command, with the names of files and not where they lie on this machine."""
    shown = [Path(word).name if "/" in word else word for word in given]
    return " ".join(["python -m benchmarks.rows", *shown])


def _listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _describe(subject: Subject) -> None:
    sizes = {part: sum(map(len, encoded)) for part, encoded in subject.parts.items()}
    kind = "tied" if subject.model.tied else "untied"
    print(
        f"{subject.name}: {subject.model.n_rows} rows, {kind}; pieces of text: {sizes}", flush=True
    )


def _sizes(stratum: Stratum) -> str:
    windows = ", ".join(f"{part} {len(w)}" for part, w in stratum.windows.items())
    return f"{len(stratum.phrases)} tokens; windows: {windows}"


def _told(subject: Subject, stratum: Stratum, results: list[Result]) -> dict[str, Any]:
    lines = summarise(results)
    if stratum.name in ("S3", "S4"):
        kl_N, nats_N = without_phrases(subject, stratum)
        for line, result in zip(lines, results, strict=True):
            if result.skipped:
                continue
            if stratum.name == "S3":
                line["rho_absent"] = recovery(result.arrays["read_kl"], kl_N)
            else:
                gain = (nats_N - result.arrays["own_nats"]).sum() / math.log(2)
                line["nonce_gain_bits"] = float(gain / result.arrays["read_bytes"].sum())
    variants = ("tied", "untied") if subject.model.tied else ("",)
    return {
        "tokens": names(stratum.phrases),
        "sizes": _sizes(stratum),
        "lines": lines,
        "per_token": {
            f"{r.method} {r.variant}".strip(): {
                key: [float(f"{value:.6g}") for value in r.arrays[key]]
                for key in ("read_kl", "write_kl", "taken", "due")
            }
            for r in results
            if not r.skipped
        },
        "against_peers": [
            {"track": track, **line}
            for track, (ours, peers) in TRACKS.items()
            for variant in variants
            for line in against_peers(results, list(ours), list(peers), variant)
        ],
    }


def _plain(value: Any) -> Any:
    """JSON has no NaN: what is not a number is null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


if __name__ == "__main__":
    sys.exit(main())
