"""From energy to carbon and money, by quarter-hour, with dated and sourced rows.

A charge is a function of *cumulative* energy: what a subject has drawn in a
quarter-hour so far is priced as a whole, and what was posted before is taken
off. Neither the batching of facts nor their order can change the total.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

from joulegate.core.accelerators import canonical_model
from joulegate.core.errors import InvalidInputError
from joulegate.core.periods import zone_named
from joulegate.core.units import MJ_PER_KWH, NS_PER_HOUR, Carbon, Energy, Money, divide_half_even

PPM: Final = 1_000_000
"""Ratios such as PUE are whole millionths: a PUE of 1.2 is 1,200,000."""


AVERAGE: Final = "average"
"""The only signal that accounts: a marginal rate says what a decision changes, not what was emitted."""

STALE_AFTER_MONTHS: Final = 24
"""A factor whose data ended longer ago than this, seen from the consumption, is called stale."""

_LAST_DAY_OF_EVERY_MONTH: Final = 28  # of February too, where the year to come is not a leap year
_HOURS: Final = 24


LATER: Final = {"later": True}
"""Of a field that came later: left out of what is written while it says nothing."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a row comes from; printed beside every figure that used it.

    ``attribution`` is the line that the licence asks for, ``sha256`` the hash (hex) of the
    publisher's file that the row was read from.
    """

    dataset: str
    version: str
    publisher: str
    licence: str
    source: str
    attribution: str | None = field(default=None, metadata=LATER)
    sha256: str | None = field(default=None, metadata=LATER)


class Ownership(StrEnum):
    """Whose machines: decides the category of the GHG Protocol, and may decide the price."""

    OWNED = "owned"
    COLO = "colo"
    LEASED = "leased"
    CLOUD_IAAS = "cloud_iaas"
    API = "api"


class EmissionBasis(StrEnum):
    """Whose electricity a factor is of: the grid's or a contract's (GHG Protocol Scope 2)."""

    LOCATION = "location"
    MARKET = "market"


@dataclass(frozen=True, slots=True)
class GridIntensity:
    """Carbon intensity of a grid zone between two instants, in ug CO2e per kWh.

    ``boundary`` is ``direct`` or ``lifecycle``; ``mix`` is ``production``,
    ``consumption``, ``residual`` or ``supplier``; ``signal`` is ``average`` or a
    marginal rate, which prices nothing; ``gwp`` names the set of warming potentials
    (``AR5``, ...). ``data_until`` is the end of the period that the data describe.
    """

    zone: str
    valid_from: datetime
    valid_to: datetime
    ug_per_kwh: int
    basis: EmissionBasis
    boundary: str
    mix: str
    signal: str
    gwp: str
    reference: Reference
    data_until: datetime | None = field(default=None, metadata=LATER)

    def is_stale_at(self, instant: datetime) -> bool:
        """Whether the data ended more than 24 months before ``instant``; where no end is told, the row's begin."""
        return is_stale(self.data_until or self.valid_from, instant)


def is_stale(data_end: datetime, instant: datetime) -> bool:
    """Whether data that ended at ``data_end`` are more than 24 months old at ``instant``."""
    years = data_end.year + STALE_AFTER_MONTHS // 12
    return instant > data_end.replace(year=years, day=min(data_end.day, _LAST_DAY_OF_EVERY_MONTH))


class PriceRule(StrEnum):
    """What money is paid for. One rule a price book, never both."""

    GPU_HOURS = "gpu_hours"
    ELECTRICITY = "electricity"


@dataclass(frozen=True, slots=True)
class Price:
    """Micros of ``currency`` for a GPU-hour or for a kWh, between two instants.

    ``gpu_model``, ``zone``, ``ownership`` and the hours restrict the row where they are
    not None; the row that is restricted more closely wins. Models are compared without
    vendor and separators. The hours of a day run from ``from_hour`` to before ``to_hour``
    in ``timezone`` (UTC where None), over midnight where the first is the later one.
    """

    rule: PriceRule
    currency: str
    micros_per_unit: int
    valid_from: datetime
    valid_to: datetime
    gpu_model: str | None
    zone: str | None
    reference: Reference
    ownership: Ownership | None = field(default=None, metadata=LATER)
    from_hour: int | None = field(default=None, metadata=LATER)
    to_hour: int | None = field(default=None, metadata=LATER)
    timezone: str | None = field(default=None, metadata=LATER)

    def __post_init__(self) -> None:
        """Refuse hours that are none; raises :class:`InvalidInputError`."""
        begin, end = self.from_hour, self.to_hour
        if (begin is None) != (end is None):
            raise InvalidInputError("from_hour and to_hour go together", "from_hour")
        if begin is None or end is None:
            if self.timezone is not None:
                raise InvalidInputError("says nothing without from_hour and to_hour", "timezone")
            return
        if not 0 <= begin < _HOURS or not 0 < end <= _HOURS or begin == end:
            raise InvalidInputError("hours run from 0..23 to 1..24, and are not the same", "from_hour")
        if self.timezone is not None:
            zone_named(self.timezone, "timezone")

    def holds(self, instant: datetime) -> bool:
        """Whether the row is in force at ``instant``: by its dates, and by the hour of the day where it is priced."""
        return self.valid_from <= instant < self.valid_to and self.in_hours(instant)

    def in_hours(self, instant: datetime) -> bool:
        """Whether the hour of the day at ``instant`` is one that the row prices."""
        begin, end = self.from_hour, self.to_hour
        if begin is None or end is None:
            return True
        hour = instant.astimezone(zone_named(self.timezone or "UTC", "timezone")).hour
        return begin <= hour < end if begin < end else not end <= hour < begin


@dataclass(frozen=True, slots=True)
class Site:
    """A place with its grid zone and its dated power usage effectiveness (PUE, ISO/IEC 30134-2).

    ``pue_category`` is 1, 2 or 3 of ISO/IEC 30134-2 (energy of IT metered at the outputs of the UPS, of the
    PDU, or at the inputs of the machines), or another word where it is no such measurement (``survey``).
    ``wue_ul_per_kwh`` is water usage effectiveness (ISO/IEC 30134-9) in microlitres per kWh of IT energy.
    """

    name: str
    zone: str
    pue_ppm: int
    pue_category: str
    valid_from: datetime
    valid_to: datetime
    reference: Reference
    ownership: Ownership | None = field(default=None, metadata=LATER)
    wue_ul_per_kwh: int | None = field(default=None, metadata=LATER)
    wue_category: str | None = field(default=None, metadata=LATER)

    @property
    def iso_category(self) -> int | None:
        """The category of ISO/IEC 30134-2; None where the PUE was not measured by it."""
        word = self.pue_category.lower().removeprefix("category").strip()
        return int(word) if word in ("1", "2", "3") else None

    def water_ul(self, energy: Energy) -> int | None:
        """Microlitres of water for IT energy, rounded once, half even; None where no WUE is known.

        ISO/IEC 30134-9: WUE is the yearly use of water over the energy of the IT equipment.
        """
        if self.wue_ul_per_kwh is None:
            return None
        return divide_half_even(energy.mj * self.wue_ul_per_kwh, MJ_PER_KWH)


def carbon_of(energy: Energy, pue_ppm: int, ug_per_kwh: int) -> Carbon:
    """Carbon of accelerator energy: energy x PUE x intensity, rounded once, half even.

    GHG Protocol Scope 2 Guidance (2015), location-based method: activity data
    times grid average factor. 1 kWh at PUE 1.2 and 400 g/kWh is 480 g.
    """
    return Carbon(divide_half_even(energy.mj * pue_ppm * ug_per_kwh, MJ_PER_KWH * PPM))


def cost_of(price: Price, energy: Energy, pue_ppm: int, gpu_ns: int) -> Money:
    """Money for energy (at the facility's meter: times PUE) or for GPU time; rounded once."""
    if price.rule is PriceRule.ELECTRICITY:
        micros = divide_half_even(energy.mj * pue_ppm * price.micros_per_unit, MJ_PER_KWH * PPM)
    else:
        micros = divide_half_even(gpu_ns * price.micros_per_unit, NS_PER_HOUR)
    return Money(micros, price.currency)


def intensity_at(
    rows: Iterable[GridIntensity],
    zone: str,
    instant: datetime,
    basis: EmissionBasis = EmissionBasis.LOCATION,
) -> GridIntensity | None:
    """The average in force: of those that hold ``instant``, the one that began last, else None."""
    fitting = [
        r
        for r in rows
        if r.zone == zone and r.basis is basis and r.signal == AVERAGE and r.valid_from <= instant < r.valid_to
    ]
    return max(fitting, key=lambda r: (r.valid_from, r.reference.version), default=None)


def price_at(
    rows: Iterable[Price],
    zone: str | None,
    gpu_model: str | None,
    instant: datetime,
    ownership: Ownership | None = None,
) -> Price | None:
    """The price in force: the row most specific in GPU model, ownership, zone and hour, in this order; then the latest.

    A row for one ownership prices nothing where the site's own is unknown.
    """
    fitting = [
        r
        for r in rows
        if r.holds(instant)
        and (r.gpu_model is None or _same_model(r.gpu_model, gpu_model))
        and r.zone in (None, zone)
        and r.ownership in (None, ownership)
    ]
    return max(
        fitting,
        key=lambda r: (
            r.gpu_model is not None,
            r.ownership is not None,
            r.zone is not None,
            r.from_hour is not None,
            r.valid_from,
            r.reference.version,
        ),
        default=None,
    )


@lru_cache(maxsize=4_096)
def _same_model(one: str, other: str | None) -> bool:
    return other is not None and canonical_model(one) == canonical_model(other)


def site_at(rows: Iterable[Site], name: str, instant: datetime) -> Site | None:
    """The row of a site in force at ``instant``."""
    fitting = [r for r in rows if r.name == name and r.valid_from <= instant < r.valid_to]
    return max(fitting, key=lambda r: r.valid_from, default=None)


@dataclass(frozen=True, slots=True)
class RateBook:
    """Everything that prices: intensities, prices and sites, as they are known at one moment."""

    intensities: tuple[GridIntensity, ...]
    prices: tuple[Price, ...]
    sites: tuple[Site, ...]

    def rates_at(self, site: str, gpu_model: str | None, quarter: datetime) -> Rates:
        """The rates in force in the quarter-hour from ``quarter``; unknown parts are None."""
        place = site_at(self.sites, site, quarter)
        zone = place.zone if place else None
        return Rates(
            site=place,
            location=intensity_at(self.intensities, zone, quarter) if zone else None,
            market=intensity_at(self.intensities, zone, quarter, EmissionBasis.MARKET) if zone else None,
            price=price_at(self.prices, zone, gpu_model, quarter, place.ownership if place else None),
        )


@dataclass(frozen=True, slots=True)
class Rates:
    """What is in force at a site in a quarter-hour for a GPU model; None is unknown, not zero."""

    site: Site | None
    location: GridIntensity | None
    market: GridIntensity | None
    price: Price | None

    def apply(self, energy: Energy | None, gpu_ns: int) -> Footprint:
        """Price one slice. What cannot be computed stays None."""
        pue = self.site.pue_ppm if self.site else None
        return Footprint(
            energy=energy,
            carbon_location=_carbon(energy, pue, self.location),
            carbon_market=_carbon(energy, pue, self.market),
            cost=self._cost(energy, pue, gpu_ns),
        )

    def _cost(self, energy: Energy | None, pue: int | None, gpu_ns: int) -> Money | None:
        if self.price is None:
            return None
        if self.price.rule is PriceRule.GPU_HOURS:
            return cost_of(self.price, Energy(0), PPM, gpu_ns)
        return cost_of(self.price, energy, pue, gpu_ns) if energy is not None and pue is not None else None


def _carbon(energy: Energy | None, pue: int | None, row: GridIntensity | None) -> Carbon | None:
    if energy is None or pue is None or row is None:
        return None
    return carbon_of(energy, pue, row.ug_per_kwh)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Energy with its carbon (two columns, never added) and its cost; None is unknown."""

    energy: Energy | None
    carbon_location: Carbon | None
    carbon_market: Carbon | None
    cost: Money | None
