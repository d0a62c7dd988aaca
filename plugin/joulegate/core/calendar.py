"""Calendar periods as people write them: ``2026``, ``2026-Q4``, ``2026-11``, ``2026-W47``, ``2026-11-23``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import CalendarRule, CalendarUnit, Period, PeriodRule, zone_named

_FORMS: Final = (
    (CalendarUnit.YEAR, re.compile(r"(\d{4})")),
    (CalendarUnit.QUARTER, re.compile(r"(\d{4})-Q([1-4])")),
    (CalendarUnit.MONTH, re.compile(r"(\d{4})-(\d{2})")),
    (CalendarUnit.WEEK, re.compile(r"(\d{4})-W(\d{2})")),
    (CalendarUnit.DAY, re.compile(r"(\d{4})-(\d{2})-(\d{2})")),
)
_NOON: Final = time(12)


@dataclass(frozen=True, slots=True)
class CalendarPeriod:
    """A unit, and the first day of the period that is meant."""

    unit: CalendarUnit
    first: date

    def of(self, rule: PeriodRule) -> Period | None:
        """The period of a budget's rule; None where the rule has no such periods.

        For a day, also the fixed span that holds it.
        """
        if isinstance(rule, CalendarRule):
            if rule.unit is not self.unit:
                return None
            zone = zone_named(rule.timezone, "spec.period.timezone")
            return rule.period_at(datetime.combine(self.first, _NOON, zone).astimezone(UTC))
        if self.unit is not CalendarUnit.DAY:
            return None
        return rule.period_at(datetime.combine(self.first, _NOON, UTC))


def read_period(text: str, field: str) -> CalendarPeriod:
    """Read a calendar period; raises :class:`InvalidInputError` for what is none."""
    for unit, form in _FORMS:
        match = form.fullmatch(text)
        if match is not None:
            try:
                return CalendarPeriod(unit, _first_day(unit, [int(part) for part in match.groups()]))
            except ValueError:
                break
    raise InvalidInputError(f"{text[:60]!r} is no period; write 2026, 2026-Q4, 2026-11, 2026-W47 or 2026-11-23", field)


def _first_day(unit: CalendarUnit, parts: list[int]) -> date:
    year, *rest = parts
    if unit is CalendarUnit.WEEK:
        return date.fromisocalendar(year, rest[0], 1)
    if unit is CalendarUnit.QUARTER:
        return date(year, 3 * rest[0] - 2, 1)
    month, day = [*rest, 1, 1][:2]
    return date(year, month, day)
