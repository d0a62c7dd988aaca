"""Pictures as SVG: a scatter with intervals and its front, and bars.

Self-contained text without scripts, styles or links, the same for the same input.
Each has a title and a description, and says in words and shapes what it says in
colours. Classes let a page choose other colours; the attributes are what a file
that stands alone is drawn with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, log10
from typing import Final

from joulegate.core.labels import SIZE, Box, Placed, escape, place_labels, shortened, text_width

WIDTH: Final = 720
HEIGHT: Final = 440
_PLOT: Final = Box(72, 78, WIDTH - 24, HEIGHT - 62)
_MOST_TICKS: Final = 8
_LOG_FROM: Final = 20
"""From this ratio of the largest to the smallest on, the energy axis is logarithmic."""

_FILLS: Final = {
    "ground": "#ffffff",
    "ink": "#1c2430",
    "soft": "#5b6676",
    "grid": "#d9dee6",
    "front": "#0b6e5f",
    "other": "#7a5230",
}


@dataclass(frozen=True, slots=True)
class Point:
    """One thing in a scatter; spans are intervals around ``x`` and ``y``. ``best``: on the front."""

    label: str
    x: Fraction
    y: Fraction
    x_span: tuple[Fraction, Fraction] | None
    y_span: tuple[Fraction, Fraction] | None
    best: bool


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis says, and how numbers on it are written."""

    label: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps values to pixels, straight or by the logarithm."""

    low: float
    high: float
    from_px: float
    to_px: float
    is_log: bool

    def px(self, value: Fraction | float) -> float:
        number = float(value)
        if self.is_log:
            share = log10(max(number, self.low) / self.low) / log10(self.high / self.low)
        else:
            share = (number - self.low) / (self.high - self.low)
        return self.from_px + min(max(share, 0.0), 1.0) * (self.to_px - self.from_px)


def scatter(title: str, description: str, x_axis: Axis, y_axis: Axis, points: Sequence[Point]) -> str:
    """A scatter with error bars and the stepped line of the front; points without a value are left to the table."""
    x_scale, x_ticks = _x_scale(points)
    y_scale, y_ticks = _y_scale(points)
    boxes = [_mark_box(point, x_scale, y_scale) for point in points]
    labels = place_labels(
        [(point.label, box) for point, box in zip(points, boxes, strict=True)],
        [bar for point in points for bar in _bar_boxes(point, x_scale, y_scale)]
        + [
            Box(min(a[0], b[0]) - 2, min(a[1], b[1]) - 2, max(a[0], b[0]) + 2, max(a[1], b[1]) + 2)
            for a, b in pairwise(_front(points, x_scale, y_scale))
        ],
        _PLOT,
    )
    parts = [
        *_frame(x_scale, x_ticks, y_scale, y_ticks, x_axis, y_axis),
        *_front_line(_front(points, x_scale, y_scale)),
        *(line for point in points for line in _error_bars(point, x_scale, y_scale)),
        *(_mark(point, x_scale, y_scale) for point in points),
        *(part for label in labels for part in _label(label)),
        *_legend(points),
    ]
    return _svg(WIDTH, HEIGHT, title, description, parts)


def _x_scale(points: Sequence[Point]) -> tuple[_Scale, list[float]]:
    values = [float(value) for point in points for value in (point.x, *(point.x_span or ()))]
    high = max(values, default=1.0) or 1.0
    low = min((value for value in values if value > 0), default=high)
    if high / low > _LOG_FROM:
        bottom, top = 10.0 ** floor(log10(low)), 10.0 ** ceil(log10(high))
        ticks = [10.0**power * step for power in range(floor(log10(low)), ceil(log10(high)) + 1) for step in (1, 2, 5)]
        inside = [tick for tick in ticks if bottom <= tick <= top]
        shown = inside if len(inside) <= _MOST_TICKS else inside[::3]
        return _Scale(bottom, top, _PLOT.left, _PLOT.right, is_log=True), shown
    ticks = _nice_ticks(0.0, high * 1.08)
    return _Scale(0.0, max(high * 1.08, ticks[-1]), _PLOT.left, _PLOT.right, is_log=False), ticks


def _y_scale(points: Sequence[Point]) -> tuple[_Scale, list[float]]:
    values = [float(value) for point in points for value in (point.y, *(point.y_span or ()))]
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = (high - low) * 0.12 or abs(high) * 0.05 or 1.0
    ticks = _nice_ticks(low - room, high + room)
    return _Scale(low - room, high + room, _PLOT.bottom, _PLOT.top, is_log=False), ticks


def _nice_ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round numbers inside [low, high]: steps of 1, 2 or 5 times a power of ten."""
    raw = (high - low) / wanted
    power = 10.0 ** floor(log10(raw))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= raw)
    return [index * step for index in range(ceil(low / step), floor(high / step) + 1)]


def _tick_text(value: float, ticks: Sequence[float]) -> str:
    """As few decimals as tell the ticks apart."""
    for digits in range(7):
        if len({f"{tick:.{digits}f}" for tick in ticks}) == len(ticks):
            return f"{value:,.{digits}f}"
    return f"{value:g}"


def _frame(
    x_scale: _Scale, x_ticks: Sequence[float], y_scale: _Scale, y_ticks: Sequence[float], x_axis: Axis, y_axis: Axis
) -> Iterator[str]:
    for tick in y_ticks:
        y = y_scale.px(tick)
        yield _line(_PLOT.left, y, _PLOT.right, y, "grid")
        yield _text(_PLOT.left - 8, y + 4, _tick_text(tick, y_ticks), "soft", anchor="end")
    for tick in x_ticks:
        x = x_scale.px(tick)
        yield _line(x, _PLOT.top, x, _PLOT.bottom, "grid")
        yield _text(
            x, _PLOT.bottom + 20, f"{tick:g}" if x_scale.is_log else _tick_text(tick, x_ticks), "soft", "middle"
        )
    yield _line(_PLOT.left, _PLOT.bottom, _PLOT.right, _PLOT.bottom, "soft")
    yield _line(_PLOT.left, _PLOT.top, _PLOT.left, _PLOT.bottom, "soft")
    unit = f", {x_axis.unit}" if x_axis.unit else ""
    scale = " (logarithmic)" if x_scale.is_log else ""
    middle = (_PLOT.left + _PLOT.right) / 2
    yield _text(middle, _PLOT.bottom + 46, f"{x_axis.label}{unit}{scale}  (← less is better)", "ink", "middle")
    yield _text(_PLOT.left - 60, _PLOT.top - 14, y_axis.label, "ink")


def _front(points: Sequence[Point], x_scale: _Scale, y_scale: _Scale) -> list[tuple[float, float]]:
    """The corners of the stepped border of what can be had: this quality costs at least this energy."""
    best = sorted((point for point in points if point.best), key=lambda point: (point.x, point.y))
    corners: list[tuple[float, float]] = []
    for point in best:
        x, y = x_scale.px(point.x), y_scale.px(point.y)
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return corners


def _front_line(corners: Sequence[tuple[float, float]]) -> Iterator[str]:
    if len(corners) > 1:
        steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        yield (
            f'<polyline class="jg-line-front" points="{steps}" fill="none" stroke="{_FILLS["front"]}" '
            'stroke-width="1.5" stroke-dasharray="5 4"/>'
        )


def _mark_box(point: Point, x_scale: _Scale, y_scale: _Scale) -> Box:
    x, y = x_scale.px(point.x), y_scale.px(point.y)
    return Box(x - 7, y - 7, x + 7, y + 7)


def _mark(point: Point, x_scale: _Scale, y_scale: _Scale) -> str:
    """A disc on the front, a hollow diamond behind it; hovering tells the whole name."""
    x, y = x_scale.px(point.x), y_scale.px(point.y)
    name = f"<title>{escape(point.label)}</title>"
    if point.best:
        return f'<g>{name}<circle class="jg-front" cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{_FILLS["front"]}"/></g>'
    return (
        f'<g>{name}<path class="jg-other" d="M{x:.1f} {y - 7:.1f}l7 7l-7 7l-7 -7z" fill="{_FILLS["ground"]}" '
        f'stroke="{_FILLS["other"]}" stroke-width="2"/></g>'
    )


def _bar_boxes(point: Point, x_scale: _Scale, y_scale: _Scale) -> Iterator[Box]:
    x, y = x_scale.px(point.x), y_scale.px(point.y)
    if point.x_span:
        yield Box(x_scale.px(point.x_span[0]) - 4, y - 5, x_scale.px(point.x_span[1]) + 4, y + 5)
    if point.y_span:
        yield Box(x - 5, y_scale.px(point.y_span[1]) - 4, x + 5, y_scale.px(point.y_span[0]) + 4)


def _error_bars(point: Point, x_scale: _Scale, y_scale: _Scale) -> Iterator[str]:
    kind = "front" if point.best else "other"
    x, y = x_scale.px(point.x), y_scale.px(point.y)
    if point.x_span:
        left, right = (x_scale.px(end) for end in point.x_span)
        yield _line(left, y, right, y, kind)
        yield from (_line(end, y - 4, end, y + 4, kind) for end in (left, right))
    if point.y_span:
        bottom, top = (y_scale.px(end) for end in point.y_span)
        yield _line(x, bottom, x, top, kind)
        yield from (_line(x - 4, end, x + 4, end, kind) for end in (bottom, top))


def _label(label: Placed) -> Iterator[str]:
    if label.leader is not None:
        yield _line(*label.leader, "soft")
    yield _text(label.x, label.baseline, label.text, "ink", weight="600")


def _legend(points: Sequence[Point]) -> Iterator[str]:
    """In the strip above the plot, where nothing else is drawn."""
    entries = []
    if any(not point.best for point in points):
        entries.append(("other", "beaten by another"))
    if any(point.best for point in points):
        entries.append(("front", "on the Pareto front"))
    if any(point.x_span or point.y_span for point in points):
        entries.append(("bar", "95 % interval"))
    x = float(_PLOT.right)
    y = _PLOT.top - 18
    for kind, text in entries:
        x -= text_width(text)
        yield _text(x, y + 4, text, "soft")
        x -= 14
        if kind == "front":
            yield f'<circle class="jg-front" cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{_FILLS["front"]}"/>'
        elif kind == "other":
            yield (
                f'<path class="jg-other" d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z" fill="{_FILLS["ground"]}" '
                f'stroke="{_FILLS["other"]}" stroke-width="2"/>'
            )
        else:
            yield _line(x - 8, y, x + 8, y, "soft")
            yield from (_line(end, y - 4, end, y + 4, "soft") for end in (x - 8, x + 8))
        x -= 22


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it is, how long (a share of the longest possible, 0..1), and what it says."""

    label: str
    share: Fraction
    value: str
    best: bool = False


def bars(title: str, description: str, rows: Sequence[Bar]) -> str:
    """Horizontal bars, the name before each and the figure behind it."""
    names = [shortened(row.label, 34) for row in rows]
    left = max((text_width(name) for name in names), default=0.0) + 12
    right = max((text_width(row.value) for row in rows), default=0.0) + 12
    room = max(WIDTH - left - right, 60.0)
    parts: list[str] = []
    for index, (row, name) in enumerate(zip(rows, names, strict=True)):
        y = 44 + index * 30
        kind = "front" if row.best else "other"
        length = float(min(max(row.share, Fraction(0)), Fraction(1))) * room
        parts.append(f"<g><title>{escape(row.label)}: {escape(row.value)}</title>")
        parts.append(_text(left - 10, y + 14, name, "ink", "end"))
        parts.append(
            f'<rect class="jg-{kind}" x="{left:.1f}" y="{y}" width="{max(length, 1.0):.1f}" height="18" rx="2" '
            f'fill="{_FILLS[kind]}"/>'
        )
        parts.append(_text(left + length + 8, y + 14, row.value, "soft") + "</g>")
    return _svg(WIDTH, 44 + 30 * len(rows) + 8, title, description, parts)


def _svg(width: int, height: int, title: str, description: str, parts: Iterable[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" font-family="system-ui, -apple-system, Segoe UI, sans-serif" font-size="{SIZE}">\n'
        f"<title>{escape(title)}</title>\n<desc>{escape(description)}</desc>\n"
        f'<rect class="jg-ground" width="{width}" height="{height}" fill="{_FILLS["ground"]}"/>\n'
        f"{_text(12, 24, shortened(title, 70), 'ink', weight='700', size=15)}\n{body}\n</svg>\n"
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return (
        f'<line class="jg-line-{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke="{_FILLS[kind]}" stroke-width="{1 if kind == "grid" else 1.5}"/>'
    )


def _text(
    x: float, y: float, text: str, kind: str, anchor: str = "start", weight: str = "400", size: int = SIZE
) -> str:
    return (
        f'<text class="jg-{kind}" x="{x:.1f}" y="{y:.1f}" fill="{_FILLS[kind]}" text-anchor="{anchor}" '
        f'font-weight="{weight}" font-size="{size}">{escape(text)}</text>'
    )
