"""Horizons: open-ended work holds the rest of the nearest period, at most the horizon, and is renewed in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.budgets import Budget, Limits
from joulegate.core.horizons import LEAST_NS, MOST_NS, is_due, open_time_ns, reaches
from joulegate.core.periods import CalendarRule, CalendarUnit, FixedRule, Period
from joulegate.core.records import Kind
from joulegate.core.workloads import Demand, Group

DAY = 86_400 * 10**9
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
SERVING = Demand(Kind.INFERENCE, (Group("H100", Fraction(1), 1),), open_ended=True)
JOB = Demand(Kind.TRAINING, (Group("H100", Fraction(1), 1),))


def over(unit: CalendarUnit = CalendarUnit.MONTH, horizon_ns: int = 30 * DAY, name: str = "b") -> Budget:
    return Budget(name, CalendarRule(unit, "UTC"), Limits(energy_mj=1), horizon_ns=horizon_ns)


def test_it_is_the_rest_of_the_period_and_at_most_the_horizon() -> None:
    assert open_time_ns(SERVING, [over()], AT) == int(6.5 * DAY)
    assert open_time_ns(SERVING, [over(horizon_ns=2 * DAY)], AT) == 2 * DAY
    assert open_time_ns(SERVING, [over(CalendarUnit.YEAR, 400 * DAY), over(CalendarUnit.DAY)], AT) == DAY // 2


def test_what_ends_by_itself_has_no_horizon_and_what_is_declared_keeps_its_time() -> None:
    assert open_time_ns(JOB, [over()], AT) is None
    assert reaches(JOB, [over()], AT) is None
    declared = Demand(SERVING.kind, SERVING.groups, declared_ns=3_600 * 10**9, open_ended=True)
    assert open_time_ns(declared, [over()], AT) is None
    assert reaches(declared, [over()], AT) == AT + timedelta(hours=1)


def test_a_budget_outside_its_span_does_not_say_how_far() -> None:
    past = Budget("p", FixedRule(Period(AT - timedelta(days=9), AT - timedelta(days=8))), Limits(energy_mj=1))
    assert open_time_ns(SERVING, [past], AT) is None
    assert open_time_ns(SERVING, [], AT) is None


@given(st.timedeltas(timedelta(), timedelta(days=400)), st.integers(1, 10**18), st.sampled_from(CalendarUnit))
def test_it_is_never_nothing_and_never_more_than_a_quote_holds(
    since: timedelta, horizon: int, unit: CalendarUnit
) -> None:
    found = open_time_ns(SERVING, [over(unit, horizon)], AT + since)
    assert found is not None
    assert LEAST_NS <= found <= max(LEAST_NS, min(horizon, MOST_NS))


@pytest.mark.parametrize(
    ("hours", "left_minutes", "due"), [(100, 61, False), (100, 60, True), (1, 16, False), (1, 15, True)]
)
def test_it_is_renewed_an_hour_before_its_end_or_in_the_last_quarter(
    hours: int, left_minutes: int, *, due: bool
) -> None:
    until = AT + timedelta(hours=hours)
    assert is_due(AT, until, until - timedelta(minutes=left_minutes)) is due
    assert is_due(AT, until, until + timedelta(days=1))
