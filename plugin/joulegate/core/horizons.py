"""How far ahead work is held that runs until somebody ends it, and until when that reaches.

Open-ended work holds the rest of the current period, at most the horizon; of several budgets that
bind it the nearest end counts, so that none is asked for a period that it has not begun.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from joulegate.core.budgets import Budget
from joulegate.core.periods import ns_between
from joulegate.core.units import NS_PER_SECOND
from joulegate.core.workloads import Demand

LEAST_NS: Final = 900 * NS_PER_SECOND
"""Nothing is held for less than a quarter-hour: at the last moment of a period that reaches into the next."""

MOST_NS: Final = 92 * 86_400 * NS_PER_SECOND
"""A quote reaches no further."""

AHEAD: Final = timedelta(hours=1)
"""How long before its end a hold is renewed at the earliest, and a quarter of its time where that is less."""


def open_time_ns(demand: Demand, budgets: Iterable[Budget], at: datetime) -> int | None:
    """How long a demand is held from ``at`` on, in ns; None where it ends by itself or its author says when.

    None too where no budget with a period at that instant binds it: then nothing says how far.
    """
    if not demand.open_ended or demand.declared_ns is not None:
        return None
    ends = []
    for budget in budgets:
        period = budget.period.period_at(at)
        if period is not None:
            ends.append(min(budget.horizon_ns, ns_between(at, period.end)))
    return min(MOST_NS, max(LEAST_NS, min(ends))) if ends else None


def is_due(start: datetime, until: datetime, now: datetime) -> bool:
    """Whether what is held from ``start`` until ``until`` has to be renewed by now."""
    return until - now <= min(AHEAD, (until - start) / 4)


def reaches(demand: Demand, budgets: Iterable[Budget], start: datetime) -> datetime | None:
    """Until when a hold that was made at ``start`` covers open-ended work; None of other work, or without a budget."""
    if not demand.open_ended:
        return None
    ns = demand.declared_ns or open_time_ns(demand, budgets, start)
    return None if ns is None else start + timedelta(microseconds=ns // 1_000)
