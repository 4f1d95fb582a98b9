"""Positions as numbers: what the files say to each program, and what transformers makes of them."""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokengraft.checkpoint import Checkpoint
from tokengraft.positions import (
    Reading,
    RopeConfig,
    Rotary,
    attention_factor,
    config_of,
    counted_pairs,
    frequencies,
    reach_of,
    read,
    rounding,
)
from tokengraft.results import Check
from tokengraft.verifying.documents import changes_positions
from tokengraft.verifying.records import Graft, failed, passed, skipped
from tokengraft.verifying.transformers_witness import run_child

NAME, WITNESS = "positions", "transformers-positions"
SCRIPT = Path(__file__).with_name("ask_positions.py")
MAX_SECONDS = 600
_SAME = 1e-12  # both compute the factor of cosines and sines in double precision


@dataclass(frozen=True, slots=True)
class Apart:
    """How far a library's frequencies are from ours, at most.

    Attributes:
        relative: difference over our number.
        of_allowed: difference over what rounding to float32 can cost there.
    """

    n_numbers: int
    relative: float
    of_allowed: float


def check_positions(graft: Graft, base: Checkpoint | None) -> Iterator[Check]:
    """Every program reads the same positions from the result, on the base's own frequencies.

    Says nothing of a plan that leaves positions as they are.
    """
    config = _stretched(graft)
    if config is None:
        return
    after = read(config)
    if after.full is None:
        yield Check(name=NAME, status="unknown", evidence=after.why_not)
        return
    wrong = [*_readers_apart(config, after), *_moved(base, after)]
    if wrong:
        yield failed(NAME, "; ".join(wrong))
        return
    length = reach_of(config)
    numbers = counted_pairs(after.full, length)
    if config.is_nested:
        text = (
            f"transformers 5 and llama.cpp's converter find the same for {length} tokens: {numbers}"
        )
    else:
        text = f"transformers 4 and 5 and llama.cpp's converter find the same for {length} tokens: {numbers}"
    yield passed(NAME, text)


def ask_positions(graft: Graft, *, python: str = sys.executable) -> Iterator[Check]:
    """The installed transformers turns heads by the numbers that are computed here.

    Says nothing of a plan that leaves positions as they are.

    Args:
        graft: the result.
        python: the interpreter to ask; by default this one, if it has transformers and torch.
    """
    config = _stretched(graft)
    if config is None:
        return
    why = _not_installed(python)
    if why:
        yield skipped(WITNESS, why)
        return
    lengths = lengths_to_ask(config)
    answer = asked([graft.out], lengths, python=python)
    version = str(answer.get("version"))
    folders = answer.get("folders")
    (theirs,) = folders if isinstance(folders, list) and len(folders) == 1 else ({},)
    yield compared(config, version, theirs)


def asked(
    folders: Sequence[Path], lengths: Sequence[int], *, python: str = sys.executable
) -> Mapping[str, object]:
    """What transformers says of the positions of these folders, at each length."""
    with tempfile.TemporaryDirectory(prefix="tokengraft-") as folder:
        wish = Path(folder, "asked.json")
        job = {"folders": [str(one) for one in folders], "lengths": list(lengths)}
        wish.write_text(json.dumps(job), encoding="utf-8")
        return run_child([python, "-P", str(SCRIPT), str(wish)], seconds=MAX_SECONDS)


def lengths_to_ask(config: RopeConfig) -> tuple[int, ...]:
    """Both sides of the trained length, where methods change over, and the whole context."""
    reach = reach_of(config)
    full = read(config).full
    original = getattr(full.scaling, "original", reach) if full is not None else reach
    return tuple(sorted({max(original // 2, 1), original, original + 1, reach}))


def compared(config: RopeConfig, version: str, theirs: Mapping[str, object]) -> Check:
    """One library's answer for one folder against the numbers computed here."""
    layers = theirs.get("layers")
    if not isinstance(layers, dict) or not layers:
        said = str(theirs.get("error", "no answer"))[:300]
        return Check(name=WITNESS, status="unknown", evidence=f"transformers {version}: {said}")
    ours = read(config, "transformers 4" if version.startswith("4.") else "transformers 5")
    if ours.why_not:
        return Check(name=WITNESS, status="unknown", evidence=ours.why_not)
    wrong: list[str] = []
    worst = Apart(0, 0.0, 0.0)
    for kind, said in sorted(layers.items()):
        rotary = ours.by_layer.get(kind)
        if rotary is None:
            wrong.append(
                f"it tells layers apart that config.json does not: {kind}"
                if kind
                else "it does not tell layers apart that config.json does"
            )
            continue
        found = _apart(rotary, said, wrong)
        worst = Apart(
            worst.n_numbers + found.n_numbers,
            max(worst.relative, found.relative),
            max(worst.of_allowed, found.of_allowed),
        )
    if worst.of_allowed > 1:
        wrong.append(f"frequencies differ by {worst.relative:.3g} of their size")
    if wrong:
        return failed(WITNESS, f"transformers {version}: {'; '.join(wrong)}")
    return passed(
        WITNESS,
        f"transformers {version} turns heads by the same {worst.n_numbers} frequencies: at most "
        f"{worst.relative:.2g} of their size apart, {worst.of_allowed:.2f} of what rounding to float32 "
        "may cost; cosines and sines are multiplied by the same factor",
    )


def _apart(rotary: Rotary, said: Mapping[str, Mapping[str, object]], wrong: list[str]) -> Apart:
    """Compare every frequency at every length; what is no matter of rounding goes into `wrong`."""
    n_numbers, relative, of_allowed = 0, 0.0, 0.0
    factor = attention_factor(rotary.scaling)
    for length, numbers in said["frequencies"].items():
        expected = frequencies(rotary, int(length))
        allowed = rounding(rotary, int(length))
        if not isinstance(numbers, list) or len(numbers) != len(expected):
            wrong.append(f"it turns another number of pairs than {len(expected)}")
            continue
        for one, other, bound in zip(expected, numbers, allowed, strict=True):
            n_numbers += 1
            relative = max(relative, abs(one - other) / one)
            of_allowed = max(of_allowed, abs(one - other) / bound)
    for length, found in said["attention"].items():
        if not isinstance(found, int | float) or abs(found - factor) > _SAME * factor:
            wrong.append(f"at {length} tokens it multiplies by {found} and not by {factor}")
    return Apart(n_numbers, relative, of_allowed)


def _stretched(graft: Graft) -> RopeConfig | None:
    """What the result says of positions, where its plan changes them."""
    if graft.plan is None or graft.checkpoint is None or not changes_positions(graft.plan):
        return None
    return config_of(graft.checkpoint)


def _not_installed(python: str) -> str:
    if python != sys.executable:
        return ""
    missing = [n for n in ("torch", "transformers") if importlib.util.find_spec(n) is None]
    return f"{' and '.join(missing)} not installed" if missing else ""


def _readers_apart(config: RopeConfig, after: Reading) -> Iterator[str]:
    """Programs that read other positions than transformers 5 from the same config.

    Where each kind of layer has parameters of its own there is no older spelling: version 4 then
    reads none of them, before as after.
    """
    others = ["llama.cpp"] if config.is_nested else ["transformers 4", "llama.cpp"]
    for reader in others:
        found = read(config, "llama.cpp" if reader == "llama.cpp" else "transformers 4")
        if found.full != after.full:
            yield f"{reader} reads {_shown(found)}, transformers 5 reads {_shown(after)}"


def _moved(base: Checkpoint | None, after: Reading) -> Iterator[str]:
    """What a change of scaling must leave alone: base frequency, elements that turn, other layers."""
    config = None if base is None else config_of(base)
    before = Reading() if config is None else read(config)
    for kind, rotary in before.by_layer.items():
        now = after.by_layer.get(kind)
        if now is None or (now.base, now.dim) != (rotary.base, rotary.dim):
            yield f"base frequency or elements that turn were {rotary.base:g} and {rotary.dim}"
        elif kind and rotary not in (before.full, now):
            yield f"{kind} layers are scaled, and must not be"


def _shown(reading: Reading) -> str:
    rotary = reading.full
    return reading.why_not if rotary is None else f"{rotary.scaling} on base {rotary.base:g}"
