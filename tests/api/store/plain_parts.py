"""What the plain model is made of: parts of holds, lumps of energy, estimates, and the calendars of its two budgets.

Amounts are [energy mJ, carbon ug, money micros].
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

QUARTER = timedelta(minutes=15)
KATHMANDU = timedelta(hours=5, minutes=45)
PUE_PPM = 1_234_567
MJ_PER_KWH = 3_600_000_000
BUDGETS = ("research", "vision")
CARRIES = {"vision": True, "research": False}
GRACE = timedelta(hours=72)
LIVE = ("unconfirmed", "confirmed")
DEAD = ("expired", "replaced")

Key = tuple[str, datetime]
Three = tuple[int | None, int | None, int | None]
Quarters = dict[datetime, Three]


def quarter_of(instant: datetime) -> datetime:
    return instant.replace(minute=instant.minute - instant.minute % 15, second=0, microsecond=0)


def start_of(budget: str, instant: datetime) -> datetime:
    if budget == "vision":
        return instant.replace(hour=0, minute=0, second=0, microsecond=0)
    local = (instant + KATHMANDU).replace(hour=0, minute=0, second=0, microsecond=0)
    return local - timedelta(days=local.weekday()) - KATHMANDU


def end_of(key: Key) -> datetime:
    return key[1] + timedelta(days=1 if key[0] == "vision" else 7)


@dataclass
class Part:
    """One part of a hold: what was quoted, what it took of each budget and period, what was drawn of that."""

    boards: int
    quarters: Quarters
    state: str
    decided: datetime
    on_top: bool = False
    allowed: bool = True
    held: dict[Key, list[int | None]] = field(default_factory=dict)
    gone: dict[Key, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))
    drawn: dict[Key, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0, 0]))

    def keeps(self, key: Key, unit: int) -> int:
        return (self.held[key][unit] or 0) - self.gone[key][unit]

    def rest(self, key: Key, unit: int) -> int:
        return max(0, self.keeps(key, unit) - self.drawn[key][unit])

    def answers(self, boards: int) -> bool:
        return self.state in LIVE and self.allowed and boards <= self.boards


@dataclass
class Estimate:
    """What stands for minutes that nobody measured, by quarter-hour, and how much was taken back."""

    root: str
    key: Key
    quarters: dict[datetime, tuple[int, list[int]]]
    back: list[int] = field(default_factory=lambda: [0, 0, 0])


@dataclass
class Lump:
    """Energy that is rounded as a whole: of a record, or of all windows of a root in a quarter-hour at one price."""

    owner: str
    root: str | None
    quarter: datetime
    energy: int
    factor: int | None
    price: int | None
    charged: bool = True

    def amounts(self) -> Three:
        carbon = None if self.factor is None else self._share(self.factor)
        return self.energy, carbon, None if self.price is None else self._share(self.price)

    def _share(self, per_kwh: int) -> int:
        return round(Fraction(self.energy * PUE_PPM * per_kwh, MJ_PER_KWH * 1_000_000))
