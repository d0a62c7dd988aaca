"""A record cut into devices and UTC quarter-hours, each slice priced as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from joulegate.core.encoding import encode
from joulegate.core.footprint import Footprint, RateBook, Rates
from joulegate.core.metering import Boundary
from joulegate.core.periods import format_instant, ns_between, quarter_of
from joulegate.core.records import EfficiencyRecord
from joulegate.core.units import Carbon, Energy, Money
from joulegate_api.store.rates import Book

NO_RATES = Rates(None, None, None, None)


@dataclass(frozen=True, slots=True)
class PricedSlice:
    """Energy of one device in one UTC quarter-hour, priced with the rates in force there.

    ``gpu_ns`` is the device's time, ``missing_ns`` the part of it in which nothing
    was measured. In ``footprint`` None is unknown, never zero: energy None, nothing
    was measured; carbon or cost None, ``rates`` has no row for it.
    """

    device_uuid: str
    gpu_model: str
    boundary: Boundary
    quarter: datetime
    gpu_ns: int
    missing_ns: int
    footprint: Footprint
    rates: Rates

    @property
    def unpriced(self) -> bool:
        """Whether carbon or money of measured energy is unknown."""
        known = self.footprint
        return known.energy is not None and (known.carbon_location is None or known.cost is None)


def slices_of(record: EfficiencyRecord, book: RateBook) -> tuple[PricedSlice, ...]:
    """Price a record by device, boundary and quarter-hour; what lies in one of them is added up before it is priced."""
    cells: dict[tuple[str, str, datetime], list[tuple[int, Energy | None]]] = {}
    models = {device.uuid: device.model for device in record.devices}
    for device in record.devices:
        for interval in device.intervals:
            cell = (device.uuid, interval.boundary.value, quarter_of(interval.start))
            cells.setdefault(cell, []).append((ns_between(interval.start, interval.end), interval.energy))
    return tuple(_slice(cell, cells[cell], models[cell[0]], record.run.site, book) for cell in sorted(cells))


def _slice(
    cell: tuple[str, str, datetime],
    parts: list[tuple[int, Energy | None]],
    model: str,
    site: str | None,
    book: RateBook,
) -> PricedSlice:
    uuid, boundary, quarter = cell
    measured = [energy.mj for _, energy in parts if energy is not None]
    gpu_ns = sum(duration for duration, _ in parts)
    rates = book.rates_at(site, model, quarter) if site is not None else NO_RATES
    return PricedSlice(
        device_uuid=uuid,
        gpu_model=model,
        boundary=Boundary(boundary),
        quarter=quarter,
        gpu_ns=gpu_ns,
        missing_ns=sum(duration for duration, energy in parts if energy is None),
        footprint=rates.apply(Energy(sum(measured)) if measured else None, gpu_ns),
        rates=rates,
    )


def footprint_of(slices: Iterable[PricedSlice], boundary: Boundary = Boundary.ACCELERATOR) -> Footprint:
    """The sum over the slices of one boundary; a part that is unknown in one slice is unknown in the sum."""
    parts = [part.footprint for part in slices if part.boundary is boundary]
    energy = _whole([part.energy.mj if part.energy else None for part in parts])
    location = _whole([part.carbon_location.ug if part.carbon_location else None for part in parts])
    market = _whole([part.carbon_market.ug if part.carbon_market else None for part in parts])
    cost = _whole([part.cost.micros if part.cost else None for part in parts])
    currencies = {part.cost.currency for part in parts if part.cost}
    return Footprint(
        energy=None if energy is None else Energy(energy),
        carbon_location=None if location is None else Carbon(location),
        carbon_market=None if market is None else Carbon(market),
        cost=Money(cost, currencies.pop()) if cost is not None and len(currencies) == 1 else None,
    )


def _whole(parts: list[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known and len(known) == len(parts) else None


def to_row(tenant: str, record_id: str, part: PricedSlice, book: Book) -> dict[str, Any]:
    """A slice as a row of ``record_slices``."""
    known = part.footprint
    return {
        "tenant": tenant,
        "record_id": record_id,
        "device_uuid": part.device_uuid,
        "boundary": part.boundary.value,
        "quarter": part.quarter,
        "gpu_model": part.gpu_model,
        "gpu_ns": part.gpu_ns,
        "missing_ns": part.missing_ns,
        "energy_mj": known.energy.mj if known.energy else None,
        "carbon_location_ug": known.carbon_location.ug if known.carbon_location else None,
        "carbon_market_ug": known.carbon_market.ug if known.carbon_market else None,
        "cost_micros": known.cost.micros if known.cost else None,
        "currency": known.cost.currency if known.cost else None,
        "site_rate": book.id_of(part.rates.site),
        "location_rate": book.id_of(part.rates.location),
        "market_rate": book.id_of(part.rates.market),
        "price_rate": book.id_of(part.rates.price),
    }


def from_row(row: Row[Any], book: Book) -> PricedSlice:
    """A slice from a row of ``record_slices``."""
    return PricedSlice(
        device_uuid=row.device_uuid,
        gpu_model=row.gpu_model,
        boundary=Boundary(row.boundary),
        quarter=row.quarter,
        gpu_ns=row.gpu_ns,
        missing_ns=row.missing_ns,
        footprint=Footprint(
            energy=None if row.energy_mj is None else Energy(row.energy_mj),
            carbon_location=None if row.carbon_location_ug is None else Carbon(row.carbon_location_ug),
            carbon_market=None if row.carbon_market_ug is None else Carbon(row.carbon_market_ug),
            cost=None if row.cost_micros is None else Money(row.cost_micros, row.currency),
        ),
        rates=book.rates(row.site_rate, row.location_rate, row.market_rate, row.price_rate),
    )


def references_of(part: PricedSlice, book: Book) -> Mapping[str, str | None]:
    """The ids of the rows that priced a slice, for the log."""
    return {
        "site": book.id_of(part.rates.site),
        "location": book.id_of(part.rates.location),
        "market": book.id_of(part.rates.market),
        "price": book.id_of(part.rates.price),
    }


def told(part: PricedSlice, book: Book) -> dict[str, Any]:
    """A slice as its entry tells it: amounts, time, and the rows that priced it."""
    return {
        "device_uuid": part.device_uuid,
        "gpu_model": part.gpu_model,
        "boundary": part.boundary.value,
        "quarter": format_instant(part.quarter),
        "gpu_ns": str(part.gpu_ns),
        "missing_ns": str(part.missing_ns),
        "footprint": encode(part.footprint),
        "rates": dict(references_of(part, book)),
    }
