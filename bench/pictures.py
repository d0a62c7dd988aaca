"""One picture: ratios with their intervals, in groups, against the line where they should lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from joulegate.core.labels import escape

_WIDTH: Final = 760
_ROW: Final = 120
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
