"""Small plots as SVG, drawn by hand: classes instead of colours, so that one style sheet has them all.

Every point that is named has a title, which a browser shows under the pointer and a screen reader
reads. Nothing in them is older than SVG 1.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from markupsafe import Markup

from tokengraft.behaviour import Rate
from tokengraft.data_audits import LengthBin
from tokengraft.records import CurvePoint
from tokengraft.reporting import escape
from tokengraft.reporting.catalogue import Words
from tokengraft.reports import Frequencies, MapPoint, RowMap

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 14, 40
DRAWN: Final = 400  # points of a line; more cannot be told apart
NAMED: Final = 40  # of them, those with a title
LABELLED: Final = 30  # new rows that have their number written beside them
FLAT: Final = 1e-4  # of the largest value: less apart than this is the same
LOG_ABOVE: Final = (
    20.0  # ratio of the largest value to the smallest from which a log axis tells more
)

Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values to places along one side."""

    low: float
    high: float
    begin: float
    end: float
    is_log: bool = False
    is_whole: bool = False  # steps and pairs are counted

    def at(self, value: float) -> float:
        low, high, here = self.low, self.high, value
        if self.is_log:
            low, high, here = math.log10(low), math.log10(high), math.log10(max(value, 1e-300))
        share = (here - low) / (high - low) if high > low else 0.5
        return self.begin + share * (self.end - self.begin)

    def ticks(self) -> list[float]:
        if self.is_log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            steps = (1, 2, 5) if last - first <= 3 else (1,)  # noqa: PLR2004 - decades with finer steps
            every = [m * 10.0**power for power in range(first, last + 1) for m in steps]
            return [value for value in every if self.low <= value <= self.high]
        span = self.high - self.low
        if span <= 0:
            return [self.low]
        step = 10 ** math.floor(math.log10(span / 4))
        step *= next(m for m in (1, 2, 5, 10) if span / (m * step) <= 5)  # noqa: PLR2004 - five ticks
        if self.is_whole:
            step = max(1.0, step)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def digits(self) -> int:
        """Digits of a tick, so that no two ticks read the same."""
        ticks = self.ticks()
        if self.is_log or len(ticks) < 2:  # noqa: PLR2004 - a difference
            return 4
        most = max(map(abs, ticks)) or 1.0
        return max(4, math.ceil(math.log10(most / (ticks[1] - ticks[0]))) + 1)


def _axis(
    values: Sequence[float],
    begin: float,
    end: float,
    *,
    may_log: bool = False,
    is_whole: bool = False,
) -> _Axis:
    low, high = min(values), max(values)
    if may_log and low > 0 and high / low >= LOG_ABOVE:
        return _Axis(low, high, begin, end, is_log=True)
    # Values that are all but the same make a flat line, not a slope of their last digits.
    if high - low <= FLAT * max(abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    margin = 0.04 * (high - low)
    return _Axis(low - margin, high + margin, begin, end, is_whole=is_whole)


def _html(text: str, **values: object) -> Markup:
    """A piece of SVG; values are escaped, in both senses."""
    shown = {k: escape.inline(v) if type(v) is str else v for k, v in values.items()}
    return Markup(text).format(**shown)  # noqa: S704 - `text` is a literal of this module


@dataclass(frozen=True, slots=True)
class Charts:
    """Plots in one language."""

    say: Words

    def stages(self, points: Sequence[CurvePoint]) -> list[tuple[str, Sequence[CurvePoint]]]:
        """The points of each stage, in the order in which they were trained."""
        groups = groupby(points, key=lambda point: point.stage)
        return [(stage, list(found)) for stage, found in groups]

    def last_step(self, points: Sequence[CurvePoint]) -> int:
        return max(point.step for point in points)

    def losses(self, points: Sequence[CurvePoint]) -> list[float | None]:
        """The losses of a stage in order, at least one, None where there is none."""
        found = [p.loss for p in points if p.loss is not None and math.isfinite(p.loss)]
        return [*found] or [None]

    def held_out(self, points: Sequence[CurvePoint]) -> list[Pair]:
        """Loss by step on what is not trained on."""
        return [
            (float(p.step), p.held_out_loss)
            for p in points
            if p.held_out_loss is not None and math.isfinite(p.held_out_loss)
        ]

    def curve(self, stage: str, points: Sequence[CurvePoint]) -> Markup | None:
        """Loss by step; None where fewer than two losses are numbers."""
        pairs = [
            (float(p.step), p.loss) for p in points if p.loss is not None and math.isfinite(p.loss)
        ]
        lines = [("line-a", _thinned(pairs)), ("line-b", _thinned(self.held_out(points)))]
        lines = [(style, line) for style, line in lines if len(line) > 1]
        if not lines:
            return None
        title = self.say("loss by step, {stage}", stage=stage)
        return self._lines(title, lines, self.say("step"), self.say("loss, nats a token"))

    def _lines(
        self, title: str, lines: Sequence[tuple[str, Sequence[Pair]]], x_name: str, y_name: str
    ) -> Markup:
        every = [pair for _, pairs in lines for pair in pairs]
        x = _axis([a for a, _ in every], LEFT, WIDTH - RIGHT, is_whole=True)
        y = _axis([b for _, b in every], HEIGHT - BOTTOM, TOP, may_log=True)
        parts = [_opening(title, WIDTH, HEIGHT), *self._frame(x, y)]
        name = y_name + (f" ({self.say('logarithmic')})" if y.is_log else "")
        parts += _names(x_name, name)
        for style, pairs in lines:
            drawn = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in pairs)
            parts.append(_html('<polyline class="{c}" points="{p}"/>', c=style, p=drawn))
            for a, b in pairs[:: max(1, len(pairs) // NAMED)]:
                told = f"{x_name} {self._number(a)}: {self._number(b)}"
                parts.append(_dot("hit", x.at(a), y.at(b), 7, told))
        return Markup().join([*parts, Markup("</svg>")])

    def _frame(self, x: _Axis, y: _Axis) -> Iterable[Markup]:
        for value in y.ticks():
            yield _html(
                '<line class="grid" x1="{a}" x2="{b}" y1="{y:.1f}" y2="{y:.1f}"/>'
                '<text class="tick" text-anchor="end" x="{c}" y="{d:.1f}">{t}</text>',
                a=LEFT, b=WIDTH - RIGHT, y=y.at(value), c=LEFT - 6, d=y.at(value) + 4,
                t=self._number(value, y.digits()),
            )  # fmt: skip
        for value in x.ticks():
            yield _html(
                '<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{a}" y2="{b}"/>'
                '<text class="tick" text-anchor="middle" x="{x:.1f}" y="{c}">{t}</text>',
                x=x.at(value), a=TOP, b=HEIGHT - BOTTOM, c=HEIGHT - BOTTOM + 16,
                t=self._number(value),
            )  # fmt: skip

    def _number(self, value: float, digits: int = 4) -> str:
        whole = abs(value) < 1e15 and value == round(value)  # noqa: PLR2004 - what a float counts
        return self.say.number(round(value)) if whole else self.say.decimal(f"{value:.{digits}g}")

    def row_map(self, found: RowMap, title: str) -> Markup:
        """Rows by direction: dots for a sample of all, rings for neighbours, diamonds for new ones."""
        placed = [(p.x, p.y) for p in (*found.new, *found.near)]
        size = 420
        x = _axis([a for a, _ in (*placed, *found.sampled)], 8, WIDTH - 8)
        y = _axis([b for _, b in (*placed, *found.sampled)], size - 8, 8)
        dots = "".join(f"M{x.at(a):.0f} {y.at(b):.0f}h0" for a, b in found.sampled)
        parts = [
            _opening(title, WIDTH, size),
            _html('<rect class="frame" x="1" y="1" width="{w}" height="{h}"/>',
                  w=WIDTH - 2, h=size - 2),
            _html('<path class="dots" d="{d}"/>', d=dots),
        ]  # fmt: skip
        parts += [_dot("near", x.at(p.x), y.at(p.y), 4, _named(p)) for p in found.near]
        parts += [
            _new_row(x.at(point.x), y.at(point.y), number, _named(point))
            for number, point in enumerate(found.new, 1)
        ]
        return Markup().join([*parts, Markup("</svg>")])

    def divisors(self, found: Frequencies) -> Markup | None:
        """How many times slower each pair of a head turns than the model's own frequencies."""
        if not found.divisors:
            return None
        lines = [("line-a", list(enumerate(found.divisors)))]
        if found.divisors_before:
            lines.insert(0, ("line-b", list(enumerate(found.divisors_before))))
        pairs = [(style, [(float(a), b) for a, b in line]) for style, line in lines]
        title = self.say("how many times slower each rotary pair turns")
        return self._lines(title, pairs, self.say("pair"), self.say("times slower"))

    def lengths(self, bins: Sequence[LengthBin]) -> Markup | None:
        """How many rows of the data are how long."""
        if not bins:
            return None
        height, most = 180, max(1, *(one.rows for one in bins))
        wide = (WIDTH - LEFT - RIGHT) / len(bins)
        parts = [_opening(self.say("rows of the data by their length in tokens"), WIDTH, height)]
        for number, one in enumerate(bins):
            tall = (height - TOP - BOTTOM) * one.rows / most
            x = LEFT + number * wide
            told = f"≤ {self.say.number(one.up_to)}: {self.say.number(one.rows)}"
            parts.append(
                _html(
                    '<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}">'
                    "<title>{t}</title></rect>"
                    '<text class="tick" text-anchor="middle" x="{m:.1f}" y="{b}">{u}</text>',
                    x=x + 2, y=height - BOTTOM - tall, w=max(1.0, wide - 4), h=tall, t=told,
                    m=x + wide / 2, b=height - BOTTOM + 16, u=f"≤ {self.say.number(one.up_to)}",
                )
            )  # fmt: skip
        return Markup().join([*parts, Markup("</svg>")])

    def rate(self, rate: Rate) -> Markup:
        """A share between 0 and 1 with its interval, a line high."""
        place: Callable[[float], float] = lambda value: 5 + 110 * min(1.0, max(0.0, value))  # noqa: E731
        parts = [
            Markup('<svg class="rate" viewBox="0 0 120 14" aria-hidden="true">'),
            Markup('<line class="grid" x1="5" x2="115" y1="7" y2="7"/>'),
            _html('<line class="range" x1="{a:.1f}" x2="{b:.1f}" y1="7" y2="7"/>',
                  a=place(rate.low), b=place(rate.high)),
            _html('<circle class="mark" cx="{x:.1f}" cy="7" r="4"/>', x=place(rate.rate)),
        ]  # fmt: skip
        return Markup().join([*parts, Markup("</svg>")])


def _opening(title: str, width: int, height: int) -> Markup:
    return _html(
        '<svg role="img" aria-label="{t}" viewBox="0 0 {w} {h}"><title>{t}</title>',
        t=title, w=width, h=height,
    )  # fmt: skip


def _names(x_name: str, y_name: str) -> list[Markup]:
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return [
        _html('<text class="name" text-anchor="end" x="{x}" y="{y}">{t}</text>',
              x=WIDTH - RIGHT, y=HEIGHT - 6, t=x_name),
        _html('<text class="name" text-anchor="middle" transform="rotate(-90 12 {y})" x="12" '
              'y="{y}">{t}</text>', y=middle, t=y_name),
    ]  # fmt: skip


def _dot(style: str, x: float, y: float, radius: int, told: str) -> Markup:
    return _html(
        '<circle class="{c}" cx="{x:.1f}" cy="{y:.1f}" r="{r}"><title>{t}</title></circle>',
        c=style, x=x, y=y, r=radius, t=told,
    )  # fmt: skip


def _new_row(x: float, y: float, number: int, told: str) -> Markup:
    drawn = _html(
        '<path class="new" d="M{x:.1f} {a:.1f}l6 6l-6 6l-6 -6z"><title>{t}</title></path>',
        x=x, a=y - 6, t=f"{number}: {told}",
    )  # fmt: skip
    if number > LABELLED:
        return drawn
    near_edge = x > WIDTH - 40
    return drawn + _html(
        '<text class="label" text-anchor="{s}" x="{x:.1f}" y="{y:.1f}">{n}</text>',
        s="end" if near_edge else "start", x=x + (-9 if near_edge else 9), y=y + 4, n=number,
    )  # fmt: skip


def _named(point: MapPoint) -> str:
    return f"{escape.quoted(point.text)} (id {point.id})"


def _thinned(pairs: Sequence[Pair]) -> list[Pair]:
    """At most `DRAWN` points: means of neighbours, the first and the last as they are."""
    if len(pairs) <= DRAWN:
        return list(pairs)
    inner = pairs[1:-1]
    size = math.ceil(len(inner) / (DRAWN - 2))
    groups = [inner[at : at + size] for at in range(0, len(inner), size)]
    means = [
        (sum(a for a, _ in group) / len(group), sum(b for _, b in group) / len(group))
        for group in groups
    ]
    return [pairs[0], *means, pairs[-1]]
