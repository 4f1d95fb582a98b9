"""Bars and points as SVG, written by hand: no library, the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

_WIDTH, _ROW, _LEFT, _SCALE = 760, 18, 190, 240
_READ, _WRITE = "#2b6cb0", "#c05621"


def recovery_plot(title: str, lines: Sequence[Mapping[str, Any]]) -> str:
    """Recovery in reading and writing of every method, with intervals; 0 is the mean of all rows.

    What is below -1 is drawn at -1, with a mark.
    """
    shown = [line for line in lines if "rho_read" in line]
    height = 60 + _ROW * len(shown) * 2
    middle = _LEFT + _SCALE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"',
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="8" y="18" font-size="13">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="34" fill="{_READ}">reading</text>',
        f'<text x="{_LEFT + 60}" y="34" fill="{_WRITE}">writing</text>',
    ]
    for tick in (-1, -0.5, 0, 0.5, 1):
        x = middle + tick * _SCALE
        parts.append(
            f'<line x1="{x:.0f}" x2="{x:.0f}" y1="40" y2="{height - 6}" stroke="#ccc"/>'
            f'<text x="{x + 2:.0f}" y="{height - 8}" fill="#666">{tick:g}</text>'
        )
    y = 52
    for line in shown:
        name = line["method"] + (f" ({line['variant']})" if line["variant"] else "")
        parts.append(f'<text x="8" y="{y + 10}">{escape(name)}</text>')
        for key, colour in (("rho_read", _READ), ("rho_write", _WRITE)):
            parts.append(_bar(middle, y, line, key, colour))
            y += _ROW - 4
        y += 8
    parts.append("</svg>\n")
    return "\n".join(parts)


def _bar(middle: int, y: int, line: Mapping[str, Any], key: str, colour: str) -> str:
    value = line.get(key)
    if value is None or value != value:  # noqa: PLR0124 - not a number
        return ""
    cut = max(-1.0, min(1.0, value))
    x0, x1 = sorted((middle, middle + cut * _SCALE))
    drawn = (
        f'<rect x="{x0:.1f}" y="{y}" width="{max(1.0, x1 - x0):.1f}" height="10" fill="{colour}"/>'
    )
    if value < -1:
        drawn += f'<text x="{middle - _SCALE - 14}" y="{y + 10}" fill="{colour}">◀</text>'
    if f"{key}_ci" in line:
        low, high = (middle + max(-1.0, min(1.0, v)) * _SCALE for v in line[f"{key}_ci"])
        drawn += f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y + 5}" y2="{y + 5}" stroke="black"/>'
    return drawn
