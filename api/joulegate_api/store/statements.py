"""What stands behind a balance: pending by run, exceptions, and what was drawn of late."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, String, func, literal_column, select, type_coerce

from joulegate.core.metering import Boundary
from joulegate.core.periods import Period
from joulegate_api.store.amounts import NOTHING, UNITS, Amounts
from joulegate_api.store.balances import Key
from joulegate_api.store.budgets import BudgetBalances, Budgets
from joulegate_api.store.database import Database
from joulegate_api.store.grants import Grant, grants_of
from joulegate_api.store.meter_tables import charges
from joulegate_api.store.tables import balances, hold_claims, holds, postings, record_slices, records

SPAN: Final = timedelta(hours=24)
"""Over which time a rate is measured: one day has every hour of the day once."""

_AT_ONCE: Final = 1_000
_HALF: Final = 2**32
"""Sums are made in halves: SQLite overflows where the sum of a column passes 2**63."""


@dataclass(frozen=True, slots=True)
class RunPending:
    """What the hold of one root keeps pending in a budget and period, all its parts together."""

    cluster: str
    root_uid: str
    resource: str
    namespace: str
    name: str
    state: str
    since: datetime
    pending: Amounts
    drawn: Amounts


@dataclass(frozen=True, slots=True)
class Statement:
    """A balance and what stands behind it.

    ``drawn`` was posted in [``since``, ``now``), in whatever period. ``unpriced_ug``
    and ``unpriced_micros`` are energy in mJ that is posted without carbon or money.
    """

    found: BudgetBalances
    runs: tuple[RunPending, ...]
    grants: tuple[Grant, ...]
    drawn: Amounts
    since: datetime
    now: datetime
    closed_at: datetime | None
    unpriced_ug: int
    unpriced_micros: int


class Statements:
    """Explains the balances of a tenant."""

    def __init__(self, database: Database, budgets: Budgets, tenant: str) -> None:
        """Explain for one tenant."""
        self._database = database
        self._budgets = budgets
        self._tenant = tenant

    def read(self, name: str, at: datetime | None = None) -> Statement:
        """The balance of the period that holds ``at`` and what stands behind it; raises :class:`NotFoundError`."""
        found = self._budgets.balance(name, at)
        key = Key(name, found.period.start)
        with self._database.read() as connection:
            now = self._database.now(connection)
            since = now - SPAN
            of = balances.c
            unpriced_ug, unpriced_micros = self._unpriced(connection, name, found.period)
            row = select(of.closed_at).where(
                of.tenant == self._tenant, of.budget == name, of.period_start == found.period.start
            )
            return Statement(
                found=found,
                runs=self._runs(connection, key),
                grants=tuple(grants_of(connection, self._tenant, [key])),
                drawn=self._drawn(connection, name, since),
                since=since,
                now=now,
                closed_at=connection.execute(row).scalar_one_or_none(),
                unpriced_ug=unpriced_ug,
                unpriced_micros=unpriced_micros,
            )

    def _runs(self, connection: Connection, key: Key) -> tuple[RunPending, ...]:
        """Roots with something pending, the largest first."""
        of, claim = holds.c, hold_claims.c
        query = (
            select(hold_claims, of.cluster, of.root_uid, of.resource, of.namespace, of.name, of.state, of.decided_at)
            .join(holds, (of.tenant == claim.tenant) & (of.hold_id == claim.hold_id))
            .where(
                claim.tenant == self._tenant,
                claim.budget == key.budget,
                claim.period_start == key.start,
                (claim.pending_mj != 0) | (claim.pending_ug != 0) | (claim.pending_micros != 0),
            )
            .order_by(of.part)
            .execution_options(yield_per=_AT_ONCE)
        )
        runs: dict[tuple[str, str], RunPending] = {}
        for row in connection.execute(query):
            root = (row.cluster, row.root_uid)
            before = runs.get(root)
            runs[root] = RunPending(
                cluster=row.cluster,
                root_uid=row.root_uid,
                resource=row.resource,
                namespace=row.namespace,
                name=row.name,
                state=row.state,
                since=row.decided_at if before is None else before.since,
                pending=Amounts.read(row, "pending").plus(before.pending if before else NOTHING),
                drawn=Amounts.read(row, "drawn").plus(before.drawn if before else NOTHING),
            )
        return tuple(sorted(runs.values(), key=lambda run: (tuple(-(part or 0) for part in run.pending), run.root_uid)))

    def _unpriced(self, connection: Connection, name: str, period: Period) -> tuple[int, int]:
        """Energy charged to a budget in quarter-hours of the period that has no carbon, and no money; in mJ."""
        named = f'%"{name}"%'  # a name holds neither a quote nor a wildcard
        part, cell = record_slices, charges
        of_records = (
            select(part.c.energy_mj, part.c.carbon_location_ug, part.c.cost_micros)
            .join(records, (records.c.tenant == part.c.tenant) & (records.c.record_id == part.c.record_id))
            .where(
                records.c.tenant == self._tenant,
                records.c.charged.is_(True),
                type_coerce(records.c.budgets, String).like(named),
                part.c.boundary == Boundary.ACCELERATOR.value,
                part.c.energy_mj.is_not(None),
                part.c.quarter >= period.start,
                part.c.quarter < period.end,
            )
        )
        of_windows = select(cell.c.energy_mj, cell.c.carbon_location_ug, cell.c.cost_micros).where(
            cell.c.tenant == self._tenant,
            type_coerce(cell.c.budgets, String).like(named),
            cell.c.quarter >= period.start,
            cell.c.quarter < period.end,
        )
        missing = [0, 0]
        for query in (of_records, of_windows):
            unknown = query.selected_columns[1].is_(None) | query.selected_columns[2].is_(None)
            for mj, ug, micros in connection.execute(query.where(unknown)):
                missing[0] += mj if ug is None else 0
                missing[1] += mj if micros is None else 0
        return missing[0], missing[1]

    def _drawn(self, connection: Connection, name: str, since: datetime) -> Amounts:
        """What was posted since then, estimates and corrections with it."""
        of = postings.c
        halves = [
            func.coalesce(func.sum(of[f"posted_{unit}"].op(operator)(literal_column(operand))), 0)
            for unit in UNITS
            for operator, operand in ((">>", "32"), ("&", str(_HALF - 1)))
        ]
        query = select(*halves).where(of.tenant == self._tenant, of.budget == name, of.posted_at > since)
        sums = [int(half) for half in connection.execute(query).one()]
        return Amounts(*(high * _HALF + low for high, low in zip(sums[::2], sums[1::2], strict=True)))
