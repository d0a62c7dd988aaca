"""Dates for instants of the clock that never steps, without ever going back.

Windows are dated in UTC, and no two windows of a device may overlap. Where the
wall clock is set forward the dates jump with it. Where it is set back they go on,
a little slower than time, until the wall clock has caught up. Energy and
durations never depend on any of this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from joulegate.clock import Instant
from joulegate.core.periods import QUARTER, quarter_of

TOLERANCE: Final = timedelta(milliseconds=500)
"""What a clock may be off before its dates are changed at once; NTP slews smaller errors itself."""

SLOWING: Final = 20
"""Dates that are ahead lose one part in so many: 10 minutes are made up in 200."""

_US: Final = timedelta(microseconds=1)


@dataclass(slots=True)
class Timeline:
    """Maps CLOCK_BOOTTIME to UTC from one observation to the next."""

    last: Instant
    """The last observation, with the date that was given to it."""
    skew: timedelta = timedelta(0)
    """How far the dates are ahead of the wall clock."""
    steps: int = 0

    def observe(self, now: Instant) -> datetime:
        """Take both clocks as they are now; the date of this moment, later than every date before."""
        elapsed = timedelta(microseconds=(now.boottime_ns - self.last.boottime_ns) // 1_000)
        steady = self.last.utc + elapsed
        ahead = steady - now.utc
        if abs(ahead) > TOLERANCE and abs(ahead - self.skew) > TOLERANCE:
            self.steps += 1
        slowest = steady - elapsed // SLOWING if ahead > TOLERANCE else self.last.utc
        date = max(now.utc, slowest)
        self.skew = date - now.utc
        self.last = Instant(now.boottime_ns, date)
        return date

    def quarters(self, earlier: Instant) -> Iterator[Instant]:
        """The quarter-hours after ``earlier`` up to the last observation, on both clocks."""
        span = (self.last.utc - earlier.utc) // _US
        span_ns = self.last.boottime_ns - earlier.boottime_ns
        quarter = quarter_of(earlier.utc) + QUARTER
        while quarter <= self.last.utc:
            past = (quarter - earlier.utc) // _US
            yield Instant(earlier.boottime_ns + span_ns * past // max(span, 1), quarter)
            quarter += QUARTER
