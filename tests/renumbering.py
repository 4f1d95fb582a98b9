"""Tiny checkpoints from which tokens are taken, and the proof that nothing else happened to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import renumbered
from raw_tensors import row_bytes, tensor_bytes
from tiny import QWEN_LIKE
from tiny_kinds import EIGHT
from tokengraft.flow import making, proving
from tokengraft.plans import Plan
from tokengraft.results import Verification

# Two added tokens that nothing uses: between the others, and behind them.
SPARE = (*QWEN_LIKE[:3], "<|spare_a|>", *QWEN_LIKE[3:], "<|spare_b|>")
KINDS = {name: replace(tiny, added=SPARE, n_rows=None) for name, tiny in EIGHT.items()}
TIGHT = {name: tiny for name, tiny in EIGHT.items() if "unpadded" in name}
CORPUS = "hello world of the cat and\n"
ONE = '[[remove]]\ntext = "<|spare_a|>"\nrenumber = true\n'


def planned(source: Path, recipe: str, corpus: str = CORPUS) -> making.Planned:
    folder = source.parent
    (folder / "corpus.txt").write_text(corpus, encoding="utf-8")
    path = folder / "recipe.toml"
    path.write_text(f"version = 1\n{recipe}", encoding="utf-8")
    return making.make_plan(str(source), path)


def grafted(source: Path, recipe: str, corpus: str = CORPUS) -> tuple[Path, Plan]:
    """Plan and apply; the result's folder and the plan."""
    made = planned(source, recipe, corpus)
    out = source.parent / "out"
    making.apply_planned(made, out=out)
    return out, made.plan


def gone(plan: Plan) -> tuple[set[int], set[str]]:
    removed = [token for token in plan.tokens if token.action == "remove"]
    return {token.id for token in removed}, {token.key for token in removed}


def verified(source: Path, out: Path) -> Verification:
    """All checks, on a small corpus: the built-in one is for the deep tests."""
    texts = out.parent / "texts.txt"
    words = [
        "hello world",
        " the тест of cat",
        "é中\n",
        "<|im_end|>x",
        "1234 def in er on",
        "\t\n ",
    ]
    texts.write_text("".join(a + b for a in words for b in words) + CORPUS, encoding="utf-8")
    return proving.verify(out, against=str(source), texts=texts)


def check(source: Path, out: Path, plan: Plan) -> None:
    """Files and rows are the oracle's, the checks pass, and the base comes back bit for bit."""
    removed, texts = gone(plan)
    assert plan.renumbering is not None
    assert removed
    wanted = renumbered.expected(source, removed, texts)
    rows_after = plan.renumbering.n_rows_after
    if "vocab_size" in wanted["config.json"]:
        wanted["config.json"]["vocab_size"] = rows_after
    assert wanted == renumbered.actual(out, list(wanted))
    before, after = tensor_bytes(source), tensor_bytes(out)
    assert before.keys() == after.keys()
    for name in before:
        if name in renumbered.VOCAB_TENSORS:
            assert renumbered.rows(source, name, removed, rows_after) == row_bytes(out, name)
        else:
            assert before[name] == after[name]
    verification = verified(source, out)
    failed = [check for check in verification.checks if check.status == "fail"]
    assert verification.passed, failed
    making.undo(out, target=out.parent / "back")
    for path in source.rglob("*"):
        if path.is_file():
            assert (
                path.read_bytes() == (out.parent / "back" / path.relative_to(source)).read_bytes()
            )
