"""Charges of windows: a function of cumulative energy, so that neither batching nor order changes a bill."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import bindparam, select, update

from joulegate.core.footprint import Footprint, Rates
from joulegate.core.periods import format_instant
from joulegate.core.units import Energy
from joulegate_api.store.bulk import add_rows
from joulegate_api.store.entries import Transaction
from joulegate_api.store.meter_tables import charges
from joulegate_api.store.postings import NOTHING_PRICED
from joulegate_api.store.rates import Book
from joulegate_api.store.slices import NO_RATES
from joulegate_api.store.windows import Window

CellKey = tuple[str, str, datetime, str]
"""Subject, device, quarter-hour, rates."""

RateIds = tuple[str | None, str | None, str | None, str | None]
"""Rows of site, location, market and price; None is unknown."""

_CHUNK = 200


@dataclass(frozen=True, slots=True)
class Subject:
    """A pod with what its energy is charged to: its root where it is known, and the budgets by name."""

    uid: str
    root_uid: str | None
    namespace: str
    budgets: tuple[str, ...]


@dataclass(slots=True)
class Cell:
    """Cumulative energy of one subject on one device in one quarter-hour under one set of rates."""

    subject: Subject
    device_uuid: str
    gpu_model: str | None
    quarter: datetime
    rates_key: str
    rate_ids: RateIds
    site: str
    gpu_ns: int = 0
    energy_mj: int = 0
    before: Footprint = NOTHING_PRICED
    after: Footprint = NOTHING_PRICED
    stood: tuple[int, int] | None = None
    """Energy and time that were there before."""
    is_new: bool = True

    @property
    def key(self) -> CellKey:
        """What no two cells share."""
        return self.subject.uid, self.device_uuid, self.quarter, self.rates_key


def cells_of(
    windows: Iterable[Window],
    subjects: Mapping[str, Subject],
    models: Mapping[str, str | None],
    book: Book,
    site: str,
) -> dict[CellKey, Cell]:
    """What new windows add, by subject, device and quarter-hour; energy of no pod is charged to nobody."""
    found: dict[CellKey, Cell] = {}
    in_force: dict[tuple[str | None, datetime], tuple[str, RateIds]] = {}
    for window in windows:
        if window.pod_uid is None:
            continue
        quarter, model = window.quarter, models.get(window.device_uuid)
        if (model, quarter) not in in_force:
            rates = book.book.rates_at(site, model, quarter) if site else NO_RATES
            in_force[model, quarter] = rates_key(book, rates)
        key, ids = in_force[model, quarter]
        place = (window.pod_uid, window.device_uuid, quarter, key)
        cell = found.get(place)
        if cell is None:
            cell = Cell(subjects[window.pod_uid], window.device_uuid, model, quarter, key, ids, site)
            found[place] = cell
        cell.gpu_ns += window.allocated_gpu_ns
        cell.energy_mj += window.energy_mj
    return found


def rates_key(book: Book, rates: Rates) -> tuple[str, RateIds]:
    """What names a set of rates in the key of a cell, and the ids of its rows."""
    ids = (book.id_of(rates.site), book.id_of(rates.location), book.id_of(rates.market), book.id_of(rates.price))
    return sha256(" ".join(part or "-" for part in ids).encode()).hexdigest()[:16], ids


def accumulate(transaction: Transaction, cluster: str, cells: Mapping[CellKey, Cell], book: Book) -> None:
    """Add what was there before, price the sum as a whole, and keep it."""
    of = charges.c
    subjects = sorted({subject for subject, _, _, _ in cells})
    quarters = [quarter for _, _, quarter, _ in cells]
    for begin in range(0, len(subjects), _CHUNK):
        query = select(charges).where(
            of.tenant == transaction.tenant,
            of.cluster == cluster,
            of.subject.in_(subjects[begin : begin + _CHUNK]),
            of.quarter.between(min(quarters), max(quarters)),
        )
        for row in transaction.connection.execute(query):
            cell = cells.get((row.subject, row.device_uuid, row.quarter, row.rates_key))
            if cell is None:  # another device of the pod, or other rates
                continue
            cell.is_new, cell.stood = False, (row.energy_mj, row.gpu_ns)
            cell.before = priced(book, cell.rate_ids, row.energy_mj, row.gpu_ns)
            cell.energy_mj += row.energy_mj
            cell.gpu_ns += row.gpu_ns
    for cell in cells.values():
        cell.after = priced(book, cell.rate_ids, cell.energy_mj, cell.gpu_ns)
    fresh = [row_of(transaction.tenant, cluster, cell) for cell in cells.values() if cell.is_new]
    add_rows(transaction.connection, charges, fresh)
    more = [
        {
            "b_subject": cell.subject.uid,
            "b_device": cell.device_uuid,
            "b_quarter": cell.quarter,
            "b_rates": cell.rates_key,
            "gpu_ns": cell.gpu_ns,
            "energy_mj": cell.energy_mj,
            **_amounts(cell.after),
        }
        for cell in cells.values()
        if not cell.is_new
    ]
    if more:
        statement = update(charges).where(
            of.tenant == transaction.tenant,
            of.cluster == cluster,
            of.subject == bindparam("b_subject"),
            of.device_uuid == bindparam("b_device"),
            of.quarter == bindparam("b_quarter"),
            of.rates_key == bindparam("b_rates"),
        )
        transaction.connection.execute(statement, more)


def priced(book: Book, ids: RateIds, energy_mj: int, gpu_ns: int) -> Footprint:
    """Cumulative energy and time by the rates with these ids, rounded once."""
    return book.rates(*ids).apply(Energy(energy_mj), gpu_ns)


def row_of(tenant: str, cluster: str, cell: Cell) -> dict[str, Any]:
    """A cell as a row of ``charges``."""
    site, location, market, price = cell.rate_ids
    return {
        "tenant": tenant,
        "cluster": cluster,
        "subject": cell.subject.uid,
        "device_uuid": cell.device_uuid,
        "quarter": cell.quarter,
        "rates_key": cell.rates_key,
        "root_uid": cell.subject.root_uid,
        "namespace": cell.subject.namespace,
        "gpu_model": cell.gpu_model,
        "site": cell.site,
        "budgets": list(cell.subject.budgets),
        "gpu_ns": cell.gpu_ns,
        "energy_mj": cell.energy_mj,
        **_amounts(cell.after),
        "site_rate": site,
        "location_rate": location,
        "market_rate": market,
        "price_rate": price,
    }


def told_of(cells: Collection[Cell]) -> dict[str, Any]:
    """What an entry says of cells, so that its charges follow from it and from the windows themselves."""
    rates = {(cell.device_uuid, cell.quarter): cell.rate_ids for cell in cells}
    return {
        "budgets": {cell.subject.uid: list(cell.subject.budgets) for cell in cells},
        "rates": [
            {"device_uuid": device, "quarter": format_instant(quarter), "rates": list(ids)}
            for (device, quarter), ids in rates.items()
        ],
        "before": [
            {
                "subject": cell.subject.uid,
                "device_uuid": cell.device_uuid,
                "quarter": format_instant(cell.quarter),
                "energy_mj": str(cell.stood[0]),
                "gpu_ns": str(cell.stood[1]),
            }
            for cell in cells
            if cell.stood is not None
        ],
    }


def _amounts(known: Footprint) -> dict[str, Any]:
    return {
        "carbon_location_ug": known.carbon_location.ug if known.carbon_location else None,
        "carbon_market_ug": known.carbon_market.ug if known.carbon_market else None,
        "cost_micros": known.cost.micros if known.cost else None,
        "currency": known.cost.currency if known.cost else None,
    }
