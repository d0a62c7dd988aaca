"""Market-based carbon: electricity covered by certificates and contracts, and the residual mix for the rest.

GHG Protocol Scope 2 Guidance (2015), market-based method: instruments are applied first, what they
do not cover is priced by the residual mix of its zone. Here an instrument covers electricity at
the facility's meter (accelerator energy x PUE) of its own zone and time, spread evenly over its
time, and within a report over what was used there, in proportion. This is matching by amount
and not hour by hour. Where no residual mix is known the rest stays unknown: the
location-based factor does not stand in for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from joulegate.core.errors import InvalidInputError
from joulegate.core.footprint import PPM, GridIntensity, Reference
from joulegate.core.metering import Boundary
from joulegate.core.periods import Period
from joulegate.core.tallies import Slice
from joulegate.core.units import MJ_PER_KWH, divide_half_even, split_by_largest_remainder

_MICROSECOND: Final = timedelta(microseconds=1)


class InstrumentKind(StrEnum):
    """What was bought: certificates apart from the electricity, a contract for both, or a supplier's tariff."""

    CERTIFICATE = "certificate"
    CONTRACT = "contract"
    TARIFF = "tariff"


@dataclass(frozen=True, slots=True)
class Instrument:
    """An amount of electricity of known emissions in a zone between two instants.

    ``name`` is the number of the contract or of the certificates in their registry, ``evidence`` what
    shows that they were cancelled (a statement's address or hash); ``energy_mj`` at the facility's meter.
    """

    kind: InstrumentKind
    name: str
    zone: str
    valid_from: datetime
    valid_to: datetime
    energy_mj: int
    ug_per_kwh: int
    evidence: str
    reference: Reference

    def __post_init__(self) -> None:
        """Refuse an amount of nothing; raises :class:`InvalidInputError`."""
        if self.energy_mj <= 0:
            raise InvalidInputError("an instrument covers more than nothing", "energy_mj")

    def amount_in(self, period: Period) -> int:
        """The part of the amount, in mJ, that lies in ``period``; parts of periods that meet add up to all of it."""
        return self._amount_before(period.end) - self._amount_before(period.start)

    def _amount_before(self, instant: datetime) -> int:
        whole = (self.valid_to - self.valid_from) // _MICROSECOND
        passed = (min(max(instant, self.valid_from), self.valid_to) - self.valid_from) // _MICROSECOND
        return self.energy_mj * passed // whole


@dataclass(frozen=True, slots=True)
class InstrumentUse:
    """What of an instrument lay in the report's period, how much of it was used, and what that emitted."""

    instrument: Instrument
    amount_mj: int
    used_mj: int
    carbon_ug: int


@dataclass(frozen=True, slots=True)
class MarketBased:
    """Electricity at the facility's meter by what prices it, in mJ, and the carbon of what is known.

    ``unplaced_mj`` is accelerator energy of which no site, and so no PUE and no zone, is known.
    """

    facility_energy_mj: int
    covered_mj: int
    residual_mj: int
    unknown_mj: int
    unplaced_mj: int
    carbon_ug: int | None
    uses: tuple[InstrumentUse, ...]


@dataclass(slots=True)
class _Cell:
    """Electricity of one slice that no instrument covers yet."""

    zone: str
    quarter: datetime
    rest_mj: int
    residual: GridIntensity | None


def market_based(slices: Iterable[Slice], instruments: Sequence[Instrument], period: Period) -> MarketBased:
    """The market-based figure of everything that was used in ``period``, accelerator boundary.

    ``slices`` have to be all of an organisation's: of a part of them nobody can say what the instruments cover.
    Instruments are applied in the order of their begins, then names.
    """
    cells, unplaced = _cells(slices)
    total = sum(cell.rest_mj for cell in cells)
    uses = []
    for instrument in sorted(instruments, key=lambda i: (i.valid_from, i.name, i.zone, i.reference.version)):
        amount = instrument.amount_in(period)
        used = _cover(instrument, amount, cells)
        if amount:
            carbon = divide_half_even(used * instrument.ug_per_kwh, MJ_PER_KWH)
            uses.append(InstrumentUse(instrument, amount, used, carbon))
    residual: dict[GridIntensity, int] = {}
    for cell in cells:
        if cell.residual is not None:
            residual[cell.residual] = residual.get(cell.residual, 0) + cell.rest_mj
    covered, left = sum(use.used_mj for use in uses), sum(residual.values())
    carbon = sum(use.carbon_ug for use in uses) + sum(
        divide_half_even(mj * row.ug_per_kwh, MJ_PER_KWH) for row, mj in residual.items()
    )
    return MarketBased(
        facility_energy_mj=total,
        covered_mj=covered,
        residual_mj=left,
        unknown_mj=total - covered - left,
        unplaced_mj=unplaced,
        carbon_ug=carbon if covered or left else None,
        uses=tuple(uses),
    )


def _cells(slices: Iterable[Slice]) -> tuple[list[_Cell], int]:
    cells, unplaced = [], 0
    for part in sorted(slices, key=lambda part: (part.quarter, part.device_uuid)):  # the same whatever the order
        energy, site = part.footprint.energy, part.rates.site
        if part.boundary is not Boundary.ACCELERATOR or energy is None:
            continue
        if site is None:
            unplaced += energy.mj
            continue
        facility = divide_half_even(energy.mj * site.pue_ppm, PPM)
        cells.append(_Cell(site.zone, part.quarter, facility, part.rates.market))
    return cells, unplaced


def _cover(instrument: Instrument, amount: int, cells: Sequence[_Cell]) -> int:
    """Cover what was used in the instrument's zone and time; returns how much, in mJ."""
    fitting = {
        f"{n:012d}": cell
        for n, cell in enumerate(cells)
        if cell.zone == instrument.zone and cell.rest_mj and instrument.valid_from <= cell.quarter < instrument.valid_to
    }
    used = min(amount, sum(cell.rest_mj for cell in fitting.values()))
    if used:
        weights = {name: cell.rest_mj for name, cell in fitting.items()}
        for name, part in split_by_largest_remainder(used, weights).items():
            fitting[name].rest_mj -= part
    return used
