"""Where the labels of a picture go, so that no text lies on another, on a mark or on a bar."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

SIZE: Final = 13
"""Height of a letter in pixels."""

_LETTER: Final = 0.61
"""Mean width of a letter of a proportional sans-serif font over its height, on the generous side."""

_WIDE: Final = 0x1100
"""From this code point on, scripts are drawn about as wide as high."""

_LONGEST: Final = 28
_STEPS: Final = 24
_HEIGHT: Final = SIZE + 3

_APART: Final = 4
"""At least so many pixels lie between two labels on one line, or they would read as one word."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two share any point of their insides."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def holds(self, other: Box) -> bool:
        """Whether the other lies inside."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


@dataclass(frozen=True, slots=True)
class Placed:
    """A label at its place; ``leader`` is a line to its mark where it lies far from it."""

    text: str
    x: float
    baseline: float
    box: Box
    leader: tuple[float, float, float, float] | None


def escape(text: str) -> str:
    """Text for XML and HTML, without what neither may hold and what would turn the line around."""
    clean = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        clean = clean.replace(mark, entity)
    return clean


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Text of at most ``longest`` letters; what was cut off is an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def text_width(text: str, size: int = SIZE) -> float:
    """About how wide a line of text is drawn, in pixels."""
    return sum(size if ord(letter) >= _WIDE else _LETTER * size for letter in text)


def place_labels(marks: Sequence[tuple[str, Box]], obstacles: Sequence[Box], frame: Box) -> tuple[Placed, ...]:
    """Put each label near its mark, in the order given, where it covers nothing.

    ``marks`` are names with the boxes of their marks, ``obstacles`` what else must
    stay free. A label that fits nowhere is left out: the picture always stands
    beside a table that has every name.
    """
    placed: list[Placed] = []
    taken = [box for _, box in marks] + list(obstacles)
    for name, mark in marks:
        text = shortened(name)
        for candidate in _candidates(text, mark):
            free = not any(candidate.box.meets(box) for box in taken)
            others = [box for _, box in marks if box != mark]
            if free and frame.holds(candidate.box) and not _crosses(candidate.leader, others):
                placed.append(candidate)
                taken.append(_with_room(candidate.box))
                break
    return tuple(placed)


def _with_room(box: Box) -> Box:
    return Box(box.left - _APART, box.top, box.right + _APART, box.bottom)


def _candidates(text: str, mark: Box) -> Iterator[Placed]:
    """Places around a mark, the nearest first: right, left, above, below, then the corners, then farther out."""
    width = text_width(text)
    middle_x, middle_y = (mark.left + mark.right) / 2, (mark.top + mark.bottom) / 2
    for distance in (4, 16, 30, 46, 64, 84, 110):
        rights, lefts = mark.right + distance, mark.left - distance - width
        above, below = mark.top - distance - _HEIGHT, mark.bottom + distance
        across, level = middle_x - width / 2, middle_y - _HEIGHT / 2
        for left, top in (
            (rights, level),
            (lefts, level),
            (across, above),
            (across, below),
            (rights, above),
            (lefts, above),
            (rights, below),
            (lefts, below),
        ):
            box = Box(left, top, left + width, top + _HEIGHT)
            leader = _leader(box, middle_x, middle_y) if distance > 16 else None  # noqa: PLR2004 -- nearer is plain
            yield Placed(text, left, top + SIZE, box, leader)


def _crosses(leader: tuple[float, float, float, float] | None, boxes: Sequence[Box]) -> bool:
    """Whether a leader runs over the mark of another: nobody could tell whose label it is."""
    if leader is None:
        return False
    x1, y1, x2, y2 = leader
    for step in range(_STEPS + 1):
        x, y = x1 + (x2 - x1) * step / _STEPS, y1 + (y2 - y1) * step / _STEPS
        if any(box.meets(Box(x - 1, y - 1, x + 1, y + 1)) for box in boxes):
            return True
    return False


def _leader(box: Box, x: float, y: float) -> tuple[float, float, float, float]:
    """From the mark to the nearest point of the label's border."""
    return x, y, min(max(x, box.left), box.right), min(max(y, box.top), box.bottom)
