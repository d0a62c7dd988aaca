"""Two pictures: ratios with intervals against the line where they should lie, and figures that grow with a size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, log10
from typing import Final

from joulegate.core.labels import escape

_WIDTH: Final = 760
_ROW: Final = 120
_PANEL: Final = 150
_PLAIN: Final = 100
_TOP: Final = 56
_LEFT: Final = 176
_FONT: Final = 'font-family="system-ui, sans-serif" font-size="13"'
_INK, _SOFT, _GRID, _GOOD, _BAD = "#1c2430", "#5b6676", "#d9dee6", "#0b6e5f", "#b3261e"


@dataclass(frozen=True)
class Ratio:
    """One figure over the truth, with the ends of its interval."""

    at: float
    low: float
    value: float
    high: float


def intervals(title: str, groups: Sequence[tuple[str, Sequence[Ratio]]], x_label: str) -> str:
    """A row a group; an interval that misses 1 is drawn in another colour and thicker."""
    height = _TOP + _ROW * len(groups) + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" {_FONT}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(12, 26, title, _INK, weight="700"),
    ]
    for row, (name, ratios) in enumerate(groups):
        parts += _row(name, ratios, _TOP + row * _ROW)
    parts.append(_text((_LEFT + _WIDTH) / 2, height - 12, x_label, _SOFT, "middle"))
    return "\n".join([*parts, "</svg>", ""])


@dataclass(frozen=True)
class Series:
    """One figure at several sizes: pairs of size and value, both above zero."""

    name: str
    points: tuple[tuple[float, float], ...]


def growth(title: str, series: Sequence[Series], x_label: str) -> str:
    """A panel a figure, both scales logarithmic; dashed is what grows in proportion to the size from the last point."""
    height = _TOP + _PANEL * len(series) + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" {_FONT}>',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(12, 26, title, _INK, weight="700"),
    ]
    for row, one in enumerate(series):
        parts += _panel(one, _TOP + row * _PANEL)
    parts.append(_text((_LEFT + _WIDTH) / 2, height - 12, x_label, _SOFT, "middle"))
    return "\n".join([*parts, "</svg>", ""])


def _panel(series: Series, top: float) -> Iterator[str]:
    x_low, x_high = _decades([x for x, _ in series.points])
    y_low, y_high = _decades([y for _, y in series.points])

    def x(value: float) -> float:
        return _LEFT + (log10(value) - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - 90)

    def y(value: float) -> float:
        share = (log10(value) - y_low) / (y_high - y_low)
        return top + _PANEL - 34 - min(max(share, 0.0), 1.0) * (_PANEL - 62)

    yield _text(_LEFT, top + 12, series.name, _INK, weight="600")
    for power in range(y_low, y_high + 1):
        yield _line(_LEFT, y(10.0**power), _WIDTH - 16, y(10.0**power), _GRID, 1)
        yield _text(_LEFT - 6, y(10.0**power) + 4, f"{10.0**power:,g}", _SOFT, "end")
    for size, _ in series.points:
        yield _text(x(size), top + _PANEL - 16, f"{size:,.0f}", _SOFT, "middle")
    last_x, last_y = series.points[-1]
    first_x = max(series.points[0][0], last_x * 10.0**y_low / last_y)
    ends = (x(first_x), y(last_y * first_x / last_x), x(last_x), y(last_y))
    yield _line(*ends, _SOFT, 1).replace("/>", ' stroke-dasharray="5 4"/>')
    for (x1, y1), (x2, y2) in pairwise(series.points):
        yield _line(x(x1), y(y1), x(x2), y(y2), _GOOD, 2)
    for size, value in series.points:
        yield f'<circle cx="{x(size):.1f}" cy="{y(value):.1f}" r="3.5" fill="{_GOOD}"/>'
        yield _text(x(size) + 8, y(value) - 6, f"{value:,.3g}" if value < _PLAIN else f"{value:,.0f}", _INK)


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    return low, max(high, low + 1)


def _row(name: str, ratios: Sequence[Ratio], top: float) -> Iterator[str]:
    def y(ratio: float) -> float:
        return top + (1.2 - min(max(ratio, 0.8), 1.2)) / 0.4 * (_ROW - 24) + 6

    last = max((ratio.at for ratio in ratios), default=1.0) or 1.0
    yield _text(12, y(1.0) + 4, name, _INK, weight="600")
    for tick in (0.8, 0.9, 1.0, 1.1, 1.2):
        yield _line(_LEFT, y(tick), _WIDTH - 16, y(tick), _SOFT if tick == 1.0 else _GRID, 1)
        yield _text(_LEFT - 6, y(tick) + 4, f"{tick:.1f}", _SOFT, "end")
    for ratio in ratios:
        x = _LEFT + 10 + ratio.at / last * (_WIDTH - _LEFT - 40)
        hit = ratio.low <= 1.0 <= ratio.high
        yield _line(x, y(ratio.low), x, y(ratio.high), _GOOD if hit else _BAD, 1.2 if hit else 2.4)
        yield f'<circle cx="{x:.1f}" cy="{y(ratio.value):.1f}" r="2.4" fill="{_INK}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start", weight: str = "400") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(text)}</text>"
    )
