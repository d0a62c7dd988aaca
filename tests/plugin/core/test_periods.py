"""Instants, quarter-hours, and calendar periods in zones with their oddities."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import (
    QUARTER,
    CalendarRule,
    CalendarUnit,
    FixedRule,
    Period,
    cut_at_quarters,
    format_instant,
    parse_duration_ns,
    parse_instant,
    periods_between,
    quarter_of,
)

INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - zone given
ZONES = st.sampled_from(
    [
        "UTC",
        "Europe/Berlin",
        "Asia/Kolkata",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "America/Havana",
        "Pacific/Apia",
    ]
)
UNITS = st.sampled_from(list(CalendarUnit))


@given(INSTANTS)
def test_an_instant_reads_back_as_it_was_written(instant: datetime) -> None:
    assert parse_instant(format_instant(instant), "at") == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "2026-11-23T08:00:00",
        "2026-11-23T08:00:00+01:00",
        "2026-02-30T00:00:00Z",
        None,
        7,
    ],
)
def test_what_is_no_instant_in_utc_is_refused(text: object) -> None:
    with pytest.raises(InvalidInputError):
        parse_instant(text, "at")


@given(INSTANTS, st.timedeltas(timedelta(0), timedelta(days=2)))
def test_quarters_cover_a_span_without_gap_or_overlap(start: datetime, length: timedelta) -> None:
    pieces = list(cut_at_quarters(start, start + length))
    assert sum(((stop - begin) for begin, stop in pieces), timedelta()) == length
    assert all(left[1] == right[0] for left, right in pairwise(pieces))
    assert all(quarter_of(begin) + QUARTER >= stop > begin for begin, stop in pieces)


@given(INSTANTS, UNITS, ZONES)
def test_every_instant_lies_in_one_period_and_periods_join(instant: datetime, unit: CalendarUnit, zone: str) -> None:
    rule = CalendarRule(unit, zone)
    period = rule.period_at(instant)
    assert period.holds(instant)
    assert rule.period_at(period.end).start == period.end
    assert rule.period_at(period.end - timedelta(microseconds=1)) == period


@given(INSTANTS, UNITS, ZONES)
def test_periods_begin_and_end_on_a_quarter_hour(instant: datetime, unit: CalendarUnit, zone: str) -> None:
    period = CalendarRule(unit, zone).period_at(instant)
    assert quarter_of(period.start) == period.start
    assert quarter_of(period.end) == period.end


def test_a_day_with_a_change_of_clocks_has_23_or_25_hours() -> None:
    day = CalendarRule(CalendarUnit.DAY, "Europe/Berlin")
    spring = day.period_at(datetime(2026, 3, 29, 12, tzinfo=UTC))
    autumn = day.period_at(datetime(2026, 10, 25, 12, tzinfo=UTC))
    assert spring.end - spring.start == timedelta(hours=23)
    assert autumn.end - autumn.start == timedelta(hours=25)


def test_a_month_of_berlin_begins_an_hour_before_the_month_of_utc() -> None:
    period = CalendarRule(CalendarUnit.MONTH, "Europe/Berlin").period_at(datetime(2026, 11, 23, tzinfo=UTC))
    assert period == Period(datetime(2026, 10, 31, 23, tzinfo=UTC), datetime(2026, 11, 30, 23, tzinfo=UTC))


def test_a_span_touches_each_of_its_periods_once() -> None:
    rule = CalendarRule(CalendarUnit.MONTH)
    touched = list(periods_between(rule, datetime(2026, 11, 23, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC)))
    assert [period.start.month for period in touched] == [11, 12, 1]


def test_a_fixed_span_holds_nothing_outside_itself() -> None:
    span = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    rule = FixedRule(span)
    assert rule.period_at(span.start) == span
    assert rule.period_at(span.end) is None
    assert list(periods_between(rule, span.end, span.end + timedelta(days=1))) == []


@pytest.mark.parametrize(("text", "seconds"), [("6h", 21_600), ("1h30m", 5_400), ("90m", 5_400), ("30d", 2_592_000)])
def test_durations_read_as_people_write_them(text: str, seconds: int) -> None:
    assert parse_duration_ns(text, "expected-duration") == seconds * 1_000_000_000


@pytest.mark.parametrize("text", ["", "6", "h", "-1h", "1.5h", "6 h", "6hours", None, "1" * 30 + "h"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(InvalidInputError):
        parse_duration_ns(text, "expected-duration")


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="time zone"):
        CalendarRule(CalendarUnit.DAY, "Mars/Olympus").period_at(datetime(2026, 1, 1, tzinfo=UTC))
