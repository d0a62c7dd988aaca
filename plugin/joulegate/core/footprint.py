"""From energy to carbon and money, by quarter-hour, with dated and sourced rows.

A charge is a function of *cumulative* energy: what a subject has drawn in a
quarter-hour so far is priced as a whole, and what was posted before is taken
off. Neither the batching of facts nor their order can change the total.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from joulegate.core.units import MJ_PER_KWH, NS_PER_HOUR, Carbon, Energy, Money, divide_half_even

PPM: Final = 1_000_000
"""Ratios such as PUE are whole millionths: a PUE of 1.2 is 1,200,000."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a row comes from; printed beside every figure that used it."""

    dataset: str
    version: str
    publisher: str
    licence: str
    source: str


class EmissionBasis(StrEnum):
    """Whose electricity a factor is of: the grid's or a contract's (GHG Protocol Scope 2)."""

    LOCATION = "location"
    MARKET = "market"


@dataclass(frozen=True, slots=True)
class GridIntensity:
    """Carbon intensity of a grid zone between two instants, in ug CO2e per kWh.

    ``boundary`` is ``direct`` or ``lifecycle``; ``mix`` is ``production``,
    ``consumption``, ``residual`` or ``supplier``; ``signal`` is ``average`` or a
    marginal rate; ``gwp`` names the set of warming potentials (``AR5``, ...).
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


class PriceRule(StrEnum):
    """What money is paid for. One rule a price book, never both."""

    GPU_HOURS = "gpu_hours"
    ELECTRICITY = "electricity"


@dataclass(frozen=True, slots=True)
class Price:
    """Micros of ``currency`` for a GPU-hour or for a kWh, between two instants.

    ``gpu_model`` and ``zone`` restrict the row where they are not None; the row
    that is restricted more closely wins.
    """

    rule: PriceRule
    currency: str
    micros_per_unit: int
    valid_from: datetime
    valid_to: datetime
    gpu_model: str | None
    zone: str | None
    reference: Reference


@dataclass(frozen=True, slots=True)
class Site:
    """A place with its grid zone and its dated power usage effectiveness (PUE, ISO/IEC 30134-2)."""

    name: str
    zone: str
    pue_ppm: int
    pue_category: str
    valid_from: datetime
    valid_to: datetime
    reference: Reference


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
    """The row in force: of those that hold ``instant``, the one that began last, else None."""
    fitting = [r for r in rows if r.zone == zone and r.basis is basis and r.valid_from <= instant < r.valid_to]
    return max(fitting, key=lambda r: (r.valid_from, r.reference.version), default=None)


def price_at(rows: Iterable[Price], zone: str | None, gpu_model: str | None, instant: datetime) -> Price | None:
    """The price in force: the most specific row for the GPU model and zone, then the latest."""
    fitting = [
        r
        for r in rows
        if r.valid_from <= instant < r.valid_to and r.gpu_model in (None, gpu_model) and r.zone in (None, zone)
    ]
    return max(
        fitting,
        key=lambda r: (
            r.gpu_model is not None,
            r.zone is not None,
            r.valid_from,
            r.reference.version,
        ),
        default=None,
    )


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
            price=price_at(self.prices, zone, gpu_model, quarter),
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
