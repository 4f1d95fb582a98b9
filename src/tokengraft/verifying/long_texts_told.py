"""Losses of single texts into means with intervals, and means into sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokengraft.results import Estimate, LongTexts, Loss, Passkeys
from tokengraft.verifying.long_texts_jobs import CUT, KEYS, LONG, LONG_KEYS, SHORT, Asked, Range
from tokengraft.verifying.texts import Dice
from tokengraft.verifying.windows import DEPTHS

RESAMPLES = 2000

Scores = Mapping[str, Sequence[Mapping[str, Any]]]


def figures(asked: Asked, dtype: str, before: Scores, after: Scores) -> LongTexts:
    """Put what both models scored into means; each range by its place in the jobs of `asked`."""
    losses: list[Loss] = []
    jobs = asked.jobs()
    for kind, length in ((SHORT, asked.short), (LONG, asked.long)):
        scored = [tuple(one) for one in jobs[kind]["texts"][0]["ranges"]] if kind in jobs else []
        for at, part in enumerate(scored[:-1] if kind == LONG else scored):
            pair = _means_of(before[kind], at), _means_of(after[kind], at)
            losses.append(_loss((length, length), part, *pair))
    if LONG in jobs:
        pair = _means_of(before[CUT], 0), _means_of(after[LONG], -1)
        losses.append(_loss((asked.long, asked.short), asked.last, *pair))
    keys: list[Passkeys] = []
    for kind, length in ((KEYS, asked.short), (LONG_KEYS, asked.long)):
        if kind in jobs:
            keys += _passkeys(asked, length, before[kind], after[kind])
    return LongTexts(
        texts=asked.names,
        trained_tokens=asked.trained,
        wanted_tokens=asked.wanted,
        n_windows=len(asked.windows),
        window_tokens=asked.long,
        dtype=dtype,
        losses=tuple(losses),
        passkeys=tuple(keys),
    )


def mean(values: Sequence[float]) -> Estimate | None:
    """The mean with its percentile bootstrap interval, from draws that are the same everywhere.

    None where a value is not finite.
    """
    if not values or not all(map(math.isfinite, values)):
        return None
    middle = math.fsum(values) / len(values)
    if len(values) == 1:
        return Estimate(mean=middle, low=None, high=None)
    dice = Dice(95)
    drawn = sorted(
        math.fsum(dice.one(values) for _ in values) / len(values) for _ in range(RESAMPLES)
    )
    cut = RESAMPLES // 40  # 2.5 per cent at each end
    return Estimate(mean=middle, low=drawn[cut], high=drawn[-1 - cut])


def told(found: LongTexts) -> Iterator[str]:
    """What was measured, a sentence each; the figures hold the rest."""
    names = ", ".join(found.texts)
    yield (
        f"measured, not judged: {found.n_windows} windows of {found.window_tokens:,} tokens from "
        f"{names}, computed in {found.dtype}"
    )
    if found.window_tokens < found.wanted_tokens:
        yield (
            f"the windows stop at {found.window_tokens:,} of {found.wanted_tokens:,} tokens, and what is "
            "longer was not measured"
        )
    if found.window_tokens <= found.trained_tokens:
        yield f"no window is longer than the {found.trained_tokens:,} tokens that scaling starts from"
    yield from _short_texts(found)
    yield from _last_tokens(found)
    yield from _keys_found(found)


def short_losses(found: LongTexts) -> list[Loss]:
    """Of the texts that would have fitted before."""
    short = min(found.trained_tokens, found.window_tokens)
    return [loss for loss in found.losses if loss.text_tokens == short]


def _short_texts(found: LongTexts) -> Iterator[str]:
    """The warning that a plan gives about short texts, as it turned out."""
    for loss in short_losses(found)[-1:]:
        before, after, apart = loss.before, loss.after, loss.difference
        if before is None or after is None or apart is None:
            return
        change = (
            f"from {before.mean:.3f} to {after.mean:.3f} nats a token at positions {loss.begin:,} to "
            f"{loss.end - 1:,}"
        )
        if apart.mean == apart.low == apart.high == 0:
            yield f"texts of {loss.text_tokens:,} tokens lose what they lost before, to the bit"
        elif apart.low is None or apart.high is None:
            yield f"texts of {loss.text_tokens:,} tokens go {change}, in one window"
        elif apart.low > 0:
            yield f"texts of {loss.text_tokens:,} tokens get worse, {change}"
        elif apart.high < 0:
            yield f"texts of {loss.text_tokens:,} tokens get better, {change}"
        else:
            yield f"texts of {loss.text_tokens:,} tokens show no clear difference, {change}"


def _last_tokens(found: LongTexts) -> Iterator[str]:
    """Whether a longer text helps: the same tokens with all before them, and with the last part alone."""
    for loss in found.losses:
        if loss.seen_before == loss.text_tokens or loss.difference is None:
            continue
        assert loss.before is not None
        assert loss.after is not None
        pair = (
            f"{loss.after.mean:.3f} nats a token with all {loss.text_tokens:,} and {loss.before.mean:.3f} "
            f"for the base with the last {loss.seen_before:,}"
        )
        apart = loss.difference
        if apart.low is None or apart.high is None:
            yield f"the end of a long text: {pair}, in one window"
        elif apart.high < 0:
            yield f"the end of a long text is foretold better with all of it: {pair}"
        elif apart.low > 0:
            yield f"the end of a long text is foretold worse with all of it: {pair}"
        else:
            yield f"the end of a long text is foretold no better with all of it: {pair}"


def _keys_found(found: LongTexts) -> Iterator[str]:
    lengths = sorted({cell.text_tokens for cell in found.passkeys})
    if not lengths:
        yield "no passkeys were hidden: the texts have no room for them"
    for length in lengths:
        cells = [cell for cell in found.passkeys if cell.text_tokens == length]
        n, before, after = (
            sum(getattr(cell, name) for cell in cells)
            for name in ("n_keys", "found_before", "found_after")
        )
        yield f"passkeys found in texts of {length:,} tokens: {before} of {n} before, {after} of {n} after"
    if lengths and not any(c.found_before for c in found.passkeys if c.text_tokens == lengths[0]):
        yield "what the base cannot do in short texts, these keys cannot measure in long ones"


def _means_of(scores: Sequence[Mapping[str, Any]], at: int) -> list[float]:
    return [score["means"][at] for score in scores]


def _loss(lengths: Range, part: Range, before: list[float], after: list[float]) -> Loss:
    n = min(len(before), len(after))  # a clock may have stopped one kind of texts before the other
    before, after = before[:n], after[:n]
    text_tokens, seen_before = lengths
    return Loss(
        text_tokens=text_tokens,
        seen_before=seen_before,
        begin=part[0],
        end=part[1],
        n_texts=n,
        before=mean(before),
        after=mean(after),
        difference=mean([b - a for a, b in zip(before, after, strict=True)]),
    )


def _passkeys(
    asked: Asked,
    n_tokens: int,
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
) -> Iterator[Passkeys]:
    hidden = asked.keys[n_tokens]
    for depth in DEPTHS:
        at = [n for n in range(len(after)) if hidden[n].depth_percent == depth]
        if not at:
            continue
        yield Passkeys(
            text_tokens=n_tokens,
            depth_percent=depth,
            n_keys=len(at),
            found_before=sum(before[n]["all_likeliest"] for n in at),
            found_after=sum(after[n]["all_likeliest"] for n in at),
            before=_log_probability([-before[n]["means"][0] * hidden[n].n_answer for n in at]),
            after=_log_probability([-after[n]["means"][0] * hidden[n].n_answer for n in at]),
        )


def _log_probability(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else None
