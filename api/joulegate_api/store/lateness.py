"""Facts that come after their period was closed: they are posted to the open one and name the one they correct."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from joulegate.core.budgets import Budget
from joulegate.core.periods import Period
from joulegate_api.store.balances import Account, Key


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


def late_of(accounts: Mapping[Key, Account], now: datetime) -> dict[Key, Key]:
    """The same among locked accounts: for each closed one the running one of its budget, where that is locked too."""
    running = {key.budget: key for key, account in accounts.items() if key.start <= now < account.end}
    return {
        key: running[key.budget]
        for key, account in accounts.items()
        if account.closed_at is not None and key.budget in running
    }
