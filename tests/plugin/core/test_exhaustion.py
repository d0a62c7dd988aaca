"""How long a budget lasts at the rate of late: an extrapolation with its own limits."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from joulegate.core.budgets import Balance
from joulegate.core.exhaustion import Exhaustion, Forecast, exhaustion
from joulegate.core.periods import Period
from joulegate.core.units import Unit

NOW = datetime(2026, 11, 11, tzinfo=UTC)
DAY = timedelta(days=1)
NOVEMBER = Period(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))


def after(drawn: int, balance: dict[str, Any] | None = None, period: Period = NOVEMBER) -> Exhaustion:
    fields: dict[str, Any] = {"base": 100, "posted": 40} | (balance or {})
    return exhaustion(Balance(Unit.MJ, **fields), drawn, NOW - DAY, NOW, period)


@pytest.mark.parametrize(
    ("drawn", "balance", "forecast", "at"),
    [
        (10, {}, Forecast.RUNS_OUT, NOW + 6 * DAY),
        (10, {"pending": 60}, Forecast.RUNS_OUT, NOW + 6 * DAY),
        (10, {"exceptions": 20}, Forecast.RUNS_OUT, NOW + 8 * DAY),
        (3, {}, Forecast.LASTS, None),
        (1, {"base": 0, "posted": 0}, Forecast.EXHAUSTED, None),
        (0, {}, Forecast.NOTHING_DRAWN, None),
        (-5, {}, Forecast.NOTHING_DRAWN, None),
        (10, {"posted": 100}, Forecast.EXHAUSTED, None),
        (10, {"base": None}, Forecast.NO_LIMIT, None),
    ],
)
def test_the_limit_is_reached_by_what_is_posted(
    drawn: int, balance: dict[str, Any], forecast: Forecast, at: datetime | None
) -> None:
    found = after(drawn, balance)
    assert (found.forecast, found.at) == (forecast, at)
    assert found.per_day == drawn


def test_a_period_that_is_over_does_not_run_out() -> None:
    over = Period(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
    assert after(10, period=over).forecast is Forecast.LASTS
