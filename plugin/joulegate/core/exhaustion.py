"""When a budget will be used up at the rate at which it was drawn of late: an extrapolation, and said as such."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import Final

from joulegate.core.budgets import Balance
from joulegate.core.periods import Period, ns_between
from joulegate.core.units import NS_PER_SECOND

_NS_PER_DAY: Final = 86_400 * NS_PER_SECOND


class Forecast(StrEnum):
    """What the rate says of the limit."""

    NO_LIMIT = "no_limit"
    EXHAUSTED = "exhausted"
    NOTHING_DRAWN = "nothing_drawn"
    LASTS = "lasts"
    RUNS_OUT = "runs_out"


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """``at`` is when what is posted reaches the limit, where that lies inside the period; ``per_day`` in base units."""

    forecast: Forecast
    per_day: int
    at: datetime | None = None


def exhaustion(balance: Balance, drawn: int, since: datetime, now: datetime, period: Period) -> Exhaustion:
    """Extrapolate what was posted in [``since``, ``now``) until the limit or the end of the period.

    What is pending is not counted twice: it becomes posted as it is drawn. A
    period that is not running now has no forecast but that of its own balance.
    """
    per_day = round(Fraction(drawn * _NS_PER_DAY, max(1, ns_between(since, now))))
    if balance.limit is None:
        return Exhaustion(Forecast.NO_LIMIT, per_day)
    left = balance.limit - balance.posted
    if left <= 0:
        return Exhaustion(Forecast.EXHAUSTED, per_day)
    if drawn <= 0:
        return Exhaustion(Forecast.NOTHING_DRAWN, per_day)
    ns = Fraction(left * ns_between(since, now), drawn)
    if not period.holds(now) or ns >= ns_between(now, period.end):
        return Exhaustion(Forecast.LASTS, per_day)
    return Exhaustion(Forecast.RUNS_OUT, per_day, now + timedelta(microseconds=int(ns // 1_000)))
