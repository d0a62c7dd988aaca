"""Calendar periods as people write them, in each budget's own time zone."""

from datetime import UTC, datetime, timedelta

import pytest

from joulegate.core.calendar import read_period
from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import CalendarRule, CalendarUnit, FixedRule, Period


@pytest.mark.parametrize(
    ("text", "unit", "start", "end"),
    [
        ("2026", CalendarUnit.YEAR, "2025-12-31T23:00", "2026-12-31T23:00"),
        ("2026-Q4", CalendarUnit.QUARTER, "2026-09-30T22:00", "2026-12-31T23:00"),
        ("2026-11", CalendarUnit.MONTH, "2026-10-31T23:00", "2026-11-30T23:00"),
        ("2026-W53", CalendarUnit.WEEK, "2026-12-27T23:00", "2027-01-03T23:00"),
        ("2026-10-25", CalendarUnit.DAY, "2026-10-24T22:00", "2026-10-25T23:00"),
    ],
)
def test_a_period_is_that_of_the_zone(text: str, unit: CalendarUnit, start: str, end: str) -> None:
    found = read_period(text, "period").of(CalendarRule(unit, "Europe/Berlin"))
    assert found == Period(*(datetime.fromisoformat(f"{each}+00:00") for each in (start, end)))
    other = CalendarUnit.YEAR if unit is CalendarUnit.DAY else CalendarUnit.DAY
    assert read_period(text, "period").of(CalendarRule(other)) is None


def test_a_day_means_the_span_that_holds_it() -> None:
    begin = datetime(2026, 11, 3, tzinfo=UTC)
    rule = FixedRule(Period(begin, begin + timedelta(days=10)))
    assert read_period("2026-11-05", "period").of(rule) == rule.span
    assert read_period("2026-11-20", "period").of(rule) is None
    assert read_period("2026-11", "period").of(rule) is None


@pytest.mark.parametrize(
    "text", ["", "26", "2026-00", "2026-13", "2026-Q5", "2026-W00", "2027-W53", "2026-02-30", "0000", "2026-11-1", "x"]
)
def test_what_is_no_period_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="period: "):
        read_period(text, "period")
