"""Long texts: what base and result make of the same ones, by position, and of keys hidden in them.

Measured and not judged: how good is good enough, no check can know. What is judged is what the numbers
of the positions promise: finite losses, and no change of short texts where their frequencies stay.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tokengraft.boundaries import opening_of
from tokengraft.checkpoint import Checkpoint
from tokengraft.errors import ChildFailed, RefusedError, UsageError
from tokengraft.formats.recipe_file import parse_recipe
from tokengraft.plans import Plan
from tokengraft.positions import (
    Reader,
    Reading,
    attention_factor,
    config_of,
    frequencies,
    reach_of,
    read,
    start_of,
)
from tokengraft.results import Check, LongTexts
from tokengraft.sandbox.tokenizers import TokenizerChild
from tokengraft.tensors import TensorRef
from tokengraft.verifying.documents import changes_positions
from tokengraft.verifying.logits import cannot_run
from tokengraft.verifying.long_texts_jobs import SECONDS, Asked
from tokengraft.verifying.long_texts_told import figures, short_losses, told
from tokengraft.verifying.memory import available_bytes
from tokengraft.verifying.records import Graft, failed, skipped
from tokengraft.verifying.texts import from_file
from tokengraft.verifying.transformers_witness import run_child
from tokengraft.verifying.windows import CHARS_A_TOKEN, MAX_TOKENS, passkeys, windows

NAME = "long-texts"
SCRIPT = Path(__file__).with_name("run_long_texts.py")
DTYPE = "float32"  # of every model, so that a difference is no matter of rounding
MAX_SECONDS = 3 * sum(SECONDS.values())
_BYTES = 4
_FIXED_BYTES = 1 << 30  # torch itself, and the logits of a few places
_SAME = 1e-4  # nats a token: the same computation gives the same number on one machine


def check_long_texts(
    graft: Graft, base: Checkpoint | None, texts: Sequence[Path], *, python: str = sys.executable
) -> Iterator[Check]:
    """Score the same long texts with base and result.

    Says nothing of a plan that leaves positions as they are.

    Args:
        graft: the result.
        base: the checkpoint it was made of.
        texts: files of running text.
        python: the interpreter that runs the models; by default this one, if it has torch.
    """
    if graft.plan is None or not asks_for_context(graft.plan):
        return
    why = cannot_run(graft, base, python=python)
    if not why and not texts:
        assert base is not None
        why = (
            f"needs texts to read: tokengraft verify {graft.out} --against {base.root} --deep "
            "--texts FILE"
        )
    if why:
        yield skipped(NAME, why)
        return
    assert base is not None
    assert graft.checkpoint is not None
    asked = _asked(graft.checkpoint, base, texts)
    if isinstance(asked, str):
        yield skipped(NAME, asked)
        return
    why = _does_not_fit(graft.checkpoint, asked.long)
    if why:
        yield skipped(NAME, why)
        return
    yield _measured(graft, base, asked, python)


def asks_for_context(plan: Plan) -> bool:
    """Whether the recipe asks for other positions; a plan may also spell the same ones anew."""
    if not changes_positions(plan):
        return False
    try:
        recipe, _ = parse_recipe(plan.recipe, file="the plan's recipe")
    except (UsageError, RefusedError):
        return True  # a recipe that somebody spoilt hides no check
    return recipe.context is not None


def _asked(after: Checkpoint, base: Checkpoint, paths: Sequence[Path]) -> Asked | str:
    """What is to be read, or why there is nothing."""
    config = config_of(after)
    assert config is not None
    trained, wanted = start_of(config), reach_of(config)
    length = min(max(trained, wanted), MAX_TOKENS)
    begin = opening_of(base)
    texts = ["".join(from_file(path)) for path in paths]
    names = tuple(path.name for path in paths)
    with TokenizerChild() as child:
        child.load(base.small_files["tokenizer.json"])
        found = windows(texts, child.encode, length, begin)
        if not found:
            n_most = max(map(len, child.encode([t[: CHARS_A_TOKEN * length] for t in texts])))
            return f"the longest text has {n_most:,} tokens, and a window needs {length:,}"
        asked = Asked(names, trained, wanted, found, begin)
        lengths = {asked.short, asked.long}
        keys = {n: list(passkeys(found, child.encode, n, begin)) for n in sorted(lengths)}
    return replace(asked, keys=keys)


def _does_not_fit(after: Checkpoint, n_tokens: int) -> str:
    """Why the model does not fit into memory, with figures; "" if it does."""
    needed, free = needed_bytes(after, n_tokens), available_bytes()
    if needed <= free:
        return ""
    return (
        f"the model needs about {needed:,} bytes in {DTYPE} for texts of {n_tokens:,} tokens, and "
        f"{free:,} are free"
    )


def needed_bytes(checkpoint: Checkpoint, n_tokens: int) -> int:
    """An estimate from above: all weights in float32, and what a layer makes of a text at once."""
    assert checkpoint.tensors is not None
    refs = checkpoint.tensors.tensors.values()
    widest = max((max(ref.shape, default=0) for ref in _inside_layers(checkpoint)), default=0)
    numbers = sum(ref.n_elements for ref in refs) + 8 * n_tokens * widest
    return _BYTES * numbers + _FIXED_BYTES


def _inside_layers(checkpoint: Checkpoint) -> Iterator[TensorRef]:
    """Tensors without a vocabulary axis."""
    assert checkpoint.tensors is not None
    layout = checkpoint.layout
    with_rows = {part.name for part in layout.tensors} if layout is not None else set()
    for name, ref in checkpoint.tensors.tensors.items():
        if name not in with_rows:
            yield ref


def _measured(graft: Graft, base: Checkpoint, asked: Asked, python: str) -> Check:
    jobs = asked.jobs()
    wish = {
        "folders": [str(base.root), str(graft.out)],
        "groups": list(jobs.values()),
        "dtype": DTYPE,
        "memory_bytes": max(available_bytes(), _FIXED_BYTES),
    }
    with tempfile.TemporaryDirectory(prefix="tokengraft-") as folder:
        path = Path(folder, "asked.json")
        path.write_text(json.dumps(wish), encoding="utf-8")
        try:
            answer = run_child([python, "-P", str(SCRIPT), str(path)], seconds=MAX_SECONDS)
        except ChildFailed as error:
            said = "; ".join(part for part in (error.summary, error.detail) if part)
            return _unknown(f"the models could not be run: {said}")
    models = answer["models"]
    assert isinstance(models, list)
    if "error" in models[-1]:
        said = str(models[-1]["error"])[:300]
        if len(models) == 1:
            return _unknown(f"the base could not be run: {said}")
        return failed(NAME, f"the base was run, and the result could not be: {said}")
    before, after = (dict(zip(jobs, model["groups"], strict=True)) for model in models)
    return _judged(graft, base, asked, figures(asked, DTYPE, before, after))


def _judged(graft: Graft, base: Checkpoint, asked: Asked, found: LongTexts) -> Check:
    evidence = "; ".join(told(found))
    wrong = ""
    if any(loss.after is None and loss.before is not None for loss in found.losses):
        wrong = "the result's losses are no finite numbers where the base's are"
    elif _stays(graft, base, asked.short):
        # None are there where the base's own losses are no finite numbers.
        apart = max(
            (abs(loss.difference.mean) for loss in short_losses(found) if loss.difference),
            default=0.0,
        )
        if apart > _SAME:
            wrong = (
                f"texts of {asked.short:,} tokens have the frequencies that they had before, and their "
                f"losses are {apart:.4f} apart"
            )
    if wrong:
        return Check(name=NAME, status="fail", evidence=f"{wrong}; {evidence}", measured=found)
    return Check(name=NAME, status="unknown", evidence=evidence, measured=found)


def _stays(graft: Graft, base: Checkpoint, length: int) -> bool:
    """Whether a text of this length is read with the same frequencies, whatever reads config.json."""
    assert graft.checkpoint is not None
    before, after = config_of(base), config_of(graft.checkpoint)
    if before is None or after is None:
        return False
    readers: tuple[Reader, ...] = ("transformers 4", "transformers 5")
    pairs = [(read(before, reader), read(after, reader)) for reader in readers]
    return all(_numbers(one, length) == _numbers(other, length) != {} for one, other in pairs)


def _numbers(reading: Reading, length: int) -> dict[str, tuple[float, ...]]:
    return {
        kind: (attention_factor(rotary.scaling), *frequencies(rotary, length))
        for kind, rotary in reading.by_layer.items()
    }


def _unknown(why: str) -> Check:
    return Check(name=NAME, status="unknown", evidence=why)
