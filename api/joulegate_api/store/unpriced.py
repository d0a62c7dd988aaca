"""What was quoted for quarter-hours whose energy is posted and whose carbon or money is not known yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, or_, select

from joulegate.core.metering import Boundary
from joulegate_api.store.amounts import NOTHING, Amounts
from joulegate_api.store.balances import Account, Key
from joulegate_api.store.claims import OpenClaim
from joulegate_api.store.entries import Transaction
from joulegate_api.store.holds import DEAD, Held, Root
from joulegate_api.store.meter_tables import charges
from joulegate_api.store.quoted import by_quarter, quotes_of
from joulegate_api.store.tables import record_slices, records


def tell_unpriced(
    transaction: Transaction,
    root: Root,
    parts: Sequence[Held],
    claims: Mapping[Key, Sequence[OpenClaim]],
    accounts: Mapping[Key, Account],
) -> None:
    """Give the last claim of each budget and period what was quoted for its unpriced quarter-hours."""
    living = [part for part in parts if part.state not in DEAD]
    missing = _quarters(transaction, root)
    quoted = by_quarter(quotes_of(transaction.connection, transaction.tenant, living).values()) if missing else {}
    for key, own in claims.items():
        whole = NOTHING
        for quarter, (carbon, money) in missing.items():
            if key.start <= quarter < accounts[key].end:
                amounts = quoted.get(quarter, NOTHING)
                whole = whole.plus(Amounts(0, amounts.ug if carbon else 0, amounts.micros if money else 0).known())
        last = next((claim for claim in reversed(own) if claim.state not in DEAD), None)
        for claim in own:
            claim.unpriced = whole.where(claim.held) if claim is last else NOTHING


def _quarters(transaction: Transaction, root: Root) -> dict[datetime, tuple[bool, bool]]:
    """Quarter-hours of a root with energy but without carbon (first) or without money (second)."""
    found: dict[datetime, tuple[bool, bool]] = {}
    for query in _queries(transaction.tenant, root):
        for quarter, carbon, money in transaction.connection.execute(query):
            before = found.get(quarter, (False, False))
            found[quarter] = (before[0] or carbon is None, before[1] or money is None)
    return found


def _queries(tenant: str, root: Root) -> Iterable[Select[Any]]:
    of = charges.c
    yield select(of.quarter, of.carbon_location_ug, of.cost_micros).where(
        of.tenant == tenant,
        of.cluster == root[0],
        of.root_uid == root[1],
        or_(of.carbon_location_ug.is_(None), of.cost_micros.is_(None)),
    )
    part = record_slices.c
    yield (
        select(part.quarter, part.carbon_location_ug, part.cost_micros)
        .join(records, (records.c.tenant == part.tenant) & (records.c.record_id == part.record_id))
        .where(
            records.c.tenant == tenant,
            records.c.cluster == root[0],
            records.c.root_uid == root[1],
            part.boundary == Boundary.ACCELERATOR.value,
            part.energy_mj.is_not(None),
            records.c.reversed_at.is_(None),
            or_(part.carbon_location_ug.is_(None), part.cost_micros.is_(None)),
        )
    )
