"""The whole tenant in a few figures, for gauges: this month's charges, what waits for a price, holds by state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, and_, case, func, or_, select

from joulegate.core.metering import Boundary
from joulegate.core.units import Money
from joulegate_api.store.database import Database
from joulegate_api.store.holds import HoldState
from joulegate_api.store.meter_tables import charges
from joulegate_api.store.tables import holds, record_slices, records


@dataclass(frozen=True, slots=True)
class Overview:
    """What was charged since ``since`` (the begin of the UTC month), whatever the periods of the budgets.

    Sums are of what is known; ``unpriced_quarters`` counts, over all time, charged
    quarter-hours of a device whose energy is known and whose carbon or money is not.
    """

    since: datetime
    energy_mj: int
    carbon_ug: int
    costs: tuple[Money, ...]
    unpriced_quarters: int
    holds: Mapping[HoldState, int]


class Overviews:
    """Reads the overview of one tenant."""

    def __init__(self, database: Database, tenant: str) -> None:
        """Read for one tenant."""
        self._database = database
        self._tenant = tenant

    def now(self) -> Overview:
        """The figures at the instant of the database's clock."""
        with self._database.read() as connection:
            since = self._database.now(connection).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            found = [connection.execute(query).all() for query in self._sums(since)]
            rows = [row for part in found for row in part]
            costs: dict[str, int] = {}
            for row in rows:
                if row.currency is not None and row.micros is not None:
                    costs[row.currency] = costs.get(row.currency, 0) + int(row.micros)
            return Overview(
                since=since,
                energy_mj=sum(int(row.mj or 0) for row in rows),
                carbon_ug=sum(int(row.ug or 0) for row in rows),
                costs=tuple(Money(costs[currency], currency) for currency in sorted(costs)),
                unpriced_quarters=sum(int(row.unpriced or 0) for row in rows),
                holds=self._holds(connection),
            )

    def _sums(self, since: datetime) -> tuple[Select[Any], Select[Any]]:
        """Windows that were charged, and records that no window stands for."""
        window, part = charges.c, record_slices.c
        charged = and_(
            records.c.tenant == part.tenant,
            records.c.record_id == part.record_id,
            records.c.charged.is_(True),
            records.c.reversed_at.is_(None),
        )
        own = [_sums(columns, since) for columns in (window, part)]
        return (
            select(*own[0]).where(window.tenant == self._tenant).group_by(window.currency),
            select(*own[1])
            .join_from(record_slices, records, charged)
            .where(part.tenant == self._tenant, part.boundary == Boundary.ACCELERATOR.value)
            .group_by(part.currency),
        )

    def _holds(self, connection: Connection) -> Mapping[HoldState, int]:
        of = holds.c
        query = select(of.state, func.count()).where(of.tenant == self._tenant).group_by(of.state)
        found = {state: int(count) for state, count in connection.execute(query)}
        return {state: found.get(state.value, 0) for state in HoldState}


def _sums(of: Any, since: datetime) -> list[Any]:  # noqa: ANN401 -- SQLAlchemy's collection of columns
    now = of.quarter >= since
    unpriced = and_(of.energy_mj.is_not(None), or_(of.carbon_location_ug.is_(None), of.cost_micros.is_(None)))
    return [
        of.currency,
        func.sum(case((now, of.energy_mj))).label("mj"),
        func.sum(case((now, of.carbon_location_ug))).label("ug"),
        func.sum(case((now, of.cost_micros))).label("micros"),
        func.sum(case((unpriced, 1), else_=0)).label("unpriced"),
    ]
