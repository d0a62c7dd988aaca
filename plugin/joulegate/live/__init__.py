"""Carbon intensity as others publish it while it happens: one protocol, four sources, none of them asked by itself.

A source is asked by `joulegate factors fetch` alone. What it answers becomes dated factor
rows that name it; what it does not know is told and stays unknown. No source stands in for
another, and a source that cannot be reached is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Final, Protocol

from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import EmissionBasis, GridIntensity, Reference
from joulegate.core.periods import QUARTER, Period, quarter_of
from joulegate.core.units import UG_PER_G

LARGEST_G_PER_KWH: Final = 10_000
"""No grid emits more; a larger figure is in another unit."""


@dataclass(frozen=True, slots=True)
class Point:
    """What a source says of a stretch of time, in grams of CO2e per kWh; None is not known."""

    start: datetime
    length: timedelta
    g_per_kwh: Fraction | None


@dataclass(frozen=True, slots=True)
class What:
    """What the figures of a source are: see :class:`GridIntensity`."""

    boundary: str
    mix: str
    signal: str
    gwp: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """Dated rows of a zone, and the quarter-hours of the period of which the source knows nothing."""

    rows: tuple[GridIntensity, ...]
    unknown: tuple[datetime, ...]


class IntensitySource(Protocol):
    """Somebody who publishes carbon intensities."""

    @property
    def name(self) -> str:
        """The word by which it is chosen."""

    def fetch(self, zone: str, period: Period, now: datetime) -> Fetched:
        """What it says of ``zone`` in ``period``, asked at ``now``.

        Raises :class:`UnavailableError` where it cannot be reached or refuses, and
        :class:`InvalidInputError` where its answer is not of the documented form.
        """


def fetched(
    zone: str, period: Period, points: Iterable[Point], what: What, references: Mapping[datetime, Reference]
) -> Fetched:
    """Rows from points: what is finer than a quarter-hour is averaged over it, where all of it is known.

    ``references`` holds where each point came from, by its start. Raises :class:`InvalidInputError` for
    a figure that no grid can have.
    """
    rows: list[GridIntensity] = []
    fine: dict[datetime, list[Point]] = {}
    for point in points:
        if point.length < QUARTER:
            fine.setdefault(quarter_of(point.start), []).append(point)
        elif point.g_per_kwh is not None:
            rows.append(_row(zone, point, what, references[point.start]))
    for quarter, parts in fine.items():
        known = [part.g_per_kwh for part in parts if part.g_per_kwh is not None]
        if known and len(known) == len(parts) and sum((p.length for p in parts), timedelta()) == QUARTER:
            mean = Point(quarter, QUARTER, sum(known, Fraction(0)) / len(known))
            rows.append(_row(zone, mean, what, references[parts[0].start]))
    rows.sort(key=lambda row: row.valid_from)
    return Fetched(tuple(rows), tuple(_unknown(period, rows)))


def _row(zone: str, point: Point, what: What, reference: Reference) -> GridIntensity:
    value = point.g_per_kwh
    if value is None or not 0 <= value <= LARGEST_G_PER_KWH:
        raise InvalidInputError(f"{value} g/kWh cannot be: is the unit another one?", reference.source)
    end = point.start + point.length
    return GridIntensity(
        zone=zone,
        valid_from=point.start,
        valid_to=end,
        ug_per_kwh=round(value * UG_PER_G),
        basis=EmissionBasis.LOCATION,
        boundary=what.boundary,
        mix=what.mix,
        signal=what.signal,
        gwp=what.gwp,
        reference=reference,
        data_until=end,
    )


def _unknown(period: Period, rows: list[GridIntensity]) -> Iterable[datetime]:
    covered = {row.valid_from + n * QUARTER for row in rows for n in range((row.valid_to - row.valid_from) // QUARTER)}
    quarter = period.start
    while quarter < period.end:
        if quarter not in covered:
            yield quarter
        quarter += QUARTER
