"""20,000 pieces for the real tokenizer of Qwen3-30B-A3B, learned from Russian and Python.

    python benchmarks/bench_extend.py [--data FOLDER] [--tokens 20000] [--thresholds]

FOLDER (or TOKENGRAFT_DATA) holds the model's small files and Russian texts; the code is Python's own
library. A tenth of either is held out: the last lines of each Russian file, every tenth file of code.
Prints seconds and memory of plan, apply and verify, and bytes per id of what was held out: before,
after, and with the two ways that people take by hand. Hidden size is small; rows cost what they cost.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, models, trainers

from processes import tokengraft

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from qwen_shapes import build_qwen3_base

RUSSIAN_SHARE = 0.3  # of the tokens; there is less Russian text than code
LIMIT_SECONDS = 300.0  # of plan and apply together, on one core
CHUNK = 50_000


@dataclass(frozen=True, slots=True)
class Texts:
    """What is learned from, and what is held out, by kind of text."""

    learned: Mapping[str, str]
    held_out: Mapping[str, str]


def main() -> int:
    """Print the tables; exit with 1 if plan and apply take longer than they may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("TOKENGRAFT_DATA"))
    parser.add_argument("--tokens", type=int, default=20_000)
    parser.add_argument("--thresholds", action="store_true", help="how often a piece must stand")
    wish = parser.parse_args()
    if wish.data is None:
        parser.error("--data or TOKENGRAFT_DATA must name the folder of real files")
    texts = Texts(*split(Path(wish.data)))
    work = Path(tempfile.mkdtemp(prefix="tokengraft-bench-"))
    try:
        if wish.thresholds:
            return thresholds(work, Path(wish.data), texts)
        return measure(work, Path(wish.data), texts, wish.tokens)
    finally:
        shutil.rmtree(work)


def split(data: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Texts to learn from and texts held out."""
    learned: dict[str, list[str]] = {"russian": [], "code": []}
    held: dict[str, list[str]] = {"russian": [], "code": [], "english": []}
    for path in sorted(data.glob("text/russian*/*.txt")):
        if path.name != "SOURCE.txt":
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            cut = len(lines) * 9 // 10
            learned["russian"].append("".join(lines[:cut]))
            held["russian"].append("".join(lines[cut:]))
    for path in python_sources():
        text = path.read_text(encoding="utf-8", errors="ignore")
        is_held = hashlib.sha256(path.name.encode()).digest()[0] < 26  # a tenth
        (held if is_held else learned)["code"].append(text)
    held["english"] = [(data / "text/wizard-of-oz/wizard_of_oz.txt").read_text(encoding="utf-8")]
    return (
        {name: "".join(parts) for name, parts in learned.items()},
        {name: "".join(parts) for name, parts in held.items()},
    )


def python_sources() -> Iterator[Path]:
    """The standard library's own files, without packages that were installed into it."""
    for path in sorted(Path(os.__file__).parent.rglob("*.py")):
        if "site-packages" not in path.parts:
            yield path


def measure(work: Path, data: Path, texts: Texts, n_tokens: int) -> int:
    """Run the steps as a user does, then compare."""
    base, out = build_qwen3_base(work / "base", data), work / "out"
    russian = int(n_tokens * RUSSIAN_SHARE)
    recipe = "version = 1\n"
    for name, number in (("russian", russian), ("code", n_tokens - russian)):
        (work / f"{name}.txt").write_text(texts.learned[name], encoding="utf-8")
        recipe += f'[[extend]]\ncorpus = "{name}.txt"\ntokens = {number}\n'
    (work / "recipe.toml").write_text(recipe, encoding="utf-8")
    plan = work / "plan.json"
    costs = {
        "plan": tokengraft("plan", base, work / "recipe.toml", "-o", plan),
        "apply": tokengraft("apply", plan, "--base", base, "-o", out),
        "verify": tokengraft("verify", out, "--against", base),
    }
    size = sum(len(text.encode()) for text in texts.learned.values())
    print(f"{n_tokens:,} pieces from {size / 1e6:.1f} MB")
    for name, cost in costs.items():
        print(f"{name:8} {cost.seconds:8.1f} s   {cost.peak_mb:6.0f} MB peak")
    written = plan.stat().st_size, plan.with_name("plan.rows.safetensors").stat().st_size
    print(f"plan     {written[0]:,} bytes, sidecar {written[1]:,} bytes\n")
    compare(base / "tokenizer.json", out / "tokenizer.json", texts, n_tokens)
    seconds = costs["plan"].seconds + costs["apply"].seconds
    return 0 if seconds <= LIMIT_SECONDS else 1


def compare(base: Path, ours: Path, texts: Texts, n_tokens: int) -> None:
    """Bytes per id of held-out text, pieces that never come up, and lines that were cut anew."""
    before = Tokenizer.from_file(str(base))
    ways = {
        "before": before,
        "tokengraft": Tokenizer.from_file(str(ours)),
        "add_tokens of words": added_words(base, texts, n_tokens),
        "pieces trained apart": trained_apart(base, texts, n_tokens),
    }
    kinds = list(texts.held_out)
    sizes = ", ".join(f"{k} {len(texts.held_out[k].encode()) / 1e6:.2f} MB" for k in kinds)
    print(f"bytes per id of held-out text ({sizes})")
    print(f"{'':22} " + " ".join(f"{kind:>8}" for kind in kinds) + "   dead   cut anew")
    for name, tokenizer in ways.items():
        shown = " ".join(f"{bytes_per_id(tokenizer, texts.held_out[k]):8.2f}" for k in kinds)
        dead, anew = unreachable(before, tokenizer), cut_anew(before, tokenizer, texts)
        print(f"{name:22} {shown} {dead:6,} {100 * anew:8.1f} %")
    print("dead: new tokens that the tokenizer does not make even of their own text")
    print("cut anew: held-out lines whose old ids are not what the new ones stand for")


def added_words(base: Path, texts: Texts, number: int) -> Tokenizer:
    """The most frequent words that are several pieces, as `add_tokens` adds them."""
    tokenizer = Tokenizer.from_file(str(base))
    counts: Counter[str] = Counter()
    for text in texts.learned.values():
        counts.update(text.split())
    words = [word for word, _ in counts.most_common(4 * number)]
    several = [
        word
        for word, found in zip(words, tokenizer.encode_batch(words), strict=True)
        if len(found.ids) > 1
    ]
    tokenizer.add_tokens(several[:number])
    return tokenizer


def trained_apart(base: Path, texts: Texts, number: int) -> Tokenizer:
    """A new BPE on the same text; its pieces and merges that the old one lacks are appended."""
    document = json.loads(base.read_bytes())
    old = Tokenizer.from_file(str(base))
    new = Tokenizer(models.BPE())
    new.normalizer, new.pre_tokenizer = old.normalizer, old.pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=2 * number, show_progress=False)
    chunks = (t[at : at + CHUNK] for t in texts.learned.values() for at in range(0, len(t), CHUNK))
    new.train_from_iterator(chunks, trainer)
    vocab, merges = document["model"]["vocab"], document["model"]["merges"]
    for token in document["added_tokens"]:
        vocab[token["content"]] = token["id"]
    added = 0
    for merge in json.loads(new.to_str())["model"]["merges"]:
        left, right = merge if isinstance(merge, list) else merge.split(" ")
        if added < number and left + right not in vocab and {left, right} <= vocab.keys():
            vocab[left + right] = len(vocab)
            merges.append([left, right] if isinstance(merges[0], list) else f"{left} {right}")
            added += 1
    return Tokenizer.from_str(json.dumps(document))


def bytes_per_id(tokenizer: Tokenizer, text: str) -> float:
    """How much text an id holds; the text is read in chunks."""
    chunks = [text[at : at + CHUNK] for at in range(0, len(text), CHUNK)]
    ids = sum(len(e.ids) for e in tokenizer.encode_batch(chunks, add_special_tokens=False))
    return len(text.encode()) / ids


def new_tokens(before: Tokenizer, after: Tokenizer) -> dict[str, int]:
    """Texts of tokens that only the second one has (spelled in bytes where they are pieces)."""
    old = before.get_vocab()
    official = {token.content for token in after.get_added_tokens_decoder().values()}
    own = set(json.loads(before.to_str())["model"]["vocab"])
    known = {*old, *own, "<tool_response>", "</tool_response>", "<think>", "</think>"}
    return {
        text: token_id
        for text, token_id in after.get_vocab().items()
        if text not in known and (text not in official or token_id not in old.values())
    }


def unreachable(before: Tokenizer, after: Tokenizer) -> int:
    """New tokens that are not made of their own text: pieces by the model, words by the whole."""
    added = {token.content for token in after.get_added_tokens_decoder().values()}
    dead = 0
    for text, token_id in new_tokens(before, after).items():
        if text in added:
            ids = after.encode(text, add_special_tokens=False).ids
        else:
            ids = [token.id for token in after.model.tokenize(text)]
        dead += ids != [token_id]
    return dead


def cut_anew(before: Tokenizer, after: Tokenizer, texts: Texts) -> float:
    """The share of held-out lines whose old ids are not what the new ones stand for."""
    stands_for = {i: text for text, i in new_tokens(before, after).items()}
    added = {token.content for token in after.get_added_tokens_decoder().values()}
    parts = {
        i: before.encode(text, add_special_tokens=False).ids
        if text in added
        else [token.id for token in before.model.tokenize(text)]
        for i, text in stands_for.items()
    }
    lines = [line for text in texts.held_out.values() for line in text.splitlines() if line.strip()]
    old = before.encode_batch(lines, add_special_tokens=False)
    new = after.encode_batch(lines, add_special_tokens=False)
    wrong = sum(
        a.ids != [old_id for i in b.ids for old_id in parts.get(i, [i])]
        for a, b in zip(old, new, strict=True)
    )
    return wrong / len(lines)


def thresholds(work: Path, data: Path, texts: Texts) -> int:
    """What pieces are worth on held-out Russian, by how often they must stand in the corpus."""
    from tokengraft.events import ignore
    from tokengraft.flow.corpora import corpus_port
    from tokengraft.planning.learning import Words, kept, learn, merged_by
    from tokengraft.spelling import bytes_of, is_whole

    tokenizer = (data / "tokenizers/qwen3-30b-a3b-base/tokenizer.json").read_bytes()
    count = corpus_port(tokenizer, work, ignore)
    for name, text in (("learned", texts.learned["russian"]), ("held", texts.held_out["russian"])):
        (work / name).write_text(text, encoding="utf-8")
    corpus, held = count("learned", False), count("held", False)
    vocab = json.loads(tokenizer)["model"]["vocab"]

    def joined(left: str, right: str) -> str | None:
        found = bytes_of(left + right) or b"\xff"
        return left + right if left + right not in vocab and is_whole(found) else None

    print("stands at least   pieces   bytes per id, held out   pieces never met there")
    for least in (2, 4, 8, 16, 32):
        names = {i: text for text, i in vocab.items()}
        found = learn(
            Words.of(corpus.units), names, joined, first_id=200_000, limit=10**6, least=least
        )
        stay, _ = kept(corpus.units, found, wanted=len(found), least=least)
        by_pair = {(join.left, join.right): join for join in stay}
        met: set[int] = set()
        saved = 0
        for ids, times in held.units:
            merged = merged_by(ids, by_pair)
            met.update(merged)
            saved += times * (len(ids) - len(merged))
        share = sum(join.id not in met for join in stay) / max(len(stay), 1)
        rate = held.size_bytes / (held.n_ids - saved)
        print(f"{least:15}   {len(stay):6,}   {rate:22.3f}   {100 * share:20.0f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
