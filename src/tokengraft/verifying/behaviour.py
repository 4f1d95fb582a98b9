"""What a result does with its new tokens: prompts that it never saw, answered greedily, and read back.

The model runs in a process of its own. What comes of it is measured, and becomes a claim only where
the suite sets a bound: a share that nobody asked for is neither passed nor failed.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokengraft.behaviour import Behaviour, Measured, NeutralBits, Rate, Suite
from tokengraft.boundaries import generation_ends, opening_of
from tokengraft.checkpoint import Checkpoint
from tokengraft.formats import loading
from tokengraft.results import Check
from tokengraft.verifying.behaviour_figures import measured, neutral_bits
from tokengraft.verifying.memory import available_bytes
from tokengraft.verifying.records import NO_WEIGHTS, Graft, failed, passed, skipped
from tokengraft.verifying.transformers_witness import run_child

SAID, READ, STOP, TEXT = "new-tokens-said", "answers-read-back", "answers-stop", "neutral-text"
NAMES = (SAID, READ, STOP, TEXT)
SCRIPT = Path(__file__).with_name("run_behaviour.py")
MAX_SECONDS = 6 * 3600
SMALL_BYTES = 2 << 30  # weights below that are computed with in float32
MEMORY_SHARE = 3  # a model must weigh less than this part of what is free: one is held at a time


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked, and of whom else.

    Attributes:
        before: a folder with the new tokens as they were before training; None without one.
        base: what text was read by before anything changed; None to take `before`.
        notes: what a reader should know of the suite, or of what is missing.
    """

    suite: Suite
    before: Path | None = None
    base: Checkpoint | None = None
    notes: tuple[str, ...] = ()


def check_behaviour(graft: Graft, questions: Questions) -> tuple[Behaviour | None, list[Check]]:
    """Ask the model, measure what it answers, and hold it against the suite's bounds."""
    why = _why_not(graft)
    if why:
        return None, [skipped(name, why) for name in NAMES]
    tokens, unknown = _tokens(graft, questions.suite)
    if unknown:
        told = f"the suite names tokens that are not in this folder: {', '.join(unknown)}"
        return None, [failed(SAID, told)]
    answer = _asked(graft, questions)
    models = answer.get("models")
    assert isinstance(models, list)
    if "error" in models[0]:
        return None, [failed(SAID, f"the model could not be run: {models[0]['error'][:300]}")]
    found = _behaviour(questions, tokens, models, answer.get("versions"))
    return found, list(_checks(found, questions.suite))


def _why_not(graft: Graft) -> str:
    if graft.plan is None or graft.checkpoint is None or graft.checkpoint.tokenizer is None:
        return "the plan or the checkpoint cannot be read"
    if graft.checkpoint.tensors is None:
        return NO_WEIGHTS
    missing = [n for n in ("torch", "transformers") if importlib.util.find_spec(n) is None]
    if missing:
        return f"{' and '.join(missing)} not installed: pip install 'tokengraft[train]'"
    free, size = available_bytes(), graft.checkpoint.tensors.size_bytes
    if size * MEMORY_SHARE > free:
        return f"the model weighs {size:,} bytes, more than a third of {free:,} free"
    return ""


def _tokens(graft: Graft, suite: Suite) -> tuple[dict[str, int], list[str]]:
    """The tokens to look at, with their ids; and those that the folder lacks."""
    assert graft.plan is not None
    assert graft.checkpoint is not None
    assert graft.checkpoint.tokenizer is not None
    ids = {text: token_id for token_id, text in graft.checkpoint.tokenizer.table().items()}
    made = [t for t in graft.plan.tokens if t.action in ("add", "claim") and t.rows]
    ids |= {token.text: token.id for token in made}
    named = list(suite.settings.tokens) or [token.text for token in made]
    asked = [text for prompt in suite.prompts for text in prompt.wants.tokens]
    texts = list(dict.fromkeys([*named, *asked]))
    unknown = [text for text in texts if text not in ids]
    return {text: ids[text] for text in texts if text in ids}, unknown


def _asked(graft: Graft, questions: Questions) -> Mapping[str, Any]:
    suite = questions.suite
    assert graft.checkpoint is not None
    assert graft.checkpoint.tensors is not None
    has_prompts, has_texts = bool(suite.prompts), bool(suite.texts)
    folders = [{"prompts": has_prompts, "texts": has_texts, **_model(graft.checkpoint)}]
    if questions.before is not None:
        reads = has_texts and questions.base is None
        before = loading.load(questions.before, weights=False)
        folders.append({"prompts": has_prompts, "texts": reads, **_model(before)})
    if questions.base is not None and has_texts:
        folders.append({"prompts": False, "texts": True, **_model(questions.base)})
    wish = {
        "folders": folders,
        "prompts": [_prompt(one.model_dump(mode="json")) for one in suite.prompts],
        "texts": [one.text for one in suite.texts],
        "max_new_tokens": suite.settings.max_new_tokens,
        "float32": graft.checkpoint.tensors.size_bytes < SMALL_BYTES,
        "memory_bytes": available_bytes(),
    }
    with tempfile.TemporaryDirectory(prefix="tokengraft-") as folder:
        asked = Path(folder, "asked.json")
        asked.write_text(json.dumps(wish), encoding="utf-8")
        return run_child([sys.executable, "-P", str(SCRIPT), str(asked)], seconds=MAX_SECONDS)


def _model(checkpoint: Checkpoint) -> dict[str, Any]:
    """A folder as the child is told it: what it cannot know without us."""
    return {
        "path": str(checkpoint.root),
        "opening": opening_of(checkpoint),
        "stops": generation_ends(checkpoint),
    }


def _prompt(whole: dict[str, Any]) -> dict[str, Any]:
    return {key: whole[key] for key in ("messages", "tools", "chat_template_kwargs", "prompt")}


def _behaviour(
    questions: Questions, tokens: Mapping[str, int], models: Sequence[Any], versions: object
) -> Behaviour:
    suite, notes = questions.suite, list(questions.notes)
    now = measured(suite.prompts, models[0].get("answers", ()), tokens)
    was: Measured | None = None
    rest = list(models[1:])
    texts_before, compared_with = None, ""
    for place, folder in ((questions.before, "before"), (questions.base, "the base")):
        if place is None or not rest or (folder == "the base" and not suite.texts):
            continue
        told = rest.pop(0)
        if "error" in told:
            notes.append(f"the model before could not be run: {told['error'][:300]}")
            continue
        if "answers" in told:
            was = measured(suite.prompts, told["answers"], tokens)
        if "texts" in told:
            texts_before, compared_with = told["texts"], folder
    return Behaviour(
        suite=suite.name,
        n_prompts=len(suite.prompts),
        said=now.said,
        tokens=now.tokens if suite.prompts else (),
        tools=now.tools,
        read_back=now.read_back,
        stop=now.stop,
        neutral_bits=neutral_bits(models[0].get("texts", ()), texts_before, compared_with),
        examples=now.examples,
        before=was,
        notes=tuple(notes),
        versions={str(k): str(v) for k, v in versions.items()}
        if isinstance(versions, dict)
        else {},
    )


# ── against bounds ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Claim:
    """A share and the bound that it is held against; `is_least` says which side is right."""

    what: str
    rate: Rate | None
    bound: float | None
    is_least: bool = True

    @property
    def broken(self) -> str:
        """How it does not hold, "" where it does or where nobody asks."""
        if self.bound is None:
            return ""
        if self.rate is None:
            return f"{self.what} was not asked, and the suite sets a bound"
        holds = self.rate.rate >= self.bound if self.is_least else self.rate.rate <= self.bound
        if holds:
            return ""
        side = "at least" if self.is_least else "at most"
        return f"{self.what}: {_percent(self.rate.rate)}, and the suite asks for {side} {_percent(self.bound)}"


def _checks(found: Behaviour, suite: Suite) -> Iterator[Check]:
    bounds = suite.bounds
    if suite.prompts:
        yield _judged(SAID, _said_words(found), _said_claims(found, suite))
        read = list(_read_claims(found, suite))
        if any(claim.rate is not None or claim.bound is not None for claim in read):
            yield _judged(READ, _read_words(read), read)
        stopped = None if found.stop is None else found.stop.stopped
        claim = _Claim("answers that stop", stopped, None if bounds is None else bounds.stopped)
        yield _judged(STOP, f"{_counted(stopped)} answers end by themselves", [claim])
    if suite.texts:
        yield _text_check(found.neutral_bits, None if bounds is None else bounds.neutral_bits)


def _judged(name: str, words: str, claims: Sequence[_Claim]) -> Check:
    broken = [claim.broken for claim in claims if claim.broken]
    if broken:
        return failed(name, f"{words}; {'; '.join(broken)}")
    if any(claim.bound is not None for claim in claims):
        return passed(name, f"{words}; all bounds of the suite hold")
    return Check(name=name, status="unknown", evidence=f"{words}; the suite sets no bound")


def _said_claims(found: Behaviour, suite: Suite) -> list[_Claim]:
    bounds = suite.bounds
    if bounds is None:
        return []
    asked = {text for prompt in suite.prompts for text in prompt.wants.tokens}
    claims = []
    for token in found.tokens:
        name = repr(token.text)
        if token.text in asked:
            claims.append(_Claim(f"{name} where it is wanted", token.wanted, bounds.emitted))
            if token.closes is not None:
                claims.append(_Claim(f"spans of {name} that end", token.closes, bounds.closed))
        for what, rate, bound in (
            (f"{name} on neutral prompts", token.neutral, bounds.neutral),
            (f"{name} on near misses", token.near_miss, bounds.near_miss),
        ):
            claims.append(_Claim(what, rate, bound, is_least=False))
    return claims


def _said_words(found: Behaviour) -> str:
    assert found.said is not None  # there are prompts
    told = (
        f"where wanted {_counted(found.said.wanted)}, "
        f"on neutral prompts {_counted(found.said.neutral)}, "
        f"on near misses {_counted(found.said.near_miss)}"
    )
    return f"{len(found.tokens)} new tokens are said {told}"


def _read_claims(found: Behaviour, suite: Suite) -> Iterator[_Claim]:
    bounds, back, tools = suite.bounds, found.read_back, found.tools
    role, modules = (None, None) if back is None else (back.role, back.modules)
    parsed, names, arguments = (
        (None, None, None) if tools is None else (tools.parsed, tools.names, tools.arguments)
    )
    for what, rate, key in (
        ("roles", role, "role"),
        ("modules of thought", modules, "thoughts"),
        ("calls read back", parsed, "parsed"),
        ("calls by the right name", names, "names"),
        ("calls with the right arguments", arguments, "arguments"),
    ):
        yield _Claim(what, rate, None if bounds is None else getattr(bounds, key))


def _read_words(claims: Sequence[_Claim]) -> str:
    told = [f"{claim.what} {_counted(claim.rate)}" for claim in claims if claim.rate is not None]
    return "as wanted: " + ", ".join(told)


def _text_check(bits: NeutralBits | None, bound: float | None) -> Check:
    if bits is None or bits.after is None:
        return failed(TEXT, "the texts cost no finite number of bits")
    now = f"{bits.n_texts} texts cost {bits.after:.4f} bits a byte"
    if bits.before is None or bits.difference is None:
        return skipped(TEXT, f"{now}; what they cost before needs --against or --before")
    told = f"{now}, {bits.difference:+.4f} against {bits.before:.4f} before"
    if bound is None:
        return Check(name=TEXT, status="unknown", evidence=f"{told}; the suite sets no bound")
    judge = passed if bits.difference <= bound else failed
    return judge(TEXT, f"{told}; the suite allows {bound:.4f}")


def _counted(rate: Rate | None) -> str:
    if rate is None:
        return "0 of 0"
    return f"{rate.hits} of {rate.n} ({_percent(rate.rate)})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
