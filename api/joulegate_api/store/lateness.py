"""Facts that come after their period was closed: they are posted to the open one and name the one they correct."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from joulegate.core.budgets import Budget
from joulegate.core.periods import Period
from joulegate_api.store.grants import Key


def open_periods(
    periods: Mapping[Key, Period], budgets: Mapping[str, Budget], now: datetime
) -> dict[Key, tuple[Key, Period]]:
    """For each period that is over, the running one of the same budget; a fixed span has none."""
    found: dict[Key, tuple[Key, Period]] = {}
    for key, period in periods.items():
        if period.end <= now:
            running = budgets[key.budget].period.period_at(now)
            if running is not None and running.start != key.start:
                found[key] = (Key(key.budget, running.start), running)
    return found
