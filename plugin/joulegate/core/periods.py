"""Instants, UTC quarter-hours and the periods of budgets.

Prices and grid intensities are dated by UTC quarter-hour, because time zones of
half an hour and of 45 minutes exist and every one of them begins its hours on
a quarter. The periods of budgets are calendar periods in a named zone, or one
fixed span; either way their bounds are UTC instants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from joulegate.core.errors import InvalidInputError

QUARTER: Final = timedelta(minutes=15)
LONGEST_DURATION_NS: Final = 366 * 86_400 * 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DURATION: Final = re.compile(r"(\d{1,18})(ns|us|ms|s|m|h|d|w)")
_RFC3339_UTC: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_NS_PER: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}


def parse_instant(text: object, field: str) -> datetime:
    """Read an RFC 3339 instant in UTC, written with ``Z``; raises :class:`InvalidInputError`.

    Digits beyond microseconds are cut off: the wall clock is no better than that.
    """
    if not isinstance(text, str) or not _RFC3339_UTC.fullmatch(text):
        raise InvalidInputError(
            f"{str(text)[:60]!r} is not an RFC 3339 instant in UTC, such as 2026-11-23T08:00:00Z",
            field,
        )
    head, _, fraction = text[:-1].partition(".")
    try:
        instant = datetime.fromisoformat(head).replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidInputError(f"{text!r}: {error}", field) from None
    return instant + timedelta(microseconds=int(fraction[:6].ljust(6, "0")) if fraction else 0)


def format_instant(instant: datetime) -> str:
    """Write an instant as RFC 3339 in UTC, without needless digits."""
    text = instant.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (text.rstrip("0") if "." in text else text) + "Z"


def ns_between(start: datetime, end: datetime) -> int:
    """Whole nanoseconds from ``start`` to ``end``; negative where ``end`` is earlier."""
    return (end - start) // _MICROSECOND * 1_000


def parse_duration_ns(text: object, field: str) -> int:
    """Read a duration such as ``90m``, ``1h30m`` or ``30d``, at most 366 days, as whole nanoseconds."""
    parts = _DURATION.findall(text) if isinstance(text, str) else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidInputError(f"{str(text)[:60]!r} is not a duration such as 90m, 1h30m or 30d", field)
    duration_ns = sum(int(number) * _NS_PER[unit] for number, unit in parts)
    if duration_ns > LONGEST_DURATION_NS:
        raise InvalidInputError(f"{str(text)[:60]!r} is longer than 366d", field)
    return duration_ns


def quarter_of(instant: datetime) -> datetime:
    """The start of the UTC quarter-hour that holds ``instant``."""
    return instant - (instant - _EPOCH) % QUARTER


def cut_at_quarters(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Cut ``[start, end)`` at UTC quarter-hours; nothing where it is empty."""
    while start < end:
        stop = min(end, quarter_of(start) + QUARTER)
        yield start, stop
        start = stop


@dataclass(frozen=True, order=True, slots=True)
class Period:
    """A half-open span of time ``[start, end)`` between two UTC instants."""

    start: datetime
    end: datetime

    def holds(self, instant: datetime) -> bool:
        """Whether ``instant`` lies inside."""
        return self.start <= instant < self.end


class CalendarUnit(StrEnum):
    """The calendar periods that a budget may have. Weeks begin on Monday (ISO 8601)."""

    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"
    QUARTER = "Quarter"
    YEAR = "Year"


@dataclass(frozen=True, slots=True)
class CalendarRule:
    """Calendar periods of a named zone of the IANA database."""

    unit: CalendarUnit
    timezone: str = "UTC"

    def period_at(self, instant: datetime) -> Period:
        """The period that holds ``instant``; a day with a change of clocks has 23 or 25 hours."""
        zone = zone_named(self.timezone, "spec.period.timezone")
        first, after = _calendar_bounds(self.unit, instant.astimezone(zone).date())
        return Period(_midnight(first, zone), _midnight(after, zone))


@dataclass(frozen=True, slots=True)
class FixedRule:
    """One span, and nothing before or after it."""

    span: Period

    def period_at(self, instant: datetime) -> Period | None:
        """The span where it holds ``instant``, else None."""
        return self.span if self.span.holds(instant) else None


PeriodRule = CalendarRule | FixedRule


def periods_between(rule: PeriodRule, start: datetime, end: datetime) -> Iterator[Period]:
    """The periods of ``rule`` that ``[start, end)`` touches, in order."""
    if isinstance(rule, FixedRule):
        if rule.span.start < end and start < rule.span.end:
            yield rule.span
        return
    while start < end:
        period = rule.period_at(start)
        yield period
        start = period.end


def zone_named(name: str, field: str) -> ZoneInfo:
    """The IANA time zone of this name; raises :class:`InvalidInputError` where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise InvalidInputError(f"{str(name)[:60]!r} is not a time zone of the IANA database", field) from None


def _calendar_bounds(unit: CalendarUnit, day: date) -> tuple[date, date]:
    if unit is CalendarUnit.DAY:
        return day, day + timedelta(days=1)
    if unit is CalendarUnit.WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    months = {CalendarUnit.MONTH: 1, CalendarUnit.QUARTER: 3, CalendarUnit.YEAR: 12}[unit]
    first = day.year * 12 + (day.month - 1) // months * months
    return _first_of(first), _first_of(first + months)


def _first_of(month_count: int) -> date:
    return date(month_count // 12, month_count % 12 + 1, 1)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    # fold=0 is the earlier of two midnights; a midnight that is skipped maps to the change itself.
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
