"""The model as a witness: base and result, run on the same text, say the same."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tokengraft.checkpoint import Checkpoint
from tokengraft.low_rank import AddLowRank
from tokengraft.plans import Keep, Plan
from tokengraft.results import Check
from tokengraft.sandbox.tokenizers import TokenizerChild
from tokengraft.verifying.documents import changes_positions
from tokengraft.verifying.memory import available_bytes
from tokengraft.verifying.records import NO_WEIGHTS, Graft, failed, passed, skipped
from tokengraft.verifying.renumbered import Moves
from tokengraft.verifying.rows import numbered
from tokengraft.verifying.transformers_witness import run_child

NAME = "logits"
SCRIPT = Path(__file__).with_name("run_models.py")
NEW_TOKENS = 32
MAX_SECONDS = 3600
MEMORY_SHARE = 3  # a model must weigh less than this part of what is free: one is held at a time
# No difference was measured on x86 (torch 2.13, three dtypes, matrices grown by 320 rows); another
# machine may multiply a matrix of another height in another order.
MAX_STEPS = 4.0
PROMPTS = (
    "Once upon a time there was a lighthouse",
    "def fibonacci(n):\n    ",
    "Жили-были старик со старухой",
    "The capital of France is",
)


def check_logits(graft: Graft, base: Checkpoint | None) -> Iterator[Check]:
    """Greedy text of base and result is the same token for token, logits of old ids too."""
    why = _why_not(graft, base)
    if why:
        yield skipped(NAME, why)
        return
    assert base is not None
    assert base.tokenizer is not None
    with TokenizerChild() as child:
        child.load(base.small_files["tokenizer.json"])
        prompts = [list(ids) for ids in child.encode(PROMPTS) if ids]
    assert graft.plan is not None
    moves = Moves.of(graft.plan.tokens)
    old = [i for i in range(base.tokenizer.n_tokens) if i not in moves.removed]
    prompts = [ids for ids in prompts if moves.removed.isdisjoint(ids)]
    if not prompts:
        yield skipped(NAME, "every prompt holds a token that goes")
        return
    with tempfile.TemporaryDirectory(prefix="tokengraft-") as folder:
        asked = Path(folder, "asked.json")
        wish: dict[str, object] = {
            "folders": [str(base.root), str(graft.out)],
            "prompts": prompts,
            "n_new": NEW_TOKENS,
            # The same tokens in both, by their ids there: what is compared.
            "ids": [old, [moves.new[i] for i in old]],
            "moved": bool(moves.removed),
        }
        asked.write_text(json.dumps(wish), encoding="utf-8")
        answer = run_child([sys.executable, "-P", str(SCRIPT), str(asked)], seconds=MAX_SECONDS)
    yield _told(answer, len(prompts), len(old))


def _told(answer: Mapping[str, object], n_prompts: int, n_old: int) -> Check:
    same, largest, steps = (answer.get(key) for key in ("same_text", "largest", "steps"))
    if not isinstance(same, int) or not isinstance(largest, float) or not isinstance(steps, float):
        return failed(NAME, f"the models could not be run: {str(answer.get('error', ''))[:300]}")
    text = f"{same} of {n_prompts} prompts are continued by the same {NEW_TOKENS} tokens"
    if largest == 0:
        exact = "bit for bit the same"
    else:
        exact = f"at most {largest:.3g} apart, {steps:.1f} steps of {answer.get('dtype')}"
    about = f"{text}; the logits of {n_old:,} old ids are {exact} (allowed: {MAX_STEPS:.0f} steps)"
    return (passed if same == n_prompts and steps <= MAX_STEPS else failed)(NAME, about)


def cannot_run(graft: Graft, base: Checkpoint | None, *, python: str = sys.executable) -> str:
    """Why base and result cannot both be run on text here; "" if nothing is known against it."""
    if base is None:
        return "needs the base: --against"
    if graft.plan is None or graft.checkpoint is None or base.tokenizer is None:
        return "the plan or the checkpoint cannot be read"
    if graft.checkpoint.tensors is None or base.tensors is None:
        return NO_WEIGHTS
    if "tokenizer.json" not in base.small_files:
        return "the base has no tokenizer.json to encode a prompt with"
    missing = [n for n in ("torch", "transformers") if importlib.util.find_spec(n) is None]
    if missing and python == sys.executable:
        return f"{' and '.join(missing)} not installed: pip install 'tokengraft[train]'"
    return ""


def _why_not(graft: Graft, base: Checkpoint | None) -> str:
    why = cannot_run(graft, base)
    if why:
        return why
    assert graft.plan is not None
    assert graft.checkpoint is not None
    assert graft.checkpoint.tensors is not None
    reason = _changes_old_text(graft.plan)
    if reason:
        return reason
    free, size = available_bytes(), graft.checkpoint.tensors.size_bytes
    if size * MEMORY_SHARE > free:
        return f"the model weighs {size:,} bytes, more than a third of {free:,} free"
    return ""


def _changes_old_text(plan: Plan) -> str:
    """Why the result must answer old text otherwise than the base; "" if it must not."""
    if any(isinstance(edit, AddLowRank) for edit in plan.edits):
        return "the plan changes the model's own weights"
    if changes_positions(plan):
        return "the plan changes how positions are encoded, so old text is read anew"
    n_old = plan.ids.before.n_tokens if plan.ids is not None else 0
    for name, remap in plan.row_edits().items():
        for row, source in numbered(remap):
            if not isinstance(source, Keep) and row < n_old:
                return f"the plan rewrites {name}[{row}], a row of an old id"
    return ""
